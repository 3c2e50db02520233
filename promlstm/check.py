"""What a configuration costs and what is wrong with it: the table of `check-config`.

Who calls it: __main__. What flows through: a Config; out go lines of text. It loads the models and asks each expression once. It computes
no step.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from promlstm import advice, check_edges, check_forecasts, check_page, check_shards, contact, terminal
from promlstm.config import Config, source_place
from promlstm.config import Detector as DetectorConfig
from promlstm.contact import Api, Contact
from promlstm.engine import budget, labels, tolerance
from promlstm.engine import session as sessions
from promlstm.engine.bundle import Bundle
from promlstm.engine.detector import Detector
from promlstm.engine.entities import Entities, Placement
from promlstm.engine.session import Session
from promlstm.engine.trial import Trials
from promlstm.errors import PromlstmError, SourceRefused, SourceUnavailable
from promlstm.incidents import edges
from promlstm.live.facts import skew_text
from promlstm.query.newest import last_returned
from promlstm.query.prometheus import Vector
from promlstm.query.selector import bare_counter
from promlstm.query.sources import Sources
from promlstm.query.victorialogs import asked_every

LABEL_BYTES = (
    2400  # of an entity: identity, tables with the times of presence, exposition text, the step at work (python -m bench memory prints it)
)
RESIDENT_BYTES = 90_000_000  # of the exporter at rest with its model (python -m bench footprint prints it)
UNKNOWN = '–'
EMPTY = 'returned no series'
# Said once, however many expressions return nothing.
WHY_EMPTY = (
    'note: if metric and labels are right, an expression returns no series where Prometheus was just started and has too few samples, where '
    '`delay` points to a time before the first sample, or where the look-back (5m, or the range in the expression) is shorter than the '
    'time between two samples'
)
HEADER = ('DETECTOR', 'QUERIES', 'STEP', 'MODEL', 'PER ENTITY', 'BUDGET', 'FLOOR', 'ENTITIES', 'MEMORY')
NUMBERS = {'QUERIES', 'PER ENTITY', 'FLOOR', 'ENTITIES', 'MEMORY'}  # aligned at their right end
LIVE = {'ENTITIES', 'MEMORY'}  # known only where Prometheus answers
SHARED = ('MODEL', 'STEP', 'FLOOR', 'BUDGET', 'QUERIES', 'PER ENTITY')  # go below a table that is too wide, where all detectors agree
NAMED = 5  # detectors that a line names; of more it says how many
DERIVED = ('FLOOR', 'QUERIES', 'PER ENTITY')  # left out of a table that is still too wide: a warning, the totals and MEMORY tell the same


@dataclass(slots=True)
class Checked:
    """What is known of one detector. None = not known: the model could not be used, or Prometheus was not asked."""

    config: DetectorConfig
    bundle: Bundle | None = None
    per_entity_bytes: int | None = None
    classes: frozenset[int] = frozenset()
    floor: float | None = None
    entities: int | None = None
    page_bytes: int = 0  # text of its entities on the page
    smaller_bytes: int = 0  # the same with `export: anomalous`
    linked: dict[str, set[str]] = field(default_factory=dict)  # values of its entities, by linking label
    parts: list[tuple[int, int, int]] = field(default_factory=list)  # of each shard where it is divided: entities, and the two sizes of their page
    reaches_back: bool | None = None  # there are samples from before the warm-up
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def memory_bytes(self) -> int | None:
        """Memory of all entities that there are now."""
        return None if self.entities is None or self.per_entity_bytes is None else self.entities * self.per_entity_bytes

    @property
    def known(self) -> check_shards.Known:
        """What shards would share of it."""
        return check_shards.Known(self.config, self.entities or 0, self.memory_bytes or 0, self.page_bytes, self.smaller_bytes, self.parts)

    def cells(self) -> dict[str, str]:
        """The detector's line of the table, {column: text}."""
        return {
            'DETECTOR': self.config.name,
            'QUERIES': str(len(self.config.queries)),
            'STEP': terminal.duration(self.config.step),
            'MODEL': self.bundle.manifest.name if self.bundle else UNKNOWN,
            'PER ENTITY': _bytes(self.per_entity_bytes),
            'BUDGET': str(self.config.false_alarms),
            'FLOOR': UNKNOWN if self.floor is None else f'{self.floor:.3g}',
            'ENTITIES': UNKNOWN if self.entities is None else str(self.entities),
            'MEMORY': _bytes(self.memory_bytes),
        }


