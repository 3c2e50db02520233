"""How a page is answered: parameters in, an Answer out, and what is wrong with what was asked.

Who calls it: api, and all groups of pages (promlstm.ui). A group is a function that takes its Context and gives its routes, {(method, path): handler}.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec

from promlstm.serve.messages import Answer, Request, accepts_gzip
from promlstm.serve.page import compressed

JSON = 'application/json; charset=utf-8'
FORM = 'application/x-www-form-urlencoded'
Handler = Callable[[Request, Mapping[str, str]], Answer]
Routes = Mapping[tuple[str, str], Handler]
Word = TypeVar('Word', bound=str)


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
    """The parameters of a URL; BadQuery where one appears twice.

    >>> parameters('detector=cpu&q=')
    {'detector': 'cpu', 'q': ''}
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors='replace'):
        if name in given:
            raise BadQuery(f'{name[:100]}: appears twice')
        given[name] = value
    return given


def form(request: Request) -> dict[str, str]:
    """The parameters of a form that was sent; BadQuery where it is none, or one appears twice."""
    kind = request.header('content-type').partition(';')[0].strip().lower()
    if kind != FORM:
        raise BadQuery(f'expected a form ({FORM}), got {kind[:100] or "no Content-Type"!r}')
    return parameters(request.body.decode(errors='replace'))


def allow(given: Mapping[str, str], *names: str) -> None:
    """BadQuery where there is a parameter of another name, which would be without effect."""
    if unknown := next((name for name in given if name not in names), None):
        known = f'known: {", ".join(sorted(names))}' if names else 'there is none'
        raise BadQuery(f'{unknown[:100]}: unknown parameter; {known}')


def choice(given: Mapping[str, str], name: str, choices: Sequence[Word], usual: Word | None = None) -> Word:
    """One of several words among the parameters; where it is not there the usual one, which is the first if none is said. BadQuery where it is another one.

    >>> choice({'sort': 'since'}, 'sort', ('score', 'since'))
    'since'
    """
    if name not in given:
        return choices[0] if usual is None else usual
    if (found := next((each for each in choices if each == given[name]), None)) is None:
        raise BadQuery(f'{name}: expected one of {", ".join(choices)}, got {given[name][:100]!r}')
    return found


def one_of(given: Mapping[str, str], name: str, names: Collection[str]) -> str:
    """A name that there is, such as that of a detector, or '' where the parameter is not there or empty; NotFound where it is another one."""
    said = given.get(name, '')
    if said and said not in names:
        shown = ', '.join(list(names)[:20]) + (', …' if len(names) > 20 else '')
        raise NotFound(f'{name}: there is no {said[:100]!r}; expected one of: {shown or "none"}')
    return said


def link(path: str, /, **given: object) -> str:
    """The relative URL of a page with parameters; those that are None or empty are left out.

    >>> link('entity', detector='cpu', entity='{a="b c"}'), link('./', q='')
    ('entity?detector=cpu&entity=%7Ba%3D%22b+c%22%7D', './')
    """
    said = urlencode({name: value for name, value in given.items() if value not in (None, '')})
    return f'{path}?{said}' if said else path


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
