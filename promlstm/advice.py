"""Settings that are valid and mean something else than people who write them usually want: what they mean, in a sentence each.

Who calls it: `check-config` (as warnings) and `run` (as log lines at the start). What flows through: a configuration, what a model can do, what
the server keeps, what the expressions return now; out come sentences. Nothing is refused here: config.py refuses what cannot work at all.

A detector that can never alarm looks like one with nothing to report. So each key by which detection can be switched off has its sentence here,
with what the value means and, where a mistake is likely, what was probably meant.
"""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from promlstm.config import Detector, Source
from promlstm.engine import budget, labels
from promlstm.engine.bundle import Calibration, Manifest
from promlstm.engine.columns import Floats
from promlstm.terminal import duration

GROUPED = re.compile(r'^\s*\w+\s+by\s*\(([^)]+)\)|\)\s*by\s*\(([^)]+)\)\s*$')  # an aggregation around the whole expression
DEFAULT_TIMEOUT_SECONDS = 30.0
QUICK_SECONDS = 0.5  # no answer of a busy server can be relied upon to be faster
DECODED = 5  # an answer and what is made of it take so many times its bytes
SMALL_BYTES = 100_000  # an answer of some hundred series
LATE_SECONDS = 1800.0  # clouds hand over samples up to ten minutes late; nothing that one acts upon is later than this
LONG_HOLD_SECONDS = 7 * 86400.0
SHORT_FORGET_SECONDS = 600.0  # as Entities.forgettable has it; the rule for lost entities waits for five minutes
LONG_FORGET_SECONDS = 60 * 86400.0
RISE = 5.0  # a relative rise that is hardly meant where percent were written
DEFAULT_HISTORY_SECONDS = 8 * 86400.0
DEFAULT_RETENTION_SECONDS = 15 * 86400.0  # of a Prometheus as it comes


def of_source(source: Source, detectors: Iterable[Detector], memory_limit_bytes: int | None = None, *, edges: bool = False) -> list[str]:
    """What the section of a source means where that may not be what was meant, list of sentences. edges: it is asked for edges."""
    steps = [detector.step for detector in detectors]
    found, shortest = [] if steps or edges else ['no detector uses it: set source: NAME in the detectors that should'], min(steps, default=math.inf)
    if source.timeout < QUICK_SECONDS:
        found.append(f'timeout of {duration(source.timeout)}: hardly any answer is that fast, so every step may fail; the unit may be missing')
    if source.timeout > max(shortest, DEFAULT_TIMEOUT_SECONDS):
        found.append(
            f'timeout of {duration(source.timeout)}: a query that hangs holds its detector for {source.timeout / shortest:.3g} steps of '
            f'{duration(shortest)}, without scores after the second; set at most a step'
        )
    if source.max_response is not None and source.max_response < SMALL_BYTES:
        found.append(f'max_response of {source.max_response} bytes: answers of some hundred series are larger, and refused')
    if source.max_response is not None and memory_limit_bytes and source.max_response > memory_limit_bytes // DECODED:
        found.append(
            f'max_response of {source.max_response} bytes: such an answer, once decoded, does not fit into the memory limit of '
            f'{memory_limit_bytes} bytes, and ends the process'
        )
    return found


def of_settings(detector: Detector) -> list[str]:
    """What the keys of a detector mean, list of sentences, as far as they alone say it."""
    return [*_deviations(detector), *_range(detector), *_times(detector), *_division(detector)]


def _division(detector: Detector) -> Iterable[str]:
    if detector.split_by is not None and not detector.is_divided:
        yield (
            f'split_by of {detector.split_by}: no $shard in the expression, so one shard has all entities; put it into the selectors, as in '
            'up{job="node", $shard}'
        )


