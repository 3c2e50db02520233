"""Stored telemetry as the batches that synthesis makes: by spans, in groups of entities, always in the same order.

Who calls it: train and evaluate, for which it makes no difference where a batch came from. Times are absolute and keep their order; a
part (train, validate, test) never yields a sample of another one. Samples that are not learnt from (exclusions, the lead before a span,
padding) are `faulty`, and NaN in the history that fills the seasonal memory. Memory use is that of one group of entities, however many
there are.
"""

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np

from convert.data import spans, store, synthesis
from convert.data.spans import DataError

DRAWN = 16              # entities that are drawn together
SAMPLES = 4_000_000     # of a batch at most, where a group has more than one entity: 32 MB


class DatasetError(DataError):
    """A span has no samples, or none are left to learn from."""


@dataclass(frozen=True, eq=False)
class Recorded(synthesis.Batch):
    """A synthesis.Batch of recorded telemetry.

    faulty      bool [T, N, F]  not learnt from and not healthy time: excluded, lead or padding
    identities  N identities, bytes, sorted
    scored      bool [T]        False in the lead that is only read to warm up, and in the padding after the end
    labels      bool [T, N, F]  known incidents, which are faulty too; None = the recipe labels nothing
    """

    identities: tuple
    scored: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """The telemetry of one detector.

    store            store.Store
    parts            spans.Parts
    history_seconds  of coarse history before each batch
    exclusions       spans.Exclusions
    dropped          identities that no batch has (quality: constant, duplicated, too short)
    labelled         spans.Exclusions that are known incidents
    zero_seconds     for so long after its last sample an entity without one has a zero; 0 = never (`absent` and `forget` of the detector)
    """

    store: store.Store
    parts: spans.Parts
    history_seconds: float
    exclusions: tuple = ()
    dropped: frozenset = frozenset()
    labelled: tuple = ()
    zero_seconds: float = 0.0

    @property
    def detector(self):
        """Its name."""
        return self.store.about.detector

    @property
    def step_seconds(self):
        """Of the fine grid."""
        return self.store.about.step_seconds

    def entities(self, part):
        """Identities with a sample in the spans of a part, sorted; without those that are dropped."""
        found = {name for first, end in self.steps(part) for name in self.store.identities('fine', first, end)}
        return sorted(found - self.dropped)

    def steps(self, part):
        """The spans of a part as steps: [(first, end)] in time order."""
        return sorted(spans.steps(span, self.step_seconds) for span in getattr(self.parts, part))

    def batches(self, part, *, steps=None, lead_steps=spans.LEAD_STEPS, entities=None, series=None, seed=0):
        """Recorded batches of a part: for each group of entities, each span in time order.

        steps       None: a span is one batch, lead before it. A number: all batches are that long; a span is cut into windows of which
                    each begins with the lead that the one before has, so that every sample of the span is learnt from once; the last
                    one is padded with NaN
        lead_steps  read before what counts, to warm up
        entities    identities to yield; None = all of the part
        series      about so many at most (entities × features, each window counts): windows drawn by the seed; None = all. What training
                    holds in memory then does not depend on how large the fleet is or how long its history
        raises      DatasetError  where the part has spans but no sample
        """
        chosen = self.entities(part) if entities is None else sorted(entities)
        if not chosen and getattr(self.parts, part):
            raise DatasetError(f'detector {self.detector!r}: spans.{part}: no entity has a usable sample in it')
        windows = [window for span in self.steps(part) for window in _windows(span, steps, lead_steps)]
        longest = max((end - first for first, end, _, _ in windows), default=1)
        size = max(1, min(store.GROUP if series is None else DRAWN, SAMPLES // (longest * self.store.features)))
        pieces = [(group, window) for group in store.groups(chosen, size) for window in windows]
        for group, window in pieces if series is None else self._drawn(pieces, series, seed):
            batch = self._batch(group, *window)
            if not batch.faulty.all():
                yield batch

    def _drawn(self, pieces, series, seed):
        """Random pieces, in their order, until there are so many series; those with a known incident first, since incidents are rare."""
        order = np.random.default_rng(seed).permutation(len(pieces))
        if self.labelled:
            order = order[np.argsort([not self._has_incident(*pieces[number]) for number in order], kind='stable')]
        counts = np.cumsum([len(pieces[number][0]) * self.store.features for number in order])
        return [pieces[number] for number in sorted(order[: np.searchsorted(counts, series) + 1])]

    def _has_incident(self, group, window):
        """Whether a known incident lies in the part of a window that counts."""
        return spans.excluded(self.labelled, np.arange(*window[2:]) * self.step_seconds, group, self.detector).any()

    def _batch(self, group, first, end, begin, finish):
        """Steps first to end, of which begin to finish count; only entities with a sample that counts."""
        values = self.store.read('fine', first, min(end, finish), group)
        values = np.concatenate([values, np.full((end - first - len(values), *values.shape[1:]), np.nan)])
        number = np.arange(first, end)
        scored = (number >= begin) & (number < finish)
        if self.zero_seconds:
            values = self._zeroed('fine', values, first, group)
        here = np.flatnonzero(~np.isnan(values[scored]).all((0, 2)))
        times, identities = number * self.step_seconds, [group[row] for row in here]
        excluded = spans.excluded(self.exclusions, times, identities, self.detector)
        known = spans.excluded(self.labelled, times, identities, self.detector)
        past, history = self._history(first, identities)
        each = lambda mask: np.broadcast_to(mask[..., None], (len(times), len(here), values.shape[2])).copy()   # noqa: E731 (of two masks)
        labels = each(known & scored[:, None] & ~excluded) if self.labelled else None
        return Recorded(
            self.step_seconds, times.astype(np.float64), values[:, here], each(excluded | known | ~scored[:, None]), past, history,
            tuple(identities), scored, labels,
        )  # fmt: skip

    def _history(self, first, identities):
        """(times [H], values [H, N, F]) of the coarse history before a step; excluded samples are NaN."""
        coarse, until = self.store.about.coarse_seconds, first * self.step_seconds
        begin, end = spans.steps((until - self.history_seconds, until), coarse)
        times = np.arange(begin, end) * float(coarse)
        values = self.store.read('coarse', begin, end, identities)
        if self.zero_seconds and identities:
            values = self._zeroed('coarse', values, begin, identities)
        values[spans.excluded(self.exclusions + self.labelled, times, identities, self.detector)] = np.nan
        return times, values

    def samples(self, first, end, identities):
        """The samples of steps as they are judged, float64 [T, n, F] (identities sorted); NaN = none."""
        values = self.store.read('fine', first, end, identities)
        return self._zeroed('fine', values, first, identities) if self.zero_seconds and identities else values

    def _zeroed(self, grid, values, first, identities):
        """Samples from a step on (float64 [T, n, F]) as a detector with `absent: zero` judges them: Detector._completed, over what is stored."""
        covered = self.store.covered(grid)
        begin = next((start for start, end in covered if start <= first < end), first)     # of what is there without a gap
        before = self.store.read(grid, begin, first, identities) if begin < first else values[:0]
        whole = np.concatenate([before, values])
        number = np.arange(len(whole))[:, None]
        last = np.maximum.accumulate(np.where(np.isnan(whole).all(2), -1, number), axis=0)     # the step of the last sample until then
        age = (number - last) * self.store.step_seconds(grid)
        there = spans.inside(covered, np.arange(begin, begin + len(whole)))
        zero = np.isnan(whole) & ((last >= 0) & (age <= self.zero_seconds) & there[:, None])[..., None]
        return np.where(zero, 0.0, whole)[len(before) :]

    def digest(self, parts=None):
        """sha256 of all that batches of these parts (None = all) depend on: samples, spans, exclusions, dropped entities."""
        chosen = self.parts if parts is None else spans.Parts(**{'train': (), **{part: getattr(self.parts, part) for part in parts}})
        wanted = spans.wanted(chosen, self.step_seconds, self.history_seconds)
        named = [(part, float(start), float(end)) for part, _, (start, end) in chosen.named()]
        since = min((start for _, start, _ in named), default=0.0) - self.history_seconds - spans.LEAD_STEPS * self.step_seconds
        until = max((end for _, _, end in named), default=0.0)
        near = [[each for each in some if each.start < until and each.end > since] for some in (self.exclusions, self.labelled)]
        rest = (named, float(self.history_seconds), near, sorted(name.decode() for name in self.dropped))
        if self.zero_seconds:
            rest += (float(self.zero_seconds),)
        return hashlib.sha256(self.store.digest(wanted).encode() + msgspec.json.encode(rest, order='sorted')).hexdigest()


def _windows(span, steps, lead_steps):
    """(first, end, begin, finish): steps first to end are read, of which begin to finish count.

    >>> _windows((1000, 1300), None, 100)
    [(900, 1300, 1000, 1300)]
    >>> _windows((1000, 1300), 250, 100)
    [(900, 1150, 1000, 1150), (1050, 1300, 1150, 1300)]
    >>> _windows((1000, 1200), 250, 100)
    [(900, 1150, 1000, 1150), (1050, 1300, 1150, 1200)]
    """
    first, end = span
    if steps is None:
        return [(first - lead_steps, end, first, end)]
    if steps <= lead_steps:
        raise DatasetError(f'windows of {steps} steps are too short for a lead of {lead_steps}')
    counts = steps - lead_steps
    return [(at - lead_steps, at + counts, at, min(at + counts, end)) for at in range(first, end, counts)]