def check(
    config: Config, *, online: bool, say: Callable[[str], None], width: int | None = None,
    progress: Callable[[str], None] = lambda name: None, memory_limit_bytes: int | None = None, shards: int | None = None,
) -> bool:  # fmt: skip
    """Report what each detector needs and costs; True where the exporter can run with the configuration.

    online    try the expressions on Prometheus; if it cannot be reached, that is reported and no error
    say       called with each line
    width     columns of the terminal; None = lines of any length
    progress  called with the name of each detector before it is checked, and with '' after the last
    memory_limit_bytes  what the control group allows (limits.memory_bytes); None = there is no limit
    shards    among how many processes it would be divided; None = nobody asked
    """
    sources = Sources(config.named_sources, root=config.root)
    contacts = {name: contact.source(sources[name], source_place(config, name), say, online=online) for name in config.named_sources}
    cache: dict[tuple[Path, str | None], Session] = {}
    trials, found, linking = Trials(), [], edges.linking(config.root_cause)
    forecasters = check_forecasts.Models()
    for detector in config.detectors:
        progress(detector.name)
        name = config.source_name(detector)
        asked, kind = asked_every(sources[name], detector.step), config.named_sources[name].kind
        found.append(
            _checked(
                detector, config.root, asked, cache, trials, linking, kind=kind, online=contacts[name].online, forecasters=forecasters, shards=shards
            )
        )  # fmt: skip
        if contacts[name].online and found[-1].bundle and not found[-1].errors:
            found[-1].warnings += _history(found[-1], asked, contacts[name].retention_seconds)
    progress('')
    for line in _report(found, width, online=any(one.online for one in contacts.values())):
        say(line)
    asked_of = {each.config.name: (each.entities, each.linked) for each in found if each.entities is not None}
    linked = check_edges.report(config, sources, {name: one.online for name, one in contacts.items()}, asked_of)
    known = [each.known for each in found]
    every = check_shards.shares(known, shards or 1)
    if shards and any(each.entities is not None for each in found):
        for line in check_shards.report(known, every, width):
            say(line)
    largest = max(every, key=lambda share: share.page_bytes)
    page = check_page.fits(largest.page_bytes, largest.entities, largest.smaller_bytes)
    for line in [*_of_sources(config, sources, contacts, found, memory_limit_bytes), *linked.lines, *_memory(found, memory_limit_bytes), *page]:
        for part in terminal.wrapped(line, width):
            say(part)
    refused = [line for one in contacts.values() for line in one.refused] + linked.errors + contact.alertmanager(config, say, online=online)
    for line in refused:
        for part in terminal.wrapped(line, width):
            say(part)
    return not refused and not any(each.errors for each in found)


def _of_sources(
    config: Config, sources: Sources, contacts: Mapping[str, Contact], found: Sequence[Checked], memory_limit_bytes: int | None
) -> list[str]:
    """When the first scores come, and what is to be said of the settings and the clock of each source."""
    first, general = [], []
    for name, one in contacts.items():
        asking = [each for each in found if config.source_name(each.config) == name]
        first += _first_scores(asking, one.retention_seconds, online=one.online)
        doubts = advice.of_source(config.named_sources[name], config.detectors_of(name), memory_limit_bytes, edges=config.asks_for_edges(name))
        if one.online and (skew := skew_text(sources[name].clock_skew_seconds)):
            doubts.append(f'{skew}: samples are scored that much late, or do not exist yet')
        general += [f'warning: {source_place(config, name)}: {text}' for text in doubts]
    return first + general


