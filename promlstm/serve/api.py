"""`/api/v1/incidents`: incidents as JSON, in the form of Prometheus's own API.

Who calls it: site. What flows through: the query of a URL; out comes an Answer. It asks for incidents and knows nothing of them but that they can be
written as JSON.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from promlstm.serve.messages import Answer, Request, accepts_gzip
from promlstm.serve.page import compressed

INCIDENTS = '/api/v1/incidents'
LIMIT, MOST = 20, 100
State = Literal['open', 'closed', 'all']
_STATES: tuple[State, ...] = ('open', 'closed', 'all')
_TOKEN = re.compile(r'(open|closed):([0-9]{8}-[0-9]{6}-[0-9a-f]{4})\Z')
_JSON = 'application/json; charset=utf-8'


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: at most `limit` incidents in a state, those after (open, id) in the order of the listing; None = from the first on."""

    state: State = 'all'
    limit: int = LIMIT
    after: tuple[bool, str] | None = None


# Gives the incidents asked for, as what msgspec writes as JSON, and (open, id) of the last one if there are more.
Incidents = Callable[[Asked], tuple[Sequence[object], tuple[bool, str] | None]]


class BadQuery(ValueError):
    """What is asked for cannot be had; its text says what can."""


def asked(query: str) -> Asked:
    """What the query of a URL asks for; BadQuery where it cannot be had.

    >>> asked('state=open&limit=5&after=closed:20250615-151000-b001')
    Asked(state='open', limit=5, after=(False, '20250615-151000-b001'))
    >>> asked('')
    Asked(state='all', limit=20, after=None)
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors='replace'):
        if name not in ('state', 'limit', 'after'):
            raise BadQuery(f'{name[:100]}: unknown parameter; known: after, limit, state')
        if name in given:
            raise BadQuery(f'{name}: stands twice')
        given[name] = value
    state = next((known for known in _STATES if known == given.get('state', 'all')), None)
    if state is None:
        raise BadQuery(f'state: expected one of {", ".join(_STATES)}, got {given["state"][:100]!r}')
    limit = given.get('limit', str(LIMIT))
    if not re.fullmatch(r'[0-9]{1,9}', limit) or not 1 <= int(limit) <= MOST:
        raise BadQuery(f'limit: expected a number from 1 to {MOST}, got {limit[:100]!r}')
    token = _TOKEN.match(given['after']) if 'after' in given else None
    if 'after' in given and not token:
        raise BadQuery(f'after: expected what `next` of another answer says, got {given["after"][:100]!r}')
    return Asked(state, int(limit), (token[1] == 'open', token[2]) if token else None)


def answer(request: Request, incidents: Incidents) -> Answer:
    """The answer to a request for incidents."""
    try:
        found, after = incidents(asked(request.query))
    except BadQuery as error:
        return Answer(400, _JSON, [msgspec.json.encode({'status': 'error', 'errorType': 'bad_data', 'error': str(error)})])
    token = after and f'{"open" if after[0] else "closed"}:{after[1]}'
    text = msgspec.json.encode({'status': 'success', 'data': {'incidents': found, 'next': token}})
    gzip = accepts_gzip(request.header('accept-encoding'))
    return Answer(200, _JSON, [compressed(text) if gzip else text], {'Content-Encoding': 'gzip'} if gzip else {})
