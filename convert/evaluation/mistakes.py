"""Missed events and false alarms of a method, for people who want to look at them: entities that eat the budget, missed events, false alarms. Pure.

Who calls it: convert.benchmark (`benchmark --errors`, and its gate). scoreboard lists them, sheets draws them.
"""

import msgspec
import numpy as np

from convert.evaluation import measures

BEFORE = 60         # samples before an event that its size is measured against


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was missed, or a false alarm, in the tested samples of one entity.

    first     its first sample, counted from the first that is tested: row `split + first` of the file
    time      of that sample, unix seconds
    kind      how long and where to: 'single up', 'short down', 'long', ...
    steps     from its first to its last sample
    size      how far its values are from those before it, in their usual changes; the largest of the features
    peak      the highest score in it; the threshold is 1
    recurs    whether a missed event came at the same time on two of the seven days before
    counts    how often a false alarm counts, since it stands
    view      of a model: the view with the largest share in the surprise at the peak; '' = not known
    """

    entity: str
    first: int
    time: float
    steps: int
    kind: str
    size: float
    peak: float | None
    recurs: bool = False
    counts: int = 1
    view: str = ''


class Mistakes(msgspec.Struct, frozen=True, kw_only=True):
    """All of one method on one set: the highest peaks first."""

    benchmark_set: str
    method: str
    missed: list[Mistake]
    false: list[Mistake]


def mistakes(card, series, recurring, field, judged=(), views=()):
    """The Mistakes behind a scorecard.Card.

    series, recurring, field  as scorecard.cards was given and gave them
    judged                    scoring.Judged of each series by the method, whose `view` are places in views, the names that the model has for them
    """
    def view(n, place):
        known = n < len(judged) and judged[n].view is not None and place >= 0
        return (*views, '')[judged[n].view[place]] if known else ''     # -1 = the last

    delays, peaks, again = field.count(card.threshold).delays, field.peaks(), np.concatenate([*recurring, np.zeros(0, bool)])
    places = field.peak_places()
    missed = [
        _mistake(series[n], first, end, peaks[k] / card.threshold, recurs=bool(again[k]), view=view(n, places[k]))
        for k, (n, first, end) in enumerate(field.events) if delays[k] < 0
    ]  # fmt: skip
    false = []
    for alarm in field.false_alarms(card.threshold):
        place, peak = _peak(field, alarm)
        shown = view(alarm.entity, place)
        false.append(_mistake(series[alarm.entity], alarm.first, alarm.end, peak / card.threshold, counts=alarm.counts, view=shown))
    highest = lambda mistake: -mistake.peak     # noqa: E731 (twice below)
    return Mistakes(benchmark_set=card.benchmark_set, method=card.method, missed=sorted(missed, key=highest), false=sorted(false, key=highest))


def shares(card):
    """[(entity, false alarms, share of the set's)], the largest first."""
    total = sum(card.false.values())
    return [(name, count, count / total) for name, count in sorted(card.false.items(), key=lambda each: (-each[1], each[0]))]


def counted(values):
    """How often each comes, the most frequent first, in words.

    >>> counted(['long up', 'single', 'long up'])
    '2 long up, 1 single'
    """
    values = list(values)
    return ', '.join(f'{values.count(each)} {each}' for each in sorted(set(values), key=lambda each: (-values.count(each), each)))


def short(name, most):
    """A name in so many characters: beginning and end.

    >>> short('instance="db-1",job="node"', 13), short('db-1', 13)
    ('instan…"node"', 'db-1')
    """
    return name if len(name) <= most else f'{name[: most // 2]}…{name[len(name) - (most - 1 - most // 2) :]}'


def _peak(field, alarm):
    """(sample of the entity, score) where an alarm is highest."""
    start = field.starts[alarm.entity]
    place = alarm.first + int(field.scores[start + alarm.first : start + alarm.end].argmax())
    return place, field.scores[start + place]


def _mistake(series, first, end, peak, **more):
    size, direction = movement(series.values, first, end)
    length = 'single' if end - first == 1 else 'short' if end - first <= measures.windows(series.step_seconds)[1] else 'long'
    return Mistake(
        entity=series.name, first=int(first), time=float(series.times[first]), steps=int(end - first), kind=f'{length} {direction}'.strip(),
        size=round(float(size), 2), peak=round(float(peak), 3) if np.isfinite(peak) else float('nan'), **more,
    )  # fmt: skip


def movement(values, first, end):
    """(how far an event's values are from the middle of those before it, in their usual change; 'up', 'down' or '').

    values  float [T, F]; of the feature that moves most

    >>> movement(np.r_[np.arange(60) % 2, 9.0, 1][:, None], 60, 61)
    (8.5, 'up')
    """
    far = moves(values, first, end)
    best = int(np.argmax(np.abs(far)))
    return float(abs(far[best])), 'up' if far[best] > 0 else 'down' if far[best] < 0 else ''


def moves(values, first, end):
    """float [F]: how far each feature goes in an event, signed, in its usual changes of the samples before it; 0 where nothing is known."""
    before = values[max(0, first - BEFORE) : first] if first else values[:end]
    with np.errstate(all='ignore'):
        middle = np.nanmedian(before, 0)
        change, usual = (np.nan_to_num(np.nanmean(np.abs(np.diff(x, axis=0)), 0)) if len(x) > 1 else 0.0 for x in (before, values))
        floor = np.maximum(change, np.maximum(0.1 * usual, 1e-6 * np.abs(middle) + 1e-30))       # it may have stood still before
        far = np.nan_to_num((values[first:end] - middle) / floor)
    at = np.abs(far).argmax(0)
    return far[at, np.arange(values.shape[1])]