def _checked(
    config: DetectorConfig, root: str, source: Api, cache: dict[tuple[Path, str | None], Session], trials: Trials, linking: Sequence[str], *,
    kind: str, online: bool, forecasters: check_forecasts.Models, shards: int | None,
) -> Checked:  # fmt: skip
    checked, features = Checked(config), len(config.queries)
    try:
        path = sessions.resolve(config.model, root)
        if (path, config.sha256) not in cache:
            cache[path, config.sha256] = sessions.load(path, sha256=config.sha256, trial=trials)
        session = cache[path, config.sha256]
        checked.bundle = session.bundle
        checked.per_entity_bytes = session.bundle.state_bytes(features) + session.bundle.season_bytes(features) + LABEL_BYTES
        checked.per_entity_bytes += tolerance.BYTES if config.noisy == 'tolerate' else 0
        checked.per_entity_bytes += check_forecasts.per_entity_bytes(config)
        checked.classes = budget.possible_classes(session, features)
        checked.floor = budget.floor(session.bundle.calibration, config.step, checked.classes)
        Detector(config, session, source)  # refuses a model that does not fit
        if config.forecast:
            forecasters.check(config, config.forecast, root)
    except PromlstmError as error:
        checked.errors.append(str(error))
        return checked
    checked.warnings += advice.of_settings(config)
    if not config.false_alarms.shared:
        largest = budget.largest_surprise(session, features, config.step)
        checked.warnings += advice.of_budget(config, session.bundle.calibration, checked.classes, largest_surprise=largest)
    for name, expr in config.queries.items():
        if counter := kind == 'prometheus' and bare_counter(expr):
            checked.warnings.append(f'{_key(name)} looks like a counter ({counter} without rate): ask for rate(…)')
    if online:
        _ask(checked, checked.floor, source, linking, shards)
    return checked


def _key(feature: str) -> str:
    return f'features.{feature}' if feature else 'expr'


def _ask(checked: Checked, floor: float, source: Api, linking: Sequence[str], shards: int | None) -> None:
    """Ask each expression once. A rejected one is an error; an empty result is a warning, because series may appear later."""
    config = checked.config
    table = Entities(len(config.queries), config.by or None, config.max_entities)
    now = time.time()
    try:
        answers: list[Vector] = [source.instant(expr, now - config.delay) for expr in config.queries.values()]
        placement = table.place([vector.keys for vector in answers])
        table.commit(placement, now)
        divided = check_shards.parts(config, answers[0], source, now - config.delay, shards) if config.is_divided else check_shards.Parts()
    except SourceRefused as error:
        checked.errors.append(str(error))
        return
    except SourceUnavailable as error:
        checked.warnings.append(f'expressions not tried: {error}')
        return
    except PromlstmError as error:
        checked.errors.append(str(error))
        return
    checked.entities, checked.linked = len(table), check_edges.carried(table.identities, linking)
    checked.warnings += [f'the query API warns: {text}' for vector in answers for text in vector.warnings]
    checked.warnings += [f'the query API hints: {text}' for text in dict.fromkeys(text for vector in answers for text in vector.hints)]
    checked.warnings += [
        _empty(name, config.delay, last_returned(source, expr, now, config.delay))
        for (name, expr), vector in zip(config.queries.items(), answers, strict=True)
        if not vector.keys
    ]
    checked.warnings += _joined(config, table, placement) + advice.of_identities(config, table.identities) + divided.warnings
    checked.errors += divided.errors
    views = checked.bundle.manifest.views if checked.bundle else ()
    page, smaller = (
        partial(check_page.of_entities, config, check_page.entity_bytes(each, table.identities, views)) for each in (config, check_page.smaller(config))
    )
    checked.page_bytes, checked.smaller_bytes = page(len(table)), smaller(len(table))
    checked.parts = [(count, page(count), smaller(count)) for count in divided.entities] if shards else []
    checked.warnings += check_page.warnings(config, table.identities, [size for _, size, _ in checked.parts] or [checked.page_bytes])
    if config.forecast:
        try:
            checked.warnings += check_forecasts.warnings(config, config.forecast, table.identities, source)
        except PromlstmError as error:
            checked.errors.append(str(error))
    checked.warnings += advice.of_answers(config, [vector.values for vector in answers])
    if config.false_alarms.shared and checked.bundle:
        checked.warnings += advice.of_budget(config, checked.bundle.calibration, checked.classes, entities=max(1, len(table)))
    if placement.dropped:
        checked.warnings.append(f'{placement.dropped} entities beyond max_entities ({config.max_entities}) would not be scored')
    wanted = config.false_alarms.per_entity_week(len(table))
    if wanted < floor:
        checked.warnings.append(
            f'the budget, shared among {len(table)} entities, is {wanted:.3g} per entity-week, below the floor of {floor:.3g}: '
            f'expect up to {floor * len(table):.3g} false alarms a week in all'
        )