def _deviations(detector: Detector) -> Iterable[str]:
    share, low_high = detector.min_relative_deviation, detector.range
    probably = f'; it is a share: did you mean {share / 100:g} for {share:g} %?' if share >= 1 else ''
    if share >= 1 and detector.direction == 'below':
        yield f'min_relative_deviation of {share:g}: a fall to nothing is 1, so no fall of a positive series alarms{probably}'
    elif share >= 1 and detector.direction == 'both':
        yield (
            f'min_relative_deviation of {share:g}: a fall to nothing is 1, so hardly any fall alarms, and no rise below {share + 1:g} times '
            f'the expected value{probably}'
        )
    elif share >= RISE:
        yield f'min_relative_deviation of {share:g}: no rise below {share + 1:g} times the expected value alarms{probably}'
    if low_high and detector.min_deviation >= low_high[1] - low_high[0]:
        yield (
            f'min_deviation of {detector.min_deviation:g}: no two samples inside of the range {list(low_high)} are that far apart, so only a '
            f'sample outside of it alarms'
        )


def _range(detector: Detector) -> Iterable[str]:
    if detector.range and -math.inf == detector.range[0] and detector.range[1] == math.inf:
        yield f'range of {list(detector.range)}: every sample is inside of it; leave the key out'


def _times(detector: Detector) -> Iterable[str]:
    step = detector.step
    if detector.delay > max(LATE_SECONDS, step):
        yield (
            f'delay of {duration(detector.delay)}: each alarm comes that much late, for the sample judged at a step is '
            f'{duration(detector.delay)} old; delay is how late samples arrive, 10s by default'
        )
    hold = detector.hold
    if hold and hold < step:
        yield f'hold of {duration(hold)}: shorter than the step of {duration(step)}, so an alarm of a lasting shift is over after one sample'
    if hold and hold > max(LONG_HOLD_SECONDS, 15 * step):
        yield f'hold of {duration(hold)}: a lasting shift stays an alarm for that long, and nothing is learnt of its entity meanwhile'
    if detector.missing == 'alert' and detector.forget < max(SHORT_FORGET_SECONDS, step):
        yield (
            f'forget of {duration(detector.forget)}: an entity that goes away is forgotten before promlstm_entity_missing can alert of it; '
            f'take at least {duration(max(SHORT_FORGET_SECONDS, step))}, or missing: ignore'
        )
    if detector.missing == 'alert' and detector.forget > LONG_FORGET_SECONDS:
        yield (
            f'forget of {duration(detector.forget)}: an entity that goes away is reported as missing, and keeps its memory, for that long'
        )
    if detector.missing == 'ignore' and detector.forget < step:
        yield (
            f'forget of {duration(detector.forget)}: one missing sample makes an entity new, and it warms up again; set several steps of '
            f'{duration(step)}'
        )
    if detector.max_entities == 1:
        yield 'max_entities of 1: only the first entity is scored'


def of_budget(
    detector: Detector, calibration: Calibration, classes: Iterable[int], *, largest_surprise: float = math.inf, entities: int | None = None,
) -> list[str]:  # fmt: skip
    """What the false-alarm budget means beside the tables of the model, list of sentences.

    largest_surprise  that the model gives for any sample
    entities          how many share a budget `in all`; None = not known
    """
    if detector.false_alarms.shared and entities is None:
        return []
    wanted, step = detector.false_alarms.per_entity_week(entities or 1), detector.step
    top, lowest = calibration.ceiling(step, classes), budget.floor(calibration, step, classes)
    if wanted > top * 1.0001:
        return [
            f'false_alarms of {detector.false_alarms}: {wanted:.4g} for each entity in a week is more than was measured; it is judged by the '
            f'largest of the calibration, {top:.3g} a week at a step of {duration(step)}'
        ]
    used = max(wanted, lowest)
    threshold = max(calibration.threshold(used, step_seconds=step, klass=klass) for klass in classes)
    if threshold > largest_surprise:
        return [
            f'false_alarms of {detector.false_alarms}: a score of 1 takes a surprise of {threshold:.3g}, and the model gives '
            f'{largest_surprise:.3g} at most, so nothing but a sample outside of the range can alarm; allow more false alarms'
        ]
    return []


