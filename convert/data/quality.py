"""What is wrong with a dataset, found before hours of training, each problem with what was done about it.

Who calls it: collect, which writes the report as text and JSON and drops entities from the dataset. It reads the training spans once, by
groups of entities. Nothing is repaired: what cannot be learnt from is left out, the rest is kept and reported.
"""

import hashlib
from dataclasses import dataclass, field

import msgspec
import numpy as np

from convert.data import spans, store
from convert.data.dataset import DatasetError
from promlstm.engine import labels
from promlstm.query.selector import bare_counter
from promlstm.query.silences import FALSE_ALARM

FORMAT = 2                  # of quality.json; part of what the stage `fetch` depends on
GAPS_SHARE = 0.05           # of missing samples between the first and the last that is reported
LEAST_SAMPLES = 500         # of a series, lead included; with fewer nothing is left after the warm-up
RESETS_SHARE = 0.999        # of changes that go up in what is taken for a counter
EXCLUDED_SHARE = 0.5        # of an entity's time
HOLE_SECONDS = 3600.0       # without a sample of any entity that is reported
WEEKLY_SECONDS = 14 * 86400.0
SHOWN = 3                   # examples of a finding


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of problem of one detector.

    check     gaps, constant, duplicated, counter, short, leakage, excluded, infinite, partial, many
    entities  how many have it
    problem   what it is, with numbers
    action    what was done about it
    examples  a few of them, as selectors
    """

    check: str
    entities: int
    problem: str
    action: str
    examples: tuple[str, ...] = ()


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """Time that is excluded from training, for the model card; samples are entity-steps of the spans that had a sample there."""

    source: str
    why: str
    start: str
    end: str
    entities: int
    samples: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of one detector's data."""

    detector: str
    step_seconds: float
    features: tuple[str, ...]
    entities: dict[str, int]        # of each part, after what was dropped from training
    samples: dict[str, int]         # of each part
    findings: tuple[Finding, ...]
    excluded: tuple[Excluded, ...]
    excluded_samples: dict[str, int]        # of each part
    dropped: tuple[str, ...]        # identities


@dataclass(eq=False)
class _Seen:
    """What was found in the telemetry of each entity."""

    wrong: dict = field(default_factory=dict)       # check: [identity]
    columns: dict = field(default_factory=dict)     # digest of an entity's samples: identity
    longest: float = 0.0                            # hole, steps
    missing: float = 0.0                            # largest share
    first: float = np.inf
    last: float = -np.inf
    holes: dict = field(default_factory=dict)       # part: [(start, end)] without a sample of any entity

    def note(self, check, identity):
        """One more entity with this problem."""
        self.wrong.setdefault(check, []).append(identity)


def inspect(data, *, max_entities=2**31):
    """(Report, identities to be dropped from training) of a dataset.Dataset; DatasetError where a part has no samples."""
    seen, samples, excluded = _Seen(), {}, {}
    tally = {each: [set(), 0] for each in data.exclusions if each.source != FALSE_ALARM}
    entities = {part: data.entities(part) for part in data.parts.__struct_fields__ if getattr(data.parts, part)}
    for part, names in entities.items():
        samples[part], excluded[part], alive = 0, 0, False
        for group in store.groups(names, store.BLOCK):
            values, times = _whole(data, part, group)
            there = ~np.isnan(values)
            out = spans.excluded(data.exclusions, times, group, data.detector)
            alive |= there.any((1, 2))
            samples[part] += int(there.sum())
            excluded[part] += int((out & there.any(2)).sum())
            _count(data, tally, times, group, there.any(2))
            if part == 'train':
                for row, identity in enumerate(group):
                    _look(seen, identity, values[:, row], times, out[:, row], data.step_seconds)
        _need(data, part, samples[part])
        seen.holes[part] = _holes(times[~alive], data.step_seconds)
    dropped = frozenset(name for check in ('short', 'constant', 'duplicated') for name in seen.wrong.get(check, ()))
    if not set(entities['train']) - dropped:
        raise _nothing(data, 'train', 'every entity is ' + ' or '.join(check for check in ('short', 'constant', 'duplicated') if check in seen.wrong))
    report = Report(
        detector=data.detector, step_seconds=data.step_seconds, features=tuple(data.store.about.queries),
        entities={part: len(set(names) - (dropped if part == 'train' else set())) for part, names in entities.items()},
        samples=samples, findings=tuple(_findings(data, seen, entities, max_entities)), excluded=_exclusions(tally), excluded_samples=excluded,
        dropped=tuple(sorted(name.decode() for name in dropped)),
    )  # fmt: skip
    return report, dropped


def _need(data, part, samples):
    if not samples:
        raise _nothing(data, part, f'no samples{_elsewhere(data)}')


