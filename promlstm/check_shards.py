"""What `check-config` says of shards: how the entities would be spread, and whether a detector can be divided at all.

Who calls it: check, with each detector that has `split_by`, and at the end. It asks for the parts of a divided detector once, as the shards
would, and compares them with the whole: parts of an expression that aggregates over what divides it are no parts of its answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from promlstm import split, terminal
from promlstm.config import Detector as DetectorConfig
from promlstm.contact import Api
from promlstm.engine import labels
from promlstm.live.shards import Shard, part_of
from promlstm.query.prometheus import Vector

UNTIL = (split.UNTIL, '', ':.')  # that are tried where values divide badly
UNEVEN = 1.5  # times its share
FEW = 20  # entities for each shard; fewer are never even
IN_BETWEEN = 0.05  # of the series may come, go or change between two queries for one instant
TRIED = 2  # parts that are asked for where no number of shards is given


@dataclass(slots=True)
class Parts:
    """entities: how many each shard would have, of one detector; empty where the expressions were not tried."""

    entities: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def parts(config: DetectorConfig, whole: Vector, source: Api, time: float, shards: int | None) -> Parts:
    """The parts of a divided detector, as a server answers for them.

    whole   the answer for the first of its expressions, undivided, at the same instant
    shards  None = not given: some are tried, to see that it can be divided
    raises  PromlstmError where a part is refused
    """
    count, found = shards or TRIED, Parts()
    undivided = dict(zip(whole.keys, whole.values.tolist(), strict=True))
    met, altered = dict[bytes, int](), 0
    for number in range(count):
        mine = part_of(config, Shard(number, count))
        answer = source.instant(next(iter(mine.queries.values())), time) if mine else Vector([], whole.values[:0])
        for key, value in zip(answer.keys, answer.values.tolist(), strict=True):
            met[key] = met.get(key, 0) + 1
            altered += key in undivided and value != undivided[key] and value == value
        found.entities.append(len(answer.keys))
    twice = [key for key, times in met.items() if times > 1]
    lost = undivided.keys() - met.keys()
    if twice or len(lost) + altered > IN_BETWEEN * len(undivided):
        example = next(iter(twice or lost or met))
        found.errors.append(
            f'split_by: the parts are not the whole: of {len(undivided)} series {len(twice)} are in several parts, {len(lost)} in none, and {altered} '
            f'have another value there, such as {labels.selector(labels.pairs(labels.identity(example)))}: the expression aggregates over '
            f'{config.split_by}, or compares series that differ in it; put $shard where each entity has all of its series in one part, or divide by '
            'another label'
        )
        return found
    if not len(undivided):
        return found
    values = [labels.decoded(key).get(config.split_by or '', '') for key in whole.keys]
    if shards and shards > 1:
        found.warnings += _uneven(config, values, found.entities)
    return found


def _uneven(config: DetectorConfig, values: Sequence[str], entities: Sequence[int]) -> list[str]:
    """Whether one shard would have much more than its share, and what divides better."""
    shards, ratio = len(entities), max(entities) * len(entities) / max(1, sum(entities))
    if ratio <= UNEVEN or len(values) < FEW * shards:
        return []
    text = (
        f'split_by: {config.split_by}: shard {entities.index(max(entities))} of {shards} would have {max(entities)} of {sum(entities)} entities, '
        f'{ratio:.1f} times its share'
    )
    owners = split.owners(config.name, shards)
    ratios = {}
    for until in UNTIL:
        counts = [0] * shards
        for value in values:
            counts[owners[split.class_of(value, until=until)]] += 1
        ratios[until] = max(counts) * shards / len(values)
    best = min(UNTIL, key=ratios.__getitem__)
    if len(set(values)) < 2:
        return [f'{text}: {"none has that label" if not values[0] else "all have the same value"}; divide by another label']
    if ratios[best] < 0.8 * ratio:
        return [f'{text}; with split_until: "{best}" the largest would have {ratios[best]:.1f} times its share']
    return [f'{text}: too many values end alike; divide by another label, or by one that a hashmod makes (docs/how-to/shards.md)']


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a detector as a whole, and of its parts where it is divided; 0 = not known.

    parts  of each shard: (entities, bytes on the page, bytes of the page with `export: anomalous`)
    """

    config: DetectorConfig
    entities: int = 0
    memory_bytes: int = 0
    page_bytes: int = 0
    smaller_bytes: int = 0
    parts: Sequence[tuple[int, int, int]] = ()


@dataclass(slots=True)
class Share:
    """What one shard has of all detectors."""

    whole: int = 0
    parts: int = 0
    entities: int = 0
    memory_bytes: int = 0
    page_bytes: int = 0
    smaller_bytes: int = 0

    def take(self, entities: int, memory_bytes: int, page_bytes: int, smaller_bytes: int) -> None:
        """Have a detector, or a part of it, as well."""
        self.entities += entities
        self.memory_bytes += memory_bytes
        self.page_bytes += page_bytes
        self.smaller_bytes += smaller_bytes


def shares(found: Sequence[Known], shards: int) -> list[Share]:
    """The share of each shard. One shard has all of everything."""
    every = [Share() for _ in range(shards)]
    for number, share in enumerate(every):
        for each in found:
            if each.config.is_divided and len(each.parts) == shards:
                entities, page_bytes, smaller_bytes = each.parts[number]
                share.parts += entities > 0
                share.take(entities, entities * each.memory_bytes // max(1, each.entities), page_bytes, smaller_bytes)
            elif (shards == 1 or not each.config.is_divided) and Shard(number, shards).has(each.config):
                share.whole += 1
                share.take(each.entities, each.memory_bytes, each.page_bytes, each.smaller_bytes)
    return every


def report(found: Sequence[Known], every: Sequence[Share], width: int | None) -> list[str]:
    """How detectors and entities would be spread, as lines."""
    rows = [
        (
            str(number), str(share.whole), str(share.parts), str(share.entities), terminal.quantity(share.memory_bytes, 'size_bytes'),
            terminal.quantity(share.page_bytes, 'size_bytes'),
        )
        for number, share in enumerate(every)
    ]  # fmt: skip
    lines = ['', *terminal.table([('SHARD', 'WHOLE DETECTORS', 'PARTS', 'ENTITIES', 'MEMORY', 'PAGE'), *rows], width, right={1, 2, 3, 4, 5})]
    shards, counts = len(every), [share.entities for share in every]
    if shards > 1 and sum(counts) >= FEW * shards and max(counts) * shards > UNEVEN * sum(counts):
        largest = max((each for each in found if not each.config.is_divided and each.entities), key=lambda each: each.entities, default=None)
        remedy = f'; {largest.config.name} is the largest that is not divided ({largest.entities} entities): give it split_by' if largest else ''
        lines.append(
            f'warning: shards: shard {counts.index(max(counts))} would have {max(counts)} of {sum(counts)} entities, '
            f'{max(counts) * shards / sum(counts):.1f} times its share{remedy}'
        )
    return lines
