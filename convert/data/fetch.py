"""History out of Prometheus into the store: the exporter's own detectors, their own queries, at the aligned step minus the delay.

Who calls it: collect. It asks through promlstm.engine.history and promlstm.query.prometheus, so training data are what the exporter would
see; below the limit of points, as many requests at once as the `concurrency` of the sources allows. Each chunk is on disk before it counts, so an
interrupted run continues where it was. A detector that cannot be fetched is reported at the end, when all others are there. Fetched data is
never deleted: Prometheus may no longer have it.
"""

import itertools
import threading
import time as clock
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from convert import progress
from convert.data import spans, store
from convert.data.spans import DataError
from promlstm.engine import history
from promlstm.engine.entities import Entities
from promlstm.errors import PromlstmError, ResponseError, SourceUnavailable
from promlstm.query.prometheus import POINTS_PER_ANSWER
from promlstm.query.victorialogs import asked_every

CELLS = 2_000_000               # samples of a chunk in memory, 16 MB
MOST_STEPS, LEAST_STEPS = 4096, 16
PAUSES = (1.0, 4.0, 16.0)       # seconds before each new attempt at what may be a broken connection


class FetchError(DataError):
    """Some detectors could not be fetched; the others are there."""


@dataclass(eq=False)
class _Job:
    """One chunk to be fetched."""

    detector: object
    store: store.Store
    grid: str
    first: int
    steps: int
    series: int
    source: object


def about(config, detector):
    """What a detector's folder holds (store.About)."""
    source = config.source_of(detector)
    return store.About(
        detector=detector.name,
        source=source.url,
        queries=dict(detector.queries),
        by=detector.by,
        step_seconds=float(detector.step),
        delay_seconds=float(detector.delay),
        coarse_seconds=spans.coarse_seconds(detector.step),
        asked={**source.params, **source.headers},
    )


def fetch(config, detectors, parts, root, *, sources, log, part=None, now=clock.time, pause=None):
    """The Stores of detectors, with all that the spans want in them.

    config     promlstm.config.Config
    detectors  its Detectors that are wanted
    parts      spans.Parts
    root       folder of the stores, locked by the caller
    sources    {name: Prometheus, or anything with its `instant` and `range`}
    log        function of a line of text
    part       parts.Part: fetch only what is its own, into its own folder below the root; None = all
    pause      function of seconds, for tests; None = wait, but no longer than until another chunk ends the run
    raises     FetchError  naming each detector that failed, after the others are done; StoreError where the disk does not take it
    """
    _refuse_future(config, detectors, parts, now())
    stores, failed, jobs = {}, {}, []
    for detector in detectors:
        stores[detector.name] = target = store.Store(part.folder(root) if part else root, about(config, detector))
        target.prepare()
        try:
            missing = lacking(config, detector, parts, root, part)
            jobs += _plan(detector, target, missing, asked_every(sources[config.source_name(detector)], detector.step))
        except PromlstmError as error:
            failed[detector.name] = error
    asked = {config.source_name(detector): config.source_of(detector) for detector in detectors}
    log(f'  {len(jobs)} chunks to fetch from {", ".join(each.url for each in asked.values())} for {len(detectors)} detectors')
    samples = _run(jobs, failed, sum(each.concurrency for each in asked.values()), log, pause)
    log(f'  {samples} samples fetched')
    if failed:
        why = ''.join(f'\n  detector {name!r}: {error}' for name, error in failed.items())
        raise FetchError(f'{len(detectors) - len(failed)} of {len(detectors)} detectors are there; run it again to continue with the others:{why}')
    return stores


def _refuse_future(config, detectors, parts, now):
    delay = max(detector.delay for detector in detectors)
    for part, number, (_, end) in parts.named():
        if end > now - delay:
            raise FetchError(f'spans.{part}[{number}] ends at {spans.text(end)}, which is in the future')