def _joined(config: DetectorConfig, table: Entities, placement: Placement) -> list[str]:
    """What is odd in how the series of several features became entities."""
    if not config.by or not len(table):
        return []
    found, known = [], {name for identity in table.identities for name, _ in labels.pairs(identity)}
    if unknown := [name for name in config.by if name not in known]:
        found.append(f'by: no series has the label {" or ".join(unknown)}, so it tells no entities apart; look at its spelling')
    sampled = [set(rows.tolist()) for rows in placement.rows]
    if len(sampled) > 1 and all(sampled) and not set.intersection(*sampled):
        found.append(
            'by: no entity has all features, for no two series of them have the same values of these labels: nothing is judged together'
        )
    return found


def _history(checked: Checked, source: Api, retention_seconds: float | None) -> list[str]:
    """Whether there are samples from before the warm-up of a detector, so that scores come at once; warnings where they never may."""
    config, manifest = checked.config, checked.bundle.manifest if checked.bundle else None
    if not manifest:
        return []
    before = time.time() - config.delay - (manifest.warmup_steps + 1) * config.step
    with suppress(PromlstmError):
        checked.reaches_back = (
            None if not checked.entities else before > 0 and bool(source.instant(next(iter(config.queries.values())), before).keys)
        )
    return advice.of_history(config, manifest, retention_seconds, reaches_back=checked.reaches_back)


def _first_scores(found: Sequence[Checked], retention_seconds: float | None, *, online: bool) -> list[str]:
    """When the first scores come, by what the server has now."""
    if not online:
        return []
    kept = (
        'for how long the server keeps samples is not known'
        if retention_seconds is None
        else f'the server keeps {terminal.duration(retention_seconds)}'
    )
    known = [(each, each.bundle.manifest) for each in found if each.bundle and each.reaches_back is not None]
    soon = [each.config.name for each, _ in known if each.reaches_back]
    later: dict[str, list[str]] = {}
    for each, manifest in known:
        if not each.reaches_back:
            later.setdefault(advice.days((manifest.warmup_steps + 1) * each.config.step), []).append(each.config.name)
    lines = [f'first scores: soon after the start, for history reaches back far enough: {_names(soon)} ({kept})'] if soon else []
    return lines + [
        f'first scores: up to {wait} after the first sample, for there is less history: {_names(names)} ({kept})'
        for wait, names in later.items()
    ]


def _names(names: Sequence[str]) -> str:
    """Some names, or how many.

    >>> _names(['cpu', 'disk']), _names(list('abcdef'))
    ('cpu, disk', '6 detectors')
    """
    return ', '.join(names) if len(names) <= NAMED else f'{len(names)} detectors'


def _empty(feature: str, delay: float, last: str) -> str:
    consequence = 'this feature would be missing' if feature else 'nothing would be scored'
    return f'{_key(feature)} {EMPTY} at now - delay ({terminal.duration(delay)} ago): {consequence}{last and f"; {last}"}'


def _report(found: Sequence[Checked], width: int | None, *, online: bool) -> list[str]:
    header = tuple(column for column in HEADER if online or column not in LIVE)
    lines = [*_table([each.cells() for each in found], header, width), *_models(found, width), '']
    lines += terminal.wrapped(_totals(found, online=online), width)
    for kind, texts in (('warning', [each.warnings for each in found]), ('error', [each.errors for each in found])):
        for checked, several in zip(found, texts, strict=True):
            for text in several:
                lines += terminal.wrapped(f'{kind}: {checked.config.name}: {text}', width)
        if any(EMPTY in text for several in texts for text in several):
            lines += terminal.wrapped(WHY_EMPTY, width)
    return lines


