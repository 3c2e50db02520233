"""What a model file says of itself: the manifest, which the exporter needs to run the graph and a person to know it. Pure.

Who calls it: bundle (parse, metadata), and tensors for the sizes of the axes. It reads JSON text and returns structs.
"""

import math
from datetime import datetime
from typing import Literal

import msgspec

from promlstm.errors import BundleFormatError

FORMAT = 2  # that is written: with a digest, and a proof at every range of steps of the calibration
FORMATS = (1, FORMAT)  # that are read
PREFIX = 'promlstm.'  # of our keys in metadata_props
SEASON_SLOTS_MAX = 336
DAY, WEEK = 86400, 604800
REPLAY_STEPS_MOST = 2880  # two days of minutes
REPLAY_ENTITY_STEPS = 40_000_000  # a minute or two on two cores: larger fleets replay less


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the weights were trained on."""

    data: str  # in words, with licences
    digest: str  # sha256 of the training data
    recipe: str  # sha256 of the recipe
    seed: int
    entity_steps: int  # samples seen in training, all epochs
    seconds: float  # how long it took


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Integers that the exporter keeps for each entity and each slot of a period of local time."""

    name: str
    bits: Literal[8, 32]  # of one integer
    period_seconds: int
    slots: int
    reads: tuple[int, ...]  # which slots the graph gets, relative to the present one
    coarse: bool = True  # at a start, whether history of longer steps than the detector's says what to store


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the exporter must know to run the graph, and what a person wants to know about it."""

    format: int
    name: str
    family: Literal['ensemble', 'forecaster', 'autoencoder', 'classifier']
    description: str
    created: str  # RFC 3339
    features: tuple[str, ...] | None  # None: any number of features
    views: tuple[str, ...]
    step_seconds: tuple[float, float]  # the steps that the model supports, both ends included
    warmup_steps: int  # samples of an entity before its first surprise
    replay_steps: int  # history that a warm start replays
    season_period_seconds: int  # 0: no seasonal memory
    season_slots: int
    season_horizons_steps: tuple[int, ...]
    forecast_horizons_seconds: tuple[int, ...]
    tables: tuple[Table, ...] = ()  # of the time of day
    replay_seconds: float = 0  # history that a warm start replays, if that is more than replay_steps
    training: Training
    tools: dict[str, str]  # name: version
    evaluation: dict[str, dict[str, float]]  # set: {measure: figure}

    def steps_of_replay(self, step_seconds: float, entities: int = 1) -> int:
        """How many steps a warm start replays: `replay_seconds`, but no more than a start can wait for, and never less than `replay_steps`."""
        affordable = min(REPLAY_STEPS_MOST, REPLAY_ENTITY_STEPS // max(1, entities))
        return max(self.replay_steps, min(affordable, math.ceil(self.replay_seconds / step_seconds)))


def check_format(text: str) -> int:
    """The format that the JSON of a manifest names. It is checked first: for a file of another format, any other message would mislead."""
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleFormatError(f'{PREFIX}manifest: not a JSON object: {error}') from error
    if not isinstance(tree, dict):
        raise BundleFormatError(f'{PREFIX}manifest: not a JSON object: got {type(tree).__name__}')
    found = tree.get('format')
    if found not in FORMATS or isinstance(found, (bool, float)):
        known = ' or '.join(map(str, FORMATS))
        raise BundleFormatError(f'format {found!r}, expected {known}: made for another version of promlstm')
    return int(found)


def check(manifest: Manifest) -> None:
    """BundleFormatError for the first of its values that cannot be."""
    low, high = manifest.step_seconds
    if not 0 < low <= high:
        raise BundleFormatError(f'manifest: step_seconds: got {low:g} to {high:g}, expected 0 < low <= high')
    if manifest.features == ():
        raise BundleFormatError('manifest: features: none; expected names, or null for any number')
    try:
        made = datetime.fromisoformat(manifest.created)
    except ValueError as error:
        raise BundleFormatError(f'manifest: created: got {manifest.created!r}, expected a time such as 2026-01-31T12:00:00Z') from error
    if made.tzinfo is None:
        raise BundleFormatError(f'manifest: created: {manifest.created!r} has no time zone')
    if manifest.features is not None and len(set(manifest.features)) != len(manifest.features):
        raise BundleFormatError('manifest: features: a name occurs twice')
    if manifest.warmup_steps < 1 or manifest.replay_steps < manifest.warmup_steps:
        raise BundleFormatError(
            f'manifest: replay_steps: got {manifest.replay_steps}, expected at least warmup_steps ({manifest.warmup_steps} >= 1)'
        )
    if bool(manifest.season_period_seconds) != bool(manifest.season_slots) or not 0 <= manifest.season_slots <= SEASON_SLOTS_MAX:
        raise BundleFormatError(
            f'manifest: season_slots: got {manifest.season_slots}, expected 1 to {SEASON_SLOTS_MAX}, or 0 together with the period'
        )
    if manifest.season_period_seconds not in (0, DAY, WEEK):
        raise BundleFormatError(
            f'manifest: season_period_seconds: got {manifest.season_period_seconds}, expected {DAY} (a day) or {WEEK} (a week)'
        )
    if manifest.season_period_seconds == WEEK and manifest.season_slots % 7:
        raise BundleFormatError(f'manifest: season_slots: got {manifest.season_slots}, expected as many for every day of the week')
    for table in manifest.tables:
        if not (0 < table.slots <= SEASON_SLOTS_MAX and 0 < table.period_seconds <= WEEK and table.reads):
            raise BundleFormatError(
                f'manifest: tables: {table.name} has {table.slots} slots in {table.period_seconds} s and reads {len(table.reads)}, '
                f'expected 1 to {SEASON_SLOTS_MAX} slots in a week at most, and at least one that is read'
            )
    if not 0 <= manifest.replay_seconds <= WEEK:
        raise BundleFormatError(f'manifest: replay_seconds: got {manifest.replay_seconds:g}, expected 0 to {WEEK}')
    if any(steps <= 0 for steps in manifest.season_horizons_steps):
        raise BundleFormatError(f'manifest: season_horizons_steps: got {list(manifest.season_horizons_steps)}, expected positive steps')


def sizes(manifest: Manifest) -> dict[str, int | str]:
    """Size of each axis of INPUTS and OUTPUTS; a text is an axis without a fixed size."""
    return {
        'N': 'N', 'F': 'F' if manifest.features is None else len(manifest.features), 'K': 1 + len(manifest.season_horizons_steps),
        'T': sum(len(table.reads) for table in manifest.tables), 'U': len(manifest.tables),
        'V': len(manifest.views), 'H': len(manifest.forecast_horizons_seconds), '3': 3, '4': 4,
    }  # fmt: skip
