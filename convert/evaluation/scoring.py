"""The scores of a model file, or of the simple detectors, over labelled telemetry of others or synthetic telemetry with faults.

    prepare      the telemetry of a Part on one clock, each recorded entity twice: as it is, and with planted faults
    score        what a Source says of it: surprise, and what an operator sees beside it

A set is cut into Parts of one step length, each of which is one replay. Both functions run in worker processes too, so all that goes in and
out is plain data. Who calls it: convert.benchmark (the command `benchmark`); scorecard and mistakes read what comes out.
"""

import functools
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convert.data import labelled
from convert.evaluation import baselines, benchmark_sets, customary, isolation_forest, measures, planting, prophet_daily, recurrence, replay
from promlstm.card import BUDGETS
from promlstm.engine import advance, latch
from promlstm.engine import session as sessions

EARLY = 5           # samples of an alarm, after which an operator looks at the contributions
COLUMNS = 200       # series that simple detectors judge at once, and that faults are planted into where entities have several features
SEED = 6_000_043    # of the planted faults and of the synthetic telemetry, which no recipe learns from


class Part(NamedTuple):
    """The entities of one set that have the same step: a folder of labelled telemetry, or a recipe.Telemetry to be made."""

    name: str                   # of the set
    step_seconds: float
    features: int
    folder: str = ''
    telemetry: object = None


class Source(NamedTuple):
    """Who gives scores: a model file, or the simple detectors (no path)."""

    name: str
    role: str                   # model, without LSTM, recurring counts, baseline
    path: str = ''
    drawn: bool = False         # whether its bands are wanted
    model: str = ''             # the model that it is, or is made of
    forgetful: bool = False     # whether it reads nothing of what came on the days before


class Series(NamedTuple):
    """One entity of a Part, its tested samples in time order. It is replayed in pieces: (column, places on the grid)."""

    name: str
    step_seconds: float
    pieces: list                # of tuples (column int, place int [n])
    times: np.ndarray           # float64 [n] unix seconds, of a recording as its file has them: the replay has moved it by whole weeks
    values: np.ndarray          # float64 [n, F]
    labels: np.ndarray          # bool [n]
    culprits: np.ndarray | None     # bool [n, F]: which features an incident shows in; None = not known
    kind: str                   # of all its events; '' = not known
    planted: list               # of tuples (column int, planting.Fault)
    windows: bool               # whether labels mark windows, as NAB's do

    def take(self, array):
        """The tested samples out of an array over the grid: [T, N, ...] -> [n, ...]."""
        return np.concatenate([array[place, column] for column, place in self.pieces])


class Prepared(NamedTuple):
    """A Part on one clock: the first `entities` columns as they are, others with planted faults."""

    times: np.ndarray           # float64 [T]
    values: np.ndarray          # float64 [T, columns, F]
    history: tuple
    entities: int
    series: list


class Judged(NamedTuple):
    """What one method says of a Series."""

    scores: np.ndarray          # float32 [n], NaN = not judged
    peaks: np.ndarray           # float32 [planted faults]: the largest score that counts for each
    blame: np.ndarray | None    # float [events, 2]: HitRate@100 %, EARLY samples into the alarm and at the event's end; NaN = not known
    klass: int = 0              # which calibration rows apply
    band: tuple = (0, 0, float('nan'))      # healthy samples inside it, samples that have one, median width in the series' own 99 % range
    lower: np.ndarray | None = None         # float32 [n, F]
    upper: np.ndarray | None = None
    view: np.ndarray | None = None          # int8 [n]: the view with the largest share in the surprise, a place in manifest.views; -1 = none


class Scores(NamedTuple):
    """What a Source says of a Part: {method: {name of a Series: Judged}}, and which events recur: {name: bool [events]} or None."""

    methods: dict
    recurring: dict | None


def parts(folder):
    """The Parts of a folder of labelled telemetry; LabelledError where a file is damaged."""
    found = {(recording.step_seconds, recording.values.shape[1]) for recording in labelled.read(folder)}
    return [Part(Path(folder).name, step, features, str(folder)) for step, features in sorted(found)]