def _memory(found: Sequence[Checked], limit: int | None) -> list[str]:
    """What fits into the memory limit, and a warning where the entities that there are now do not."""
    per_entity = max((each.per_entity_bytes or 0 for each in found), default=0)
    if limit is None or not per_entity:
        return []
    room = max(0, limit - RESIDENT_BYTES) // per_entity
    lines = [f'memory limit of this container or unit: {_bytes(limit)}, room for about {room} entities']
    needed = RESIDENT_BYTES + sum(each.memory_bytes or 0 for each in found)
    if needed > limit:
        lines.append(
            f'warning: memory: about {_bytes(needed)} are needed now, the limit is {_bytes(limit)}: raise the limit, aggregate the expressions, '
            'or set max_entities'
        )
    return lines


def _table(cells: Sequence[dict[str, str]], header: tuple[str, ...], width: int | None) -> list[str]:
    """One line a detector. A table that is too wide for the terminal gives up columns: first those with the same value everywhere."""
    shown, same, hidden = list(header), [], []
    for column in SHARED:
        if _fits(cells, shown, width):
            break
        if len(cells) > 1 and len({each[column] for each in cells}) == 1:
            shown.remove(column)
            same.append(f'{column.lower()} {cells[0][column]}')
    for column in DERIVED:
        if column in shown and not _fits(cells, shown, width):
            shown.remove(column)
            hidden.append(column.lower())
    lines = terminal.table(_rows(cells, shown), width, right={place for place, column in enumerate(shown) if column in NUMBERS})
    if same:
        lines += terminal.wrapped(f'all detectors: {", ".join(same)}', width)
    if hidden:
        lines += terminal.wrapped(f'not shown in a terminal this narrow: {", ".join(hidden)}', width)
    return lines


def _fits(cells: Sequence[dict[str, str]], header: Sequence[str], width: int | None) -> bool:
    return width is None or terminal.least_width(_rows(cells, header)) <= width


def _rows(cells: Sequence[dict[str, str]], header: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(header), *(tuple(each[column] for column in header) for each in cells)]


def _models(found: Sequence[Checked], width: int | None) -> list[str]:
    """The models in use: which file, how long an entity waits for its first score, how much history a start reads."""
    rows = [('MODEL', 'SHA256', 'STEP', 'FIRST SCORE AFTER', 'HISTORY READ AT START')]
    for checked in found:
        if checked.bundle:
            manifest, step = checked.bundle.manifest, checked.config.step
            history = terminal.duration(manifest.steps_of_replay(step) * step)
            if manifest.season_period_seconds and checked.config.history:
                history += f', {terminal.duration(checked.config.history)} coarse'
            warmup = terminal.duration(manifest.warmup_steps * step)
            rows.append((manifest.name, checked.bundle.sha256[:12], terminal.duration(step), warmup, history))
    return ['', *terminal.table(list(dict.fromkeys(rows)), width)] if len(rows) > 1 else []


def _totals(found: Sequence[Checked], *, online: bool) -> str:
    queries = sum(60 * len(each.config.queries) / each.config.step for each in found)
    parts = [_count(len(found), 'detector'), f'{queries:.3g} queries a minute']
    if online:
        memory, page = sum(each.memory_bytes or 0 for each in found), sum(each.page_bytes for each in found)
        entities = _count(sum(each.entities or 0 for each in found), 'entity', 'entities')
        parts += [entities, f'{_bytes(memory)} of memory for them', f'{_bytes(page)} on the page']
    parts += [_count(sum(len(each.warnings) for each in found), 'warning'), _count(sum(len(each.errors) for each in found), 'error')]
    return 'total: ' + ', '.join(parts)


def _count(number: int, one: str, several: str = '') -> str:
    """A number with its noun.

    >>> _count(1, 'error'), _count(0, 'error'), _count(2, 'entity', 'entities')
    ('1 error', '0 errors', '2 entities')
    """
    return f'{number} {one if number == 1 else several or one + "s"}'


def _bytes(size: int | None) -> str:
    return UNKNOWN if size is None else terminal.quantity(size, 'size_bytes')