def lacking(config, detector, parts, root, part=None):
    """What the spans want of a detector and is not there, of a part: neither in its folder nor in that of the whole: {grid: [(first, end) steps]}."""
    folders = [root, *([part.folder(root)] if part else [])]
    found = [store.Store(folder, about(config, detector)) for folder in folders]
    out = {}
    for grid, pieces in spans.wanted(parts, detector.step, detector.history).items():
        own = part.pieces(detector.name, grid, found[0].step_seconds(grid), pieces) if part else pieces
        out[grid] = spans.without(own, [each for one in found for each in one.covered(grid)])
    return out


def _plan(detector, target, lacking, source):
    """Jobs for what is lacking; chunks are cut at multiples of their length."""
    jobs = []
    for grid, missing in lacking.items():
        if not missing:
            continue
        series = _series(detector, missing, target.step_seconds(grid), source)
        length = _length(series * target.features)
        for first, end in missing:
            edges = [first, *range((first // length + 1) * length, end, length), end]
            jobs += [_Job(detector, target, grid, begin, finish - begin, series, source) for begin, finish in itertools.pairwise(edges)]
    return jobs


def _length(series):
    """Steps of a chunk for so many series: a power of two.

    >>> _length(1), _length(1000), _length(1_000_000)
    (4096, 1024, 16)
    """
    return int(np.clip(2 ** int(np.log2(CELLS / max(1, series))), LEAST_STEPS, MOST_STEPS)) if series < CELLS else LEAST_STEPS


def _series(detector, pieces, step_seconds, source):
    """How many series to expect: the most at a few instants."""
    first, end = pieces[0][0], pieces[-1][1] - 1
    instants = {round(step) * step_seconds - detector.delay for step in (first, (first + end) / 2, end)}
    counts = [len(source.instant(expr, instant).keys) for expr in detector.queries.values() for instant in instants]
    return max([1, *counts])


def _run(jobs, failed, concurrency, log, pause):
    """Fetch all chunks, several at once; returns the samples. A detector whose chunk cannot be had is added to `failed`."""
    stopped = threading.Event()
    with ThreadPoolExecutor(concurrency, 'fetch') as pool:
        try:
            running = {pool.submit(_fetched, job, failed, pause, stopped): job for job in jobs}
            samples = 0
            for future in progress.track(as_completed(running), 'chunks', total=len(jobs), log=log):
                try:
                    samples += future.result()
                except PromlstmError as error:
                    failed.setdefault(running[future].detector.name, error)
            return samples
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetched(job, failed, pause, stopped):
    """Fetch one chunk and write it; returns its samples. Nothing more is fetched for a detector that has failed."""
    for attempt in range(len(PAUSES) + 1):
        if job.detector.name in failed or stopped.is_set():
            return 0
        try:
            identities, values, infinite, warnings = _ask(job, _rows(job, attempt))
            return job.store.put(job.grid, job.first, identities, values, infinite=infinite, warnings=warnings).samples
        except (SourceUnavailable, ResponseError):  # slow or too large perhaps: smaller requests may pass
            if attempt == len(PAUSES):
                raise
            (pause or stopped.wait)(PAUSES[attempt])
    raise AssertionError('the last attempt returns or raises')


def _rows(job, attempt):
    """The number of series to assume, which decides the size of a request: each new attempt asks for a quarter of it."""
    return job.series if not attempt else max(job.series, POINTS_PER_ANSWER // job.steps) * 4**attempt


def _ask(job, rows):
    """(identities, float64 [T, N, F], ±Inf met, warnings) of one chunk."""
    detector, step, warnings = job.detector, job.store.step_seconds(job.grid), []
    entities = Entities(len(detector.queries), detector.by or None)
    start, end = job.first * step, (job.first + job.steps - 1) * step
    frames = list(history.frames(job.source, detector, entities, start, end, step=step, rows=rows, warn=warnings.extend))
    values = np.full((job.steps, len(entities), job.store.features), np.nan)
    for row, (frame, _) in zip(values, frames, strict=True):
        row[: len(frame.values)] = frame.values
    return entities.identities, values, sum(infinite for _, infinite in frames), warnings