def of_identities(detector: Detector, identities: Sequence[bytes]) -> list[str]:
    """Whether the labels that an expression groups by tell entities apart, list of sentences.

    identities  label sets of the entities of its answer, as labels.identity gives them
    """
    if len(identities) != 1 or labels.pairs(identities[0]):
        return []
    grouped = [found[1] or found[2] for expr in detector.queries.values() if (found := GROUPED.search(expr))]
    return [f'by ({names}): the answer is one series without labels, so all series are one entity; check the spelling' for names in grouped]


def of_answers(detector: Detector, answers: Sequence[Sequence[float] | Floats]) -> list[str]:
    """What the settings mean beside the present values, list of sentences.

    answers  per feature: the values that its expression returns now; NaN and ±Inf are no samples
    """
    samples = np.concatenate([np.empty(0), *(np.asarray(values, np.float64) for values in answers)])
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return []
    found, largest = [], float(np.abs(samples).max())
    if detector.range:
        low, high = detector.range
        outside = int(((samples < low) | (samples > high)).sum())
        if outside == len(samples):
            found.append(
                f'range of {list(detector.range)}: all {outside} present samples are outside of it, from {samples.min():.4g} to '
                f'{samples.max():.4g}: each of them alarms and none is learnt; check the unit'
            )
    if detector.direction == 'below' and samples.min() >= 0 and detector.min_deviation > largest > 0:
        found.append(
            f'min_deviation of {detector.min_deviation:g}: the largest present value is {largest:.4g}, so no fall is that deep; check the unit'
        )
    return found


def of_history(
    detector: Detector, manifest: Manifest, retention_seconds: float | None, *, reaches_back: bool | None = None
) -> list[str]:
    """Whether the server can keep what a first score needs, list of sentences.

    retention_seconds  how long it keeps samples; None = not known
    reaches_back       whether it has samples from before the warm-up now; None = not known
    """
    step, found = detector.step, []
    wait = (manifest.warmup_steps + 1) * step  # the sample after the last of the warm-up is the first that is judged
    needs = f'the first score takes {manifest.warmup_steps} samples, {days(manifest.warmup_steps * step)} at a step of {duration(step)}'
    if retention_seconds is not None and detector.delay >= retention_seconds:
        return [f'delay of {duration(detector.delay)}: the server keeps samples for {duration(retention_seconds)}, so none is left by then']
    if retention_seconds is not None and detector.history > max(retention_seconds, DEFAULT_HISTORY_SECONDS):
        found.append(
            f'history of {duration(detector.history)}: the server keeps samples for {duration(retention_seconds)}, so a start queries samples that are gone'
        )
    if reaches_back or wait + detector.delay <= (DEFAULT_RETENTION_SECONDS if retention_seconds is None else retention_seconds):
        return found
    if retention_seconds is None:
        found.append(
            f'{needs}, and the retention of the server is unknown: Prometheus keeps 15d by default, less than that; with too little, '
            f'each start begins the warm-up again'
        )
    else:
        found.append(
            f'{needs}, and the server keeps them for {days(retention_seconds)}: after each start at least {days(wait - retention_seconds)} pass '
            f'without a score; keep samples for {math.ceil((wait + detector.delay) / 86400)}d (--storage.tsdb.retention.time), or set a step of '
            f'{_step_within(retention_seconds / (manifest.warmup_steps + 1))} or less'
        )
    return found


def days(seconds: float) -> str:
    """A duration in its two largest units."""
    return duration(seconds, units=2)


def _step_within(seconds: float) -> str:
    """A step that is no longer, in the largest whole unit that fits.

    >>> _step_within(31_610), _step_within(100)
    ('8h', '1m')
    """
    unit = next((unit for unit in (86400, 3600, 60, 1) if seconds >= unit), 1)
    return duration(max(1, seconds // unit) * unit)
