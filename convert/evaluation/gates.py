"""Whether a model may replace the one in service: compared entity by entity, released only if no comparison speaks against it.

    recall   of events, at the same budget of false alarms, on every set with faults: against the model in service and baselines
    alarms   per entity-week in healthy time, each at its own calibrated threshold: against the model in service
    share    of the false alarms on a labelled set that one entity makes, at equal false alarms: against what the recipe allows

A difference counts where it exceeds its margin and a paired bootstrap over entities (the same entities drawn for both, Efron 1979) says
that it is more than chance. A difference within noise passes: a gate that closes on noise is soon left open. Pure.
"""

import re
from typing import Annotated

import msgspec
import numpy as np

from convert.errors import ConvertError

DRAWS = 1000
LEAST_ALARMS = 5        # of one entity, below which its share says nothing
FEW = 40                # events of a set, below which an interval is wider than anybody would call a margin
LINKED = re.compile('^linked_|_linked$')        # names of benchmark_sets.py


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The recipe's section `gates`; `without_lstm` may stand among the baselines, too."""

    recall_margin: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02        # of events: as much less may be found
    alarms_ratio: Annotated[float, msgspec.Meta(ge=1)] = 1.25               # as many times more alarms may be raised in healthy time
    confidence: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] = 0.9          # of the bootstrap interval that must lie beyond the margin
    baselines: tuple[str, ...] = ('robust_z', 'ewma_band', 'seasonal_naive', 'difference_z', 'pca')     # that are rivals; all are reported
    most_by_one_entity: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0    # of the false alarms on a labelled set; 1 = not judged
    links: bool = False     # baselines are rivals on sets of broken links too: only a family that learns how features depend on each other can win there


class Refused(ConvertError):
    """The gates do not let a model pass: the message has every reason."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: the model's figure less the rival's, with its interval."""

    benchmark_set: str
    rival: str
    role: str
    what: str               # recall, alarms or share
    ours: float
    theirs: float
    low: float
    high: float
    passed: bool
    events: int = 0         # that recall was taken of; with few, no difference is significant and all passes

    def __str__(self):
        if self.what == 'share':
            return f'{self.benchmark_set}: {self.rival} alone makes {self.ours:.0%} of the false alarms, {self.theirs:.0%} is allowed'
        unit = 'of the events at equal false alarms' if self.what == 'recall' else 'alarms per entity-week in healthy time'
        rival = 'the model in service' if self.role == 'in service' else f'baseline {self.rival}'
        return f'{self.benchmark_set}: {self.ours:.3f} {unit}, {rival} {self.theirs:.3f} (difference {self.low:+.3f} to {self.high:+.3f})'


def judge(results, gates, seed=0):
    """Verdicts on the Results of a benchmark: those of role `model` against all rivals of the same set."""
    out = []
    for mine in (each for each in results if each.role == 'model'):
        for rival in (each for each in results if each.benchmark_set == mine.benchmark_set and _rival(each, gates)):
            if mine.tally and rival.tally and sum(mine.tally.events):
                out.append(_recall(mine, rival, gates, seed))
            if rival.role == 'in service' and mine.tally_run and rival.tally_run:
                out.append(_alarms(mine, rival, gates, seed))
        out += _share(mine, gates.most_by_one_entity)
    return out


def largest_share(false, entities, most):
    """(entity, its false alarms, its share of all) of the entity that makes the most; None where that says nothing.

    It says nothing where each of so few entities has that share by right, and of an entity with fewer than LEAST_ALARMS.

    false     {entity: false alarms}
    entities  how many there are
    most      the share that is allowed

    >>> largest_share({'a': 6, 'b': 2}, 20, 0.1), largest_share({'a': 6, 'b': 2}, 9, 0.1), largest_share({'a': 2}, 20, 0.1)
    (('a', 6, 0.75), None, None)
    """
    if not false or entities * most < 1:
        return None
    name = max(false, key=lambda each: (false[each], each))
    return (name, false[name], false[name] / sum(false.values())) if false[name] >= LEAST_ALARMS else None