def synthetic(telemetry):
    """The Part of a recipe.Telemetry: two faults of one kind in each entity."""
    return Part(f'injected_{telemetry.step_seconds:g}s', telemetry.step_seconds, 1, telemetry=telemetry)


def prepare(part):
    """Prepared telemetry of a Part; the same each time."""
    return _synthetic(part) if part.telemetry else _recorded(part)


def _recorded(part):
    whole = [r for r in labelled.read(Path(part.folder)) if (r.step_seconds, r.values.shape[1]) == (part.step_seconds, part.features)]
    cut = [(n, piece) for n, recording in enumerate(whole) for piece in labelled.pieces(recording)]
    times, values, first = labelled.together([piece for _, piece in cut])
    copies = len(cut) if part.features == 1 else min(len(cut), max(1, COLUMNS // part.features))
    planted, faults = values[:, :copies].copy(), {}
    for column, (n, piece) in enumerate(cut[:copies]):
        rng = np.random.default_rng([SEED, zlib.crc32(part.name.encode()), column])
        span = slice(first[column], first[column] + len(piece.values))
        planted[span, column], found = planting.plant(piece, rng)
        faults.setdefault(n, []).extend((len(cut) + column, fault._replace(first=fault.first + int(first[column]))) for fault in found)
    series = []
    for n, recording in enumerate(whole):
        pieces = [(column, first[column] + piece.place) for column, (of, piece) in enumerate(cut) if of == n]
        series.append(
            Series(
                recording.name, part.step_seconds, pieces, recording.times,
                np.concatenate([values[place, column] for column, place in pieces]), recording.labels,
                _culprits(part, recording),
                '', faults.get(n, []), 'windows' in recording.note,
            )
        )  # fmt: skip
    nothing = (np.empty(0), np.empty((0, len(cut) + copies, part.features)))
    return Prepared(times, np.concatenate([values, planted], 1), nothing, len(cut), series)


def _culprits(part, recording):
    """bool [n, F], or None where the recording does not say which features its incidents show in."""
    if part.features == 1 or ':' not in recording.note:
        return None
    try:
        return labelled.culprits(recording, part.features)
    except (ValueError, IndexError) as error:
        file = Path(part.folder) / f'{recording.name}.npz'
        raise labelled.LabelledError(f'{file}: note: {error}: expected lines of from-to:feature,... counted from 1') from error


def _synthetic(part):
    found = benchmark_sets.injected(part.telemetry, SEED)
    series = []
    for n, name in enumerate(found.names):
        place = np.flatnonzero(found.counted[:, n])
        own = (found.times[place], found.values[place, n], found.labels[place, n])
        series.append(Series(name, part.step_seconds, [(n, place)], *own, None, found.kinds[n], [], False))
    return Prepared(found.times, found.values, found.history, len(found.names), series)


def score(source, part, prepared, progress=iter):
    """Scores of a Source on a Part, which was prepared; progress as of replay.surprises."""
    return _by_model(source, part, prepared, progress) if source.path else _by_simple_detectors(part, prepared)


def unfit(bundle, part):
    """Why a model cannot judge a Part, in words; '' = it can."""
    manifest = bundle.manifest
    low, high = manifest.step_seconds
    if manifest.features is not None and len(manifest.features) != part.features:
        return f'it judges entities of {len(manifest.features)} features ({", ".join(manifest.features)}), these have {part.features}'
    if not low <= part.step_seconds <= high:
        return f'it was made for steps of {low:g} to {high:g} s, these have {part.step_seconds:g} s'
    return ''


@functools.lru_cache(maxsize=8)
def _session(path):
    return sessions.load(path, threads=1, prove=False)


def _by_model(source, part, prepared, progress):
    shape, many = prepared.values.shape, prepared.entities
    surprise = np.full(shape[:2], np.nan, np.float32)
    share = np.full((len(prepared.times), many, shape[2]), np.nan, np.float32) if part.features > 1 else None
    expected, lower, upper = np.full((3, len(prepared.times), many, shape[2]), np.nan)
    view = np.full((len(prepared.times), many), -1, np.int8) if source.drawn else None
    session = _session(source.path)
    session = replay.Forgetful(session, recurrence.TABLE) if source.forgetful else session
    steps = replay.steps(session, prepared.times, prepared.values, part.step_seconds, prepared.history, progress)
    for t, verdicts, after in steps:
        surprise[t], memory = verdicts.surprise, after
        expected[t], lower[t], upper[t] = verdicts.expected[:many], verdicts.lower[:many], verdicts.upper[:many]
        if share is not None:
            share[t] = verdicts.contribution[:many]
        if view is not None:
            view[t] = _largest_view(verdicts.view[:many])
    out = {}
    for series in prepared.series:
        scores, borders = series.take(surprise), (series.take(lower), series.take(upper))
        drawn = [border.astype(np.float32) if source.drawn else None for border in borders]
        klass = int(memory.klass[series.pieces[-1][0]])
        blame = None
        if share is not None:
            alarmed = scores >= _threshold(source.path, part.step_seconds, klass)
            blame = _blame(series, series.take(share) * scores[:, None], (alarmed, series.take(expected), *borders))
        seen = series.take(view) if view is not None else None
        out[series.name] = Judged(scores, _peaks(series, surprise), blame, klass, _band(series, *borders), *drawn, seen)
    return Scores({source.name: out}, None)


def _largest_view(share):
    """int8 [N]: which view has the largest of the shares [N, V]; -1 where none has any.

    >>> _largest_view(np.float32([[0.2, 0.8], [0, 0], [np.nan, np.nan]]))
    array([ 1, -1, -1], dtype=int8)
    """
    share = np.pad(np.nan_to_num(share), ((0, 0), (0, 1)))      # of no views, too, there is a largest
    return np.where(share.max(1) > 0, share.argmax(1), -1).astype(np.int8)


def _by_simple_detectors(part, prepared):
    total, columns, features = prepared.values.shape
    found, blamed = {}, {}
    past = ((prepared.history[0] - prepared.times[0]) / part.step_seconds).round().astype(int)
    block = max(1, COLUMNS // columns)
    for first in range(0, features, block):
        values = prepared.values[..., first : first + block].reshape(total, -1)
        history = (past, prepared.history[1][..., first : first + block].reshape(len(past), values.shape[1]))
        known = baselines.plain(values, part.step_seconds, history) | baselines.scores(values, part.step_seconds)
        for name, each in (known | customary.scores(values, part.step_seconds, history)).items():
            each = each.reshape(total, columns, -1).astype(np.float32)
            found[name] = _largest(found.get(name), each)
            if features > 1:
                blamed.setdefault(name, []).append([series.take(each) for series in prepared.series])
    if features > 1:
        first_tested = min(int(place[0]) for series in prepared.series for _, place in series.pieces)
        found['pca'] = baselines.pca(prepared.values, max(first_tested, min(300, total // 4)))
    tested = _tested(prepared)
    found |= isolation_forest.scores(prepared.values, part.step_seconds, tested)
    if features == 1:
        found |= prophet_daily.scores(prepared.values[..., 0], part.step_seconds, tested, (past, prepared.history[1][..., 0]))
    methods = {}
    for name, scores in found.items():
        parts_of = zip(*blamed[name], strict=True) if name in blamed else [None] * len(prepared.series)
        methods[name] = {
            series.name: Judged(series.take(scores).astype(np.float32), _peaks(series, scores), _blame(series, np.concatenate(each, 1)) if each else None)
            for series, each in zip(prepared.series, parts_of, strict=True)
        }
    return Scores(methods, {series.name: _recurring(series, found['largest']) for series in prepared.series})


def _tested(prepared):
    """int [columns]: the first step of each that is tested; a copy with planted faults has that of its original."""
    first = {column: int(place[0]) for series in prepared.series for column, place in series.pieces}
    return np.array([first[column % prepared.entities] for column in range(prepared.values.shape[1])])


def _largest(before, each):
    """The largest score of all features so far, float32 [T, N]; NaN where none was judged."""
    return np.fmax.reduce([each[..., f] for f in range(each.shape[2])] + ([] if before is None else [before]))


def _peaks(series, scores):
    """float32 [planted faults]: the largest score from the start of each to `tolerance` after its end; -inf where nothing was judged."""
    tolerance, _ = measures.windows(series.step_seconds)
    spans = [scores[fault.first : fault.first + fault.steps + tolerance, column] for column, fault in series.planted]
    return np.array([np.nanmax(span, initial=-np.inf) for span in spans], np.float32)


def _threshold(path, step_seconds, klass):
    """The surprise from which on a model alarms at a budget of one a week."""
    calibration = _session(path).bundle.calibration
    if calibration.status == 'none':
        return advance.NOMINAL_THRESHOLD
    return calibration.threshold(BUDGETS['1/week'], step_seconds=step_seconds, klass=klass)


def _blame(series, weight, of_model=None):
    """float [events, 2]: HitRate@100 % of the contributions, EARLY samples in and at an event's end; None where it is not known.

    weight    float [n, F]: what each feature adds at each sample, NaN = nothing
    of_model  what an operator sees of a model: (bool [n]: alarms, expected, lower, upper: float [n, F] each). The contributions are those of the
              latch from the first alarm in the event on; without an alarm from its first sample on. None: of a simple detector, which adds
              up weights
    """
    if series.culprits is None:
        return None
    events = measures.runs(series.labels)
    out = np.full((len(events), 2), np.nan)
    for k, (first, end) in enumerate(events):
        culprits = series.culprits[first:end].any(0)
        begin = first if of_model is None or not of_model[0][first:end].any() else first + int(of_model[0][first:end].argmax())
        for column, until in enumerate((min(end, begin + EARLY), end)):
            added = np.nansum(weight[begin:until], 0)
            if of_model is not None and begin:
                added = _held_blame(series.values[begin:until], weight[begin:until], *(each[begin - 1] for each in of_model[1:]), added)
            if culprits.any():
                out[k, column] = measures.hit_rate(added[None], culprits[None]) if added.any() else 0.0
    return out


def _held_blame(observed, weight, expected, lower, upper, otherwise):
    """float [F]: the blame of each feature as the latch has it, which holds the expectation and band [F] of the sample before the alarm."""
    distance = latch.blamed_distances(observed, latch.distances(observed, expected, lower, upper))
    return latch.blame(distance.max(0)[None], np.nan_to_num(weight).max(0)[None], otherwise[None].astype(np.float32))[0]


def _band(series, lower, upper):
    """(healthy samples inside the band, healthy samples that have one, median width in the 99 % range of the healthy samples)."""
    healthy = ~measures.near(series.labels, measures.windows(series.step_seconds)[0])
    values, lower, upper = (array[healthy] for array in (series.values, lower, upper))
    known = np.isfinite(values) & np.isfinite(lower) & np.isfinite(upper)
    inside, widths = known & (lower <= values) & (values <= upper), []
    for f in range(values.shape[1]):
        if known[:, f].any():
            low, high = np.quantile(values[known[:, f], f], [0.005, 0.995])
            if high > low:
                widths.append(float(np.median((upper - lower)[known[:, f], f])) / float(high - low))
    return int(inside.sum()), int(known.sum()), float(np.median(widths)) if widths else float('nan')


def _recurring(series, sizes):
    """bool [events] of a Series, by the sizes [T, N] of a simple detector."""
    out, begin = [], 0
    events = measures.runs(series.labels)
    for column, place in series.pieces:
        here = [(first - begin, min(end - begin, len(place))) for first, end in events if begin <= first < begin + len(place)]
        spans = [(int(place[first]), int(place[end - 1]) + 1) for first, end in here]
        out.append(recurrence.recurring(sizes[:, column], spans, series.step_seconds))
        begin += len(place)
    return np.concatenate(out)
