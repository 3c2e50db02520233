"""Absolute spans of time, and what in them is excluded from training. Pure: no I/O, no clock.

Who calls it: recipe (Parts, Instant), fetch and tables (what is wanted), dataset (windows, exclusions). A span is (start, end) in unix seconds,
the end not included. Training, validation and test never share a sample. What a model reads to warm up (the lead and the coarse history)
may lie in another span, since it would be read live too; it is never learnt from or scored there.
"""

import math
from datetime import UTC, date, datetime

import msgspec
import numpy as np

from convert.errors import ConvertError
from promlstm.engine import labels
from promlstm.query.selector import Matcher
from promlstm.query.silences import FALSE_ALARM

LEAD_STEPS = 400            # read before a span so that everything is warm where it begins; the manifest's replay_steps
GRAIN = 1e-4                # of a step, within which an instant is on it: today's time in steps of 0.1 s has a float resolution of 4e-6
COARSE_SECONDS = 1800.0     # of the history that fills the seasonal memory


class DataError(ConvertError):
    """Data cannot be used as it stands: the message names the file, detector or span."""


class SpanError(DataError):
    """Spans of time that overlap, are empty or end before they begin."""


class Instant(float):
    """Unix seconds, written in the recipe as 2026-01-31, 2026-01-31T12:00:00Z or a number; without a zone it is UTC."""


def instant(value):
    """An Instant of what YAML makes of it.

    >>> instant('2026-01-31T12:00:00Z'), instant(date(1970, 1, 2)), instant(60)
    (1769860800.0, 86400.0, 60.0)
    >>> instant('yesterday')
    Traceback (most recent call last):
    ValueError: expected an instant such as 2026-01-31, 2026-01-31T12:00:00Z or unix seconds, got 'yesterday'
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, bool) or not math.isfinite(value):
            raise TypeError
    except (ValueError, TypeError) as error:
        raise ValueError(f'expected an instant such as 2026-01-31, 2026-01-31T12:00:00Z or unix seconds, got {value!r}') from error
    return Instant(value)


def day(value, now):
    """An Instant as on a command line: as in a recipe, or `today`, the last midnight before `now`, UTC.

    >>> text(day('today', 1769860800))
    '2026-01-31T00:00:00Z'
    """
    return Instant(now // 86400 * 86400) if value == 'today' else instant(value)


def text(seconds):
    """An instant as people read it, UTC.

    >>> text(1769860800)
    '2026-01-31T12:00:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


Span = tuple[Instant, Instant]


class Parts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The spans of each use; each may have gaps."""

    train: tuple[Span, ...]
    validate: tuple[Span, ...] = ()
    test: tuple[Span, ...] = ()

    def named(self):
        """(part, number, span) of all.

        >>> list(Parts(train=((0, 60),), test=((60, 90),)).named())
        [('train', 0, (0, 60)), ('test', 0, (60, 90))]
        """
        for part in self.__struct_fields__:
            for number, span in enumerate(getattr(self, part)):
                yield part, number, span


def moved(parts, end):
    """The same Parts at another time: the last of their spans ends at `end`, and every distance is kept.

    >>> moved(Parts(train=((0, 60),), test=((60, 90),)), 190).test
    ((160.0, 190.0),)
    """
    by = end - max(finish for _, _, (_, finish) in parts.named())
    later = lambda some: tuple((Instant(start + by), Instant(finish + by)) for start, finish in some)      # noqa: E731
    return Parts(**{part: later(getattr(parts, part)) for part in parts.__struct_fields__})


def check(parts):
    """SpanError where a span is empty or two of them share time.

    >>> check(Parts(train=((0, 60),), test=((30, 90),)))
    Traceback (most recent call last):
    convert.data.spans.SpanError: spans.train[0] and spans.test[0] overlap from 1970-01-01T00:00:30Z to 1970-01-01T00:01:00Z: what is tested must not be learnt
    """
    if not parts.train:
        raise SpanError('spans.train: none: give at least one [from, to]')
    named = list(parts.named())
    for part, number, (start, end) in named:
        if not start < end:
            raise SpanError(f'spans.{part}[{number}]: {text(start)} is not before {text(end)}')
    for place, (part, number, (start, end)) in enumerate(named):
        for other, which, (begin, finish) in named[place + 1 :]:
            if max(start, begin) < min(end, finish):
                shared = f'from {text(max(start, begin))} to {text(min(end, finish))}'
                why = 'what is tested must not be learnt' if part != other else 'a sample counts once'
                raise SpanError(f'spans.{part}[{number}] and spans.{other}[{which}] overlap {shared}: {why}')


def backwards(parts):
    """Pairs of parts of which the one that is trained or tuned on reaches beyond the beginning of the one that tests it.

    >>> backwards(Parts(train=((100, 200),), validate=((200, 300),), test=((0, 50),)))
    [('train', 'test'), ('validate', 'test')]
    """
    order = [(part, getattr(parts, part)) for part in parts.__struct_fields__ if getattr(parts, part)]
    return [
        (first, then)
        for place, (first, mine) in enumerate(order)
        for then, yours in order[place + 1 :]
        if max(end for _, end in mine) > min(start for start, _ in yours)
    ]


def union(spans):
    """The same time as sorted spans that neither touch nor overlap.

    >>> union([(5, 7), (0, 2), (1, 5)])
    [(0, 7)]
    """
    out = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        elif start < end:
            out.append((start, end))
    return out


def without(spans, others):
    """What of the spans lies in none of the others.

    >>> without([(0, 10)], [(2, 4), (8, 20)])
    [(0, 2), (4, 8)]
    """
    out = union(spans)
    for begin, finish in others:
        out = [
            piece for start, end in out for piece in ((start, min(end, begin)), (max(start, finish), end)) if piece[0] < piece[1]
        ]  # fmt: skip
    return out


def steps(span, step_seconds):
    """The aligned steps of a span, as numbers since 1970: (first, one after the last).

    >>> steps((30, 180), 60)
    (1, 3)
    """
    return tuple(math.ceil(edge / step_seconds - GRAIN) for edge in span)


def coarse_seconds(step_seconds):
    """Step of the coarse history beside a detector's own step."""
    return max(COARSE_SECONDS, float(step_seconds))


