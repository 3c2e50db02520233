"""Silences of an Alertmanager, and which entities each is about. Pure but for `read` and `create`.

Who calls it: live.feedback, `check-config`, convert.data.incidents, ui. What flows through: the JSON of `GET /api/v2/silences`; out come Silences.

The button that makes a silence copies all labels of an alert, and an entity has not all of them: `alertname`, `severity`, the external labels of
Prometheus. So a matcher on a label that an entity lacks says nothing about it, as in training data (convert.data.spans.Exclusion), and one
without a matcher on any of its labels is not about it.

An Alertmanager sets `updatedAt` and `endsAt` to the same instant where somebody expires a silence. One that runs out keeps an older `updatedAt`.
Editing matchers or comment expires the old silence and makes a new one.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from promlstm.errors import ResponseError, SourceError, SourceRefused, SourceUnavailable
from promlstm.query.http import Http, printable
from promlstm.query.selector import Matcher

FALSE_ALARM = 'false alarm'  # the beginning of a comment, in whichever case
PATH = 'api/v2/silences'
NOBODY = '\x00'  # a value that no label has


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence.

    state        active, pending or expired
    ended_early  somebody expired it before its time
    start, end   unix seconds
    """

    id: str
    state: str
    ended_early: bool
    comment: str
    matchers: tuple[Matcher, ...]
    start: float = -math.inf
    end: float = math.inf

    @property
    def is_false_alarm(self) -> bool:
        """Whether it says that what it silences is normal.

        >>> Silence('1', 'active', False, ' False alarm: a deploy', ()).is_false_alarm, Silence('2', 'active', False, 'no false alarm', ()).is_false_alarm
        (True, False)
        """
        return self.comment.strip().lower().startswith(FALSE_ALARM)

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about an entity with these labels, of which `detector` is one.

        >>> hot = Silence('1', 'active', False, '', (Matcher('alertname', '=', 'Hot'), Matcher('host', '=', 'a')))
        >>> hot.concerns({'host': 'a', 'cpu': '0'}), hot.concerns({'host': 'b'}), hot.concerns({'job': 'web'})
        (True, False, False)
        """
        known = [matcher for matcher in self.matchers if matcher.label in labels]
        return bool(known) and all(matcher(labels[matcher.label]) for matcher in known)

    def singles_out(self, labels: Mapping[str, str]) -> bool:
        """Whether one of its matchers on these labels does not take whatever value comes.

        >>> broad = Silence('1', 'active', False, '', (Matcher('host', '=~', '.+'), Matcher('zone', '!=', 'b')))
        >>> broad.singles_out({'host': 'a', 'zone': 'a'})
        False
        """
        return any(matcher.label in labels and not matcher(NOBODY) for matcher in self.matchers)


class _Matcher(msgspec.Struct):
    name: str
    value: str
    isRegex: bool
    isEqual: bool = True  # of an Alertmanager before 0.22

    def parsed(self) -> Matcher:
        operator = ('=' if self.isEqual else '!') + ('~' if self.isRegex else '' if self.isEqual else '=')
        if self.isRegex:
            re.compile(self.value)
        return Matcher(self.name, operator, self.value)


class _Status(msgspec.Struct, frozen=True):
    state: str


class _Silence(msgspec.Struct):
    id: str
    matchers: list[_Matcher]
    startsAt: datetime
    endsAt: datetime
    status: _Status = _Status('')
    updatedAt: datetime | None = None
    comment: str = ''

    def parsed(self) -> Silence:
        early = self.status.state == 'expired' and self.updatedAt is not None and self.updatedAt >= self.endsAt
        matchers = tuple(matcher.parsed() for matcher in self.matchers)
        return Silence(self.id, self.status.state, early, self.comment, matchers, self.startsAt.timestamp(), self.endsAt.timestamp())


def parse(body: bytes | bytearray) -> tuple[list[Silence], list[str]]:
    """(Silences, why others cannot be used) of an answer of /api/v2/silences; ResponseError where it is none."""
    try:
        listed = msgspec.json.decode(body, type=list[_Silence])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResponseError(f'the silences of the Alertmanager cannot be read: {error}') from error
    found, problems = [], []
    for each in listed:
        try:
            found.append(each.parsed())
        except re.error as error:  # Go's expressions are not all Python's
            problems.append(f'silence {printable(each.id)}: {error}')
    return found, problems


def read(http: Http, timeout: float) -> tuple[list[Silence], list[str]]:
    """As `parse`, of an Alertmanager; SourceUnavailable or ResponseError where it does not answer with silences."""
    status, _, body = http.send('GET', PATH, {}, timeout)
    if status == 200:
        return parse(body)
    raise _refusal(http, status, body)


def _refusal(http: Http, status: int, body: bytes | bytearray) -> SourceError:
    said = f'{http.url}/{PATH} answered {status}: {printable(body[:2000].decode(errors="replace"))}'
    if status in (401, 403):
        return SourceRefused(f'{said}; check basic_auth, authorization or oauth2')
    return (SourceUnavailable if status == 429 or status >= 500 else ResponseError)(said)


class _Created(msgspec.Struct):
    silenceID: str


def create(http: Http, silence: Silence, author: str, timeout: float) -> str:
    """Have an Alertmanager make a silence, whose id and state do not matter; returns its id. It is sent once, whatever happens.

    raises  SourceUnavailable, SourceRefused, ResponseError
    """
    matchers = [
        {'name': each.label, 'value': each.value, 'isRegex': '~' in each.operator, 'isEqual': not each.operator.startswith('!')} for each in silence.matchers
    ]
    start, end = (datetime.fromtimestamp(each, UTC).isoformat().replace('+00:00', 'Z') for each in (silence.start, silence.end))
    tree = {'matchers': matchers, 'startsAt': start, 'endsAt': end, 'createdBy': author, 'comment': silence.comment}
    status, _, body = http.send('POST', PATH, {}, timeout, json=msgspec.json.encode(tree))
    if status != 200:
        raise _refusal(http, status, body)
    try:
        return msgspec.json.decode(body, type=_Created).silenceID
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResponseError(f'{http.url}/{PATH} created a silence but did not return its id: {error}') from error


def false_alarms(silences: Iterable[Silence]) -> tuple[Silence, ...]:
    """Those that are in force and say that what they silence is normal."""
    return tuple(each for each in silences if each.state == 'active' and each.is_false_alarm)