def refusals(verdicts):
    """What speaks against a release, as text; none = released."""
    return [f'worse than it may be on {verdict}' for verdict in verdicts if not verdict.passed]


def weak(verdicts):
    """A sentence for each set with so few events that only a gross difference would be significant."""
    few = {each.benchmark_set: each.events for each in verdicts if each.what == 'recall' and each.events < FEW}
    advice = 'what is worse by less than half passes; give it more (evaluation, spans.test)'
    return [f'{name} has {events} events: {advice}' for name, events in few.items()]


def _rival(result, gates):
    if result.role == 'baseline':
        return result.method in gates.baselines and (gates.links or not LINKED.search(result.benchmark_set))
    return result.role == 'in service' or (result.role == 'without LSTM' and result.method in gates.baselines)


def _recall(mine, rival, gates, seed):
    parts = [(each.tally.found, each.tally.events) for each in (mine, rival)]
    ours, theirs, low, high = paired(*parts, confidence=gates.confidence, seed=seed)
    passed = high >= 0 or ours - theirs >= -gates.recall_margin
    return _verdict(mine, rival, 'recall', (ours, theirs, low, high), passed, int(sum(mine.tally.events)))


def _alarms(mine, rival, gates, seed):
    parts = [(each.tally_run.false, each.tally_run.weeks) for each in (mine, rival)]
    ours, theirs, low, high = paired(*parts, confidence=gates.confidence, seed=seed, times=gates.alarms_ratio)
    return _verdict(mine, rival, 'alarms', (ours, theirs, low, high), not low > 0)


def _share(mine, most):
    """Of a labelled set, whose entities have names: whether one of them makes more than its share."""
    if most == 1 or not mine.names or not mine.tally:
        return []
    false = {}
    for name, count in zip(mine.names, mine.tally.false, strict=True):
        false[name] = false.get(name, 0.0) + count
    worst = largest_share(false, len(false), most)
    if worst is None:
        return []
    name, _, share = worst
    figures = {'ours': share, 'theirs': most, 'low': share - most, 'high': share - most}
    return [Verdict(benchmark_set=mine.benchmark_set, rival=name, role='entity', what='share', passed=share <= most, **figures)]


def _verdict(mine, rival, what, figures, passed, events=0):
    ours, theirs, low, high = figures
    return Verdict(
        benchmark_set=mine.benchmark_set,
        rival=rival.method,
        role=rival.role,
        what=what,
        ours=ours,
        theirs=theirs,
        low=low,
        high=high,
        passed=bool(passed),
        events=events,
    )


def paired(mine, theirs, *, confidence, seed, times=1.0):
    """Two shares over the same entities, and the confidence interval of their difference.

    mine, theirs  (counts, out of), each [N]: events found and events, or alarms and weeks
    times         the rival's share is taken that often before the difference
    returns       (share of mine, share of theirs, low and high end of the interval of mine - times * theirs)

    >>> paired(([2, 2, 1], [2, 2, 2]), ([0, 1, 0], [2, 2, 2]), confidence=0.9, seed=0)[:2]
    (0.8333333333333334, 0.16666666666666666)
    """
    columns = np.array([*mine, *theirs], float)
    draws = np.random.default_rng(seed).integers(columns.shape[1], size=(DRAWS, columns.shape[1]))
    drawn = columns[:, draws].sum(2)
    shares = [drawn[0] / np.maximum(drawn[1], 1e-9), drawn[2] / np.maximum(drawn[3], 1e-9)]
    low, high = np.quantile(shares[0] - times * shares[1], [(1 - confidence) / 2, (1 + confidence) / 2])
    total = columns.sum(1)
    return float(total[0] / max(total[1], 1e-9)), float(total[2] / max(total[3], 1e-9)), float(low), float(high)
