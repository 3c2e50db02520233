"""The gauges of promlstm for the series of a preset: the live detector, warmed up from history, then minute by minute.

A detector warms up once, and sees the calm minutes once. Each cause goes on from there on a copy; what it does not strike is computed once.
"""

import copy
import functools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson

from causes import telemetry
from causes.telemetry import CALM, EFFECTS, LOST
from promlstm import config as configuration
from promlstm import presets
from promlstm.engine.columns import READY, WARMING
from promlstm.engine.detector import Detector
from promlstm.engine.session import Session
from promlstm.query.prometheus import Matrix, Vector
from promlstm.serve import exposition

BEGIN = 1_750_001_100.0  # of the minutes that are looked at
CALM_MINUTES, MINUTES = 15, 75  # before the cause, and in all
FAMILIES = ('anomaly_score', 'observed', 'expected', 'contribution', 'anomaly_start_timestamp_seconds', 'entity_missing')

Gauges = dict[str, dict[int, float]]  # {series: {minute: value}}


@dataclass(slots=True)
class Series:
    """A source of samples: {expression: {label set as JSON: function of unix seconds}}."""

    of: dict[str, dict[bytes, Callable[[float], float]]] = field(default_factory=dict)

    def instant(self, expr: str, time: float) -> Vector:
        """The value of an expression at an instant."""
        values = {raw: at(time) for raw, at in self.of.get(expr, {}).items()}
        here = {raw: value for raw, value in values.items() if value == value}
        return Vector(list(here), np.array(list(here.values()), np.float64))

    def range(self, expr: str, start: float, end: float, step: float, series: int = 1) -> Iterator[Matrix]:
        """The values of an expression over a span."""
        times = start + step * np.arange(round((end - start) / step) + 1)
        columns = [[at(time) for time in times] for at in self.of.get(expr, {}).values()]
        yield Matrix(times, list(self.of.get(expr, {})), np.array(columns).T.reshape(len(times), len(columns)))


def of_preset(preset: str, session: Session) -> dict[str, Gauges]:
    """{cause: Gauges} of a preset; minutes count from BEGIN."""
    made: dict[str, Gauges] = {cause: {} for cause in telemetry.CAUSES}
    for detector in presets.config([preset]).detectors:
        subject, calm, after = _warmed(preset, detector, session), _series(preset, detector, None), range(CALM_MINUTES, MINUTES)
        before, unstruck = _run(subject, calm, range(CALM_MINUTES)), _run(_copied(subject), calm, after)
        for cause in telemetry.CAUSES:
            struck = _run(_copied(subject), _series(preset, detector, cause), after) if _strikes(preset, detector, cause) else unstruck
            made[cause] |= {series: before.get(series, {}) | struck.get(series, {}) for series in before | struck}
    return made


def _names(detector: configuration.Detector) -> dict[str, str]:
    """{expression: name in CALM} of the features that return anything."""
    names = {expr: f'{detector.name}/{feature}' if feature else detector.name for feature, expr in detector.queries.items()}
    return {expr: name for expr, name in names.items() if name in CALM}


def _strikes(preset: str, detector: configuration.Detector, cause: str) -> bool:
    names = _names(detector).values()
    on_hosts = any('instance' in telemetry.struck(preset, CALM[name].kind) for name in names)
    return (cause == LOST and on_hosts and telemetry.HOSTS[preset] > 1) or any(name in EFFECTS[cause].get(preset, {}) for name in names)


def _series(preset: str, detector: configuration.Detector, cause: str | None) -> Series:
    since = BEGIN + 60 * CALM_MINUTES
    made = Series()
    for expr, name in _names(detector).items():
        calm, effect = CALM[name], EFFECTS[cause].get(preset, {}).get(name) if cause else None
        hit = telemetry.struck(preset, calm.kind)
        for labels in telemetry.entities(preset, calm.kind):
            gone = cause == LOST and telemetry.HOSTS.get(preset, 1) > 1 and labels.get('instance', '') == hit.get('instance', 'none')
            seed = zlib.crc32(f'{name} {sorted(labels.items())}'.encode())
            at = telemetry.value(calm, seed, effect=effect if labels == hit else None, since=since, lost=gone)
            made.of.setdefault(expr, {})[orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)] = at
    return made


def _warmed(preset: str, config: configuration.Detector, session: Session) -> Detector:
    config = configuration.parse(
        orjson.dumps(
            {'prometheus': {'url': presets.URL}, 'detectors': [{**_tree(preset, config.name), 'history': '2d', 'delay': '0s'}]}
        ).decode(),
        source=preset,
    ).detectors[0]
    detector = Detector(config, session, _series(preset, config, None))
    for _ in detector.warm(lambda: BEGIN - 60):
        pass
    return detector


def _tree(preset: str, name: str) -> dict[str, object]:
    return next(tree for tree in _trees(preset) if tree['name'] == name)


@functools.cache
def _trees(preset: str) -> list[dict[str, object]]:
    return presets.read(preset).detectors


def _copied(detector: Detector) -> Detector:
    """One that goes on from where it is, and leaves the other there."""
    made = copy.copy(detector)
    made.entities, made.tally = copy.deepcopy(detector.entities), copy.copy(detector.tally)
    return made


def _run(detector: Detector, source: Series, minutes: range) -> Gauges:
    """The gauges of a detector in some minutes from BEGIN on."""
    detector.source = source
    name = detector.config.name
    own = f'job="promlstm",instance="promlstm:19855",detector="{name}"'
    text = exposition.Labels(name, tuple(detector.config.queries), detector.session.bundle.manifest.views)
    made: Gauges = {}
    for minute in minutes:
        step = detector.step(BEGIN + 60 * minute)
        text = text.of(step.identities)
        blocks = exposition.render(step.verdicts, text, missing=step.missing)
        detector.commit(step)
        for family in FAMILIES:
            for line in b''.join(blocks.get(f'promlstm_{family}', ())).decode().splitlines():
                series, value = line.rsplit(' ', 1)
                # promtool's clock begins at 0.
                made.setdefault(series, {})[minute] = float(value) - (BEGIN if family.endswith('timestamp_seconds') else 0)
        ready, warming = (int((step.verdicts.status == code).sum()) for code in (READY, WARMING))
        telemetry_of = {
            f'promlstm_detector_up{{{own}}}': 1,
            f'promlstm_detector_step_seconds{{{own}}}': 60,
            f'promlstm_detector_last_step_timestamp_seconds{{{own}}}': 60 * minute,
            f'promlstm_detector_entities{{{own},state="ready"}}': ready,
            f'promlstm_detector_entities{{{own},state="warming"}}': warming,
        }
        if not ready + warming and detector.config.missing == 'ignore':
            telemetry_of[f'promlstm_detector_unscored{{{own},reason="resting"}}'] = 1
        for series, number in telemetry_of.items():
            made.setdefault(series, {})[minute] = number
    return made
