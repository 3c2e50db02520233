"""`/api/v1/incidents`: incidents as JSON, in the form of Prometheus's own API.

Who calls it: site. What flows through: the query of a URL; out comes an Answer. It asks for incidents and knows nothing of them but that they can be
written as JSON.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from promlstm.serve.handling import BadQuery, allow, choice, json, number, parameters, refusal
from promlstm.serve.messages import Answer, Request

INCIDENTS = '/api/v1/incidents'
LIMIT, MOST = 20, 100
State = Literal['open', 'closed', 'all']
_STATES: tuple[State, ...] = ('open', 'closed', 'all')
_TOKEN = re.compile(r'(open|closed):([0-9]{8}-[0-9]{6}-[0-9a-f]{4})\Z')


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: at most `limit` incidents in a state, those after (open, id) in the order of the listing; None = from the first on."""

    state: State = 'all'
    limit: int = LIMIT
    after: tuple[bool, str] | None = None


# Gives the incidents asked for, as what msgspec writes as JSON, and (open, id) of the last one if there are more.
Incidents = Callable[[Asked], tuple[Sequence[object], tuple[bool, str] | None]]


def asked(query: str) -> Asked:
    """What the query of a URL asks for; BadQuery where it cannot be had.

    >>> asked('state=open&limit=5&after=closed:20250615-151000-b001')
    Asked(state='open', limit=5, after=(False, '20250615-151000-b001'))
    >>> asked('')
    Asked(state='all', limit=20, after=None)
    """
    given = parameters(query)
    allow(given, 'state', 'limit', 'after')
    return read(given)


def read(given: Mapping[str, str]) -> Asked:
    """The same of parameters, among which there may be others."""
    state, limit = choice(given, 'state', _STATES, 'all'), number(given, 'limit', LIMIT, 1, MOST)
    match = _TOKEN.match(given['after']) if 'after' in given else None
    if 'after' in given and not match:
        raise BadQuery(f'after: expected the value of `next` in another answer, got {given["after"][:100]!r}')
    return Asked(state, limit, (match[1] == 'open', match[2]) if match else None)


def token(after: tuple[bool, str] | None) -> str | None:
    """What `after` takes to go on behind (open, id); None where there is nothing more.

    >>> token((True, '20250615-151000-b001')), token(None)
    ('open:20250615-151000-b001', None)
    """
    return after and f'{"open" if after[0] else "closed"}:{after[1]}'


def answer(request: Request, incidents: Incidents) -> Answer:
    """The answer to a request for incidents."""
    try:
        found, after = incidents(asked(request.query))
    except BadQuery as error:
        return refusal(request, error.status, error.kind, str(error))
    return json(request, {'incidents': found, 'next': token(after)})