def _elsewhere(data):
    """Where there are samples instead."""
    found = [(chunk.first, chunk.first + chunk.steps) for chunk in data.store.chunks if chunk.grid == 'fine' and chunk.samples]
    if not found:
        return ''
    first, last = (spans.text(step * data.step_seconds) for step in (min(first for first, _ in found), max(end for _, end in found)))
    return f'; there are some between {first} and {last}'


def _nothing(data, part, why):
    first, last = min(s for s, _ in getattr(data.parts, part)), max(e for _, e in getattr(data.parts, part))
    return DatasetError(f'detector {data.detector!r}: spans.{part}, {spans.text(first)} to {spans.text(last)}: {why}')


def _whole(data, part, group):
    """All samples of a part, its spans after one another: float64 [T, N, F], times [T]."""
    pieces = [(data.samples(first, end, group), np.arange(first, end) * data.step_seconds) for first, end in data.steps(part)]
    return np.concatenate([values for values, _ in pieces]), np.concatenate([times for _, times in pieces])


def _count(data, tally, times, group, there):
    """Add a group's entity-steps to each exclusion that concerns it."""
    for each, counted in tally.items():
        low, high = np.searchsorted(times, (each.start, each.end))
        if low < high:
            lifting = [other for other in data.exclusions if other.source == FALSE_ALARM]
            out = spans.excluded([each, *lifting], times[low:high], group, data.detector) & there[low:high]
            counted[0].update(name for name, any_ in zip(group, out.any(0), strict=True) if any_)
            counted[1] += int(out.sum())


def _look(seen, identity, x, times, out, step_seconds):
    """One entity of the training spans (x: float64 [T, F]; out: bool [T])."""
    there = ~np.isnan(x).all(1)
    where = np.flatnonzero(there)
    if not len(where):
        return
    seen.first, seen.last = min(seen.first, times[where[0]]), max(seen.last, times[where[-1]])
    share = 1 - len(where) / (where[-1] - where[0] + 1)
    if len(where) < LEAST_SAMPLES:
        seen.note('short', identity)
        return
    if share > GAPS_SHARE:
        seen.note('gaps', identity)
        seen.longest = max(seen.longest, float(np.diff(times[where]).max() / step_seconds))
        seen.missing = max(seen.missing, share)
    if (out & there).sum() > EXCLUDED_SHARE * len(where):
        seen.note('excluded', identity)
    if np.all(np.nanmax(x[where], 0) == np.nanmin(x[where], 0), where=~np.isnan(x[where]).all(0)):
        seen.note('constant', identity)
        return
    content = hashlib.sha256(np.ascontiguousarray(x).tobytes()).digest()
    if seen.columns.setdefault(content, identity) != identity:
        seen.note('duplicated', identity)
    if any(_counter(column) for column in x.T):
        seen.note('counter', identity)


def _holes(dead, step_seconds):
    """Spans of HOLE_SECONDS or more out of the instants without any sample.

    >>> _holes(np.r_[np.arange(0, 7200, 60), 9000], 60)
    [(0.0, 7200.0)]
    """
    runs = np.split(dead, np.flatnonzero(np.diff(dead) > 1.5 * step_seconds) + 1)
    found = [(float(run[0]), float(run[-1] + step_seconds)) for run in runs if len(run)]
    return [(start, end) for start, end in found if end - start >= HOLE_SECONDS]


def _counter(x):
    """Whether samples grow and grow, and fall to nearly nothing where they fall.

    >>> _counter(np.r_[np.arange(900.0), np.arange(100.0)]), _counter(np.sin(np.arange(1000.0)) + 2)
    (True, False)
    """
    x = x[~np.isnan(x)]
    if len(x) < 100 or x.min() < 0:
        return False
    change = np.diff(x)
    falls = np.flatnonzero(change < 0)
    grows = (change > 0).mean() > 0.2 and len(falls) <= (1 - RESETS_SHARE) * len(change) + 1
    return bool(grows and np.all(x[falls + 1] < 0.1 * x[falls]) and change.clip(0).sum() > 20 * np.abs(change).mean())


def _findings(data, seen, entities, max_entities):
    yield from _gaps(data, seen)
    for check, problem, action in (
        ('constant', 'one value all the time', 'dropped from training: there is nothing to expect but that value'),
        ('duplicated', 'the same samples as another entity', 'dropped from training, but for the first of each: they would count twice'),
        ('short', f'fewer than {LEAST_SAMPLES} samples', 'dropped from training: they end before the warm-up is over'),
    ):
        if check in seen.wrong:
            yield _finding(check, seen.wrong, problem, action)
    yield from _counters(data, seen.wrong)
    yield from _spans(data, seen)
    if 'excluded' in seen.wrong:
        problem = f'more than {EXCLUDED_SHARE:.0%} of the time excluded'
        yield _finding('excluded', seen.wrong, problem, 'kept: little is learnt of them; see what excludes so much')
    yield from _source(data.store.chunks)
    if len(entities['train']) > max_entities:
        problem = f'{len(entities["train"])} entities, more than max_entities ({max_entities})'
        action = 'all are learnt from; live, those beyond max_entities are dropped'
        yield Finding(check='many', entities=len(entities['train']), problem=problem, action=action)