def wanted(parts, step_seconds, history_seconds):
    """What has to be read for these spans: {'fine': [(first, end) steps], 'coarse': [(first, end) coarse steps]}.

    >>> wanted(Parts(train=((86400, 90000),)), 60, 7200)
    {'fine': [(1040, 1500)], 'coarse': [(44, 50)]}
    """
    fine, coarse = [], []
    for _, _, (start, end) in parts.named():
        first, last = steps((start, end), step_seconds)
        fine.append((first - LEAD_STEPS, last))
        coarse.append(steps((start - history_seconds, end), coarse_seconds(step_seconds)))
    return {'fine': union(fine), 'coarse': union(coarse)}


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """Time that is excluded from training for some entities.

    source    by hand, silence or alert; or `false alarm`, which lifts those of alerts that it meets, for its entities
    why       for the report and the model card
    matchers  (label, operator, value) as in a selector
    shared    False: all matchers must hold. True (silences, alerts): only those on labels that the entity has, of which there must
              be one: an alert knows `alertname` and `severity`, which no entity has
    """

    source: str
    why: str
    start: float
    end: float
    matchers: tuple[tuple[str, str, str], ...] = ()
    shared: bool = False

    def concerns(self, found):
        """Whether it is about an entity (its labels as a dict, and `detector`).

        >>> alert = Exclusion(source='alert', why='', start=0, end=1, matchers=(('alertname', '=', 'Hot'), ('host', '=', 'a')), shared=True)
        >>> alert.concerns({'host': 'a', 'cpu': '0'}), alert.concerns({'host': 'b'}), alert.concerns({'job': 'web'})
        (True, False, False)
        """
        matchers = [Matcher(*each) for each in self.matchers if not self.shared or each[0] in found]
        if self.shared and not matchers:
            return False
        return all(matcher(found.get(matcher.label, '')) for matcher in matchers)


def excluded(exclusions, times, identities, detector):
    """Where samples are excluded from training: bool [T, N].

    exclusions  Exclusions
    times       float64 [T] unix seconds
    identities  N identities, bytes (promlstm.engine.labels)
    detector    its name, which matchers see as the label `detector`
    """
    out = np.zeros((len(times), len(identities)), bool)
    lifting = [each for each in exclusions if each.source == FALSE_ALARM]
    near = [(each, np.searchsorted(times, (each.start, each.end))) for each in exclusions if each.source != FALSE_ALARM]
    near = [(each, slice(*where)) for each, where in near if where[0] < where[1]]
    if near:
        for row, identity in enumerate(identities):
            found = {'detector': detector, **dict(labels.pairs(identity))}
            false = [each for each in lifting if each.concerns(found)]
            for each, where in near:
                if each.concerns(found) and not (each.source == 'alert' and any(one.start < each.end and one.end > each.start for one in false)):
                    out[where, row] = True
    return out


def inside(pieces, steps):
    """bool [n]: which steps (int [n]) lie in one of the pieces (first, end).

    >>> inside([(2, 4), (6, 7)], np.arange(8)).astype(int).tolist()
    [0, 0, 1, 1, 0, 0, 1, 0]
    """
    out = np.zeros(len(steps), bool)
    for first, end in pieces:
        out |= (steps >= first) & (steps < end)
    return out
