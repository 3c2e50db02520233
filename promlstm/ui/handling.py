"""How a page is answered: parameters in, an Answer out, and what is wrong with what was asked.

Who calls it: all groups of pages. A group is a function that takes the Context and gives its routes, {(method, path): handler}.
"""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec

from promlstm.serve.messages import Answer, Request, accepts_gzip
from promlstm.serve.page import compressed

JSON = 'application/json; charset=utf-8'
FORM = 'application/x-www-form-urlencoded'
Handler = Callable[[Request, Mapping[str, str]], Answer]
Routes = Mapping[tuple[str, str], Handler]


class BadQuery(ValueError):
    """What is asked for cannot be had; its text says what can.

    status, kind  of the answer: the status of HTTP, and the `errorType` of Prometheus's API
    """

    status, kind = 400, 'bad_data'


class NotFound(BadQuery):
    """What is asked for is not there; its text says what was looked for."""

    status, kind = 404, 'not_found'


class Forbidden(BadQuery):
    """Whoever asks may not do that, or nobody may; its text says why."""

    status, kind = 403, 'forbidden'


class Conflict(BadQuery):
    """Something else is being done that has to end first; its text says what."""

    status, kind = 409, 'conflict'


class Unavailable(BadQuery):
    """This machine has no room for it now; its text says what is lacking."""

    status, kind = 503, 'unavailable'


class Unreachable(BadQuery):
    """A server that has to be asked does not answer as it should; its text says which and what it says."""

    status, kind = 502, 'unavailable'


def parameters(query: str) -> dict[str, str]:
    """The parameters of a URL; BadQuery where one stands twice.

    >>> parameters('detector=cpu&q=')
    {'detector': 'cpu', 'q': ''}
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors='replace'):
        if name in given:
            raise BadQuery(f'{name[:100]}: stands twice')
        given[name] = value
    return given


def form(request: Request) -> dict[str, str]:
    """The parameters of a form that was sent; BadQuery where it is none, or one stands twice."""
    kind = request.header('content-type').partition(';')[0].strip().lower()
    if kind != FORM:
        raise BadQuery(f'expected a form ({FORM}), got {kind[:100] or "no Content-Type"!r}')
    return parameters(request.body.decode(errors='replace'))


def number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number among the parameters; BadQuery where it is none, or out of range.

    >>> number({'limit': '20'}, 'limit', 50, 1, 500)
    20
    """
    said = given.get(name, str(default))
    if not (said.isascii() and said.isdigit() and len(said) < 10 and least <= int(said) <= most):
        raise BadQuery(f'{name}: expected a number from {least} to {most}, got {said[:100]!r}')
    return int(said)


def wants_gzip(request: Request) -> bool:
    """Whether the answer is to be compressed."""
    return accepts_gzip(request.header('accept-encoding'))


def json(request: Request, data: object) -> Answer:
    """An answer with data, in the form of Prometheus's own API."""
    return _json(request, 200, {'status': 'success', 'data': data})


def refusal(request: Request, status: int, kind: str, why: str) -> Answer:
    """An answer that says why there is no data, in the form of Prometheus's own API."""
    return _json(request, status, {'status': 'error', 'errorType': kind, 'error': why})


def _json(request: Request, status: int, tree: object) -> Answer:
    encoded, gzip = msgspec.json.encode(tree), wants_gzip(request)
    return Answer(status, JSON, [compressed(encoded) if gzip else encoded], {'Content-Encoding': 'gzip'} if gzip else {})