def _gaps(data, seen):
    """Missing samples of single entities, and holes in which no entity has one."""
    kept = 'kept: what is missing weighs nothing in training'
    if 'gaps' in seen.wrong:
        problem = f'up to {seen.missing:.0%} of the samples missing, the longest hole {seen.longest * data.step_seconds:.0f} s'
        yield _finding('gaps', seen.wrong, problem, kept)
    for part, holes in seen.holes.items():
        if holes:
            hours = sum(end - start for start, end in holes) / 3600
            named = '; '.join(f'{spans.text(start)} to {spans.text(end)}' for start, end in holes[:SHOWN])
            more = ' …' if len(holes) > SHOWN else ''
            problem = f'spans.{part}: no sample of any entity in {hours:.1f} h: {named}{more}'
            yield Finding(check='gaps', entities=0, problem=problem, action=f'{kept}; the source may not reach back so far')


def _source(chunks):
    """Infinite samples, and warnings of the source."""
    if infinite := sum(chunk.infinite for chunk in chunks):
        yield Finding(check='infinite', entities=0, problem=f'{infinite} infinite samples', action='taken as missing, as live')
    if warnings := sorted({text for chunk in chunks for text in chunk.warnings}):
        yield Finding(check='partial', entities=0, problem=f'the source warned: {"; ".join(warnings[:SHOWN])}', action='kept')


def _finding(check, wrong, problem, action):
    names = wrong[check]
    examples = tuple(labels.selector(labels.pairs(name)) for name in names[:SHOWN])
    return Finding(check=check, entities=len(names), problem=problem, action=action, examples=examples)


def _counters(data, wrong):
    """Counters, by their samples and by the name that a bare selector asks for."""
    advice = 'kept; ask for rate(…) or increase(…) in the detector instead: a level that only grows cannot be expected'
    if 'counter' in wrong:
        yield _finding('counter', wrong, 'samples that only grow, but for resets', advice)
    for name, expr in data.store.about.queries.items():
        if bare := bare_counter(expr):
            feature = f'features.{name}' if name else 'expr'
            yield Finding(check='counter', entities=0, problem=f'{feature} is the bare counter {bare}', action=advice)


def _spans(data, seen):
    """Too short a history, and parts in an order that trains on the future of what is tested."""
    length = seen.last - seen.first
    if np.isfinite(length) and length < WEEKLY_SECONDS:
        days, least = length / 86400, WEEKLY_SECONDS / 86400
        problem = f'training spans reach over {days:.1f} days: a weekly rhythm cannot be distinguished from chance in less than {least:.0f}'
        yield Finding(check='short', entities=0, problem=problem, action='kept; the synthetic telemetry beside it has weekly rhythms')
    for first, then in spans.backwards(data.parts):
        problem = f'spans.{first} reaches beyond the beginning of spans.{then}: training data comes after test data'
        yield Finding(check='leakage', entities=0, problem=problem, action='kept: no sample is in both, but the figures are less reliable')


def _exclusions(tally):
    found = sorted((each for each in tally if tally[each][1]), key=lambda each: (each.start, each.source, each.why))
    return tuple(
        Excluded(
            source=each.source,
            why=each.why,
            start=spans.text(each.start),
            end=spans.text(each.end),
            entities=len(tally[each][0]),
            samples=tally[each][1],
        )
        for each in found
    )


def table(reports):
    """Reports as text for a terminal."""
    lines = []
    for report in reports:
        parts = ', '.join(f'{part} {report.entities[part]} entities and {count} samples' for part, count in report.samples.items())
        lines.append(f'detector {report.detector}, every {report.step_seconds:g} s: {parts}')
        for each in report.findings:
            who = f'{each.entities} entities: ' if each.entities else ''
            lines += [f'  {each.check}: {who}{each.problem}', f'      {each.action}']
            lines += [f'      such as {", ".join(each.examples)}'] if each.examples else []
        if not report.findings:
            lines.append('  nothing wrong was found')
        for part, count in report.excluded_samples.items():
            if count:
                lines.append(f'  excluded from {part}: {count} entity-steps')
        lines += [f'    {each.start} to {each.end}, {each.entities} entities: {each.source}: {each.why}' for each in report.excluded]
    return '\n'.join(lines)
