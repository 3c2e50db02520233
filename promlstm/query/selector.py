"""Selectors as Prometheus writes them, `name{label="value",…}`, and what they match. Pure.

Who calls it: source, for every query; answers, for faults that strike some series only; check and convert.data.quality, for expressions that
cannot be meant. It knows no functions and no ranges: PromQL is not built twice.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from promlstm.errors import QueryRejected

_NAME = re.compile(r'\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(.*)\})?\s*\Z', re.S)
_QUOTED = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`'
_MATCHER = re.compile(rf'\s*([a-zA-Z_][a-zA-Z0-9_]*|{_QUOTED})\s*(=~|!~|!=|=)\s*({_QUOTED})\s*(?:,|\Z)\s*')
_QUOTED_NAME = re.compile(rf'\s*({_QUOTED})\s*(?:,|\Z)\s*')
_COUNTER = re.compile(r'.*_(total|count|sum|bucket)\Z')
_ESCAPES = {'n': '\n', 't': '\t', 'r': '\r', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v', '\\': '\\', '"': '"', "'": "'"}
_ESCAPE = re.compile(r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})|([0-3][0-7]{2})|(.))', re.S)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; an absent label is the empty text."""

    label: str
    operator: str
    value: str

    def __call__(self, text: str) -> bool:
        """Whether a label's text meets it; regular expressions are anchored at both ends.

        >>> Matcher('job', '=~', 'no.*')('node'), Matcher('job', '!~', 'no')('node'), Matcher('job', '!=', '')('')
        (True, True, False)
        """
        same = re.fullmatch(self.value, text) is not None if '~' in self.operator else text == self.value
        return same != self.operator.startswith('!')


def selector(expr: str) -> tuple[Matcher, ...]:
    """The matchers of a selector, `name{label="value",…}`; that of the name is an equality of `__name__`.

    raises  QueryRejected  where it is anything else

    >>> selector('up{job=~"node|web"}')
    (Matcher(label='__name__', operator='=', value='up'), Matcher(label='job', operator='=~', value='node|web'))
    >>> selector('{"http.requests", "k8s.pod"="a"}') == selector('{__name__="http.requests", "k8s.pod"="a"}')
    True
    """
    match = _NAME.match(expr)
    if not match or not expr.strip():
        raise rejected('query', f'1:1: parse error: this API knows selectors only, such as name{{label="value"}}: {expr}')
    found = [*([Matcher('__name__', '=', match[1])] if match[1] else []), *conditions(match[2] or '', expr)]
    if matches(found, {}):
        raise rejected('query', '1:1: parse error: vector selector must contain at least one non-empty matcher')
    return tuple(found)


def conditions(inside: str, expr: str | None = None) -> list[Matcher]:
    """The matchers between the braces of a selector; regular expressions are looked at, and not run.

    expr    the whole that messages show; None = the same
    raises  QueryRejected

    >>> conditions('job!="node", zone=~".*"')
    [Matcher(label='job', operator='!=', value='node'), Matcher(label='zone', operator='=~', value='.*')]
    """
    expr = inside if expr is None else expr
    found, inside, place = list[Matcher](), inside.strip(), 0
    while place < len(inside):
        if name := _QUOTED_NAME.match(inside, place):  # a name that is no identifier stands in the braces, as Prometheus 3 has it
            found.append(Matcher('__name__', '=', _unquoted(name[1], expr)))
            place = name.end()
            continue
        matcher = _MATCHER.match(inside, place)
        if not matcher:
            raise rejected(
                'query', f'parse error: unexpected {inside[place : place + 20]!r} in label matching, expected label="value": {expr}'
            )
        found.append(_matcher(matcher[1], matcher[2], matcher[3], expr))
        place = matcher.end()
    return found


def _matcher(label: str, operator: str, quoted: str, expr: str) -> Matcher:
    value = _unquoted(quoted, expr)
    if '~' in operator:
        try:
            re.compile(value)
        except re.error as error:
            raise rejected('query', f'parse error: error parsing regexp: {error}: `{value}`') from error
    return Matcher(_unquoted(label, expr) if label[0] in '"\'`' else label, operator, value)


def _unquoted(quoted: str, expr: str) -> str:
    """What a text in quotes means, with the escapes of Go, of whose characters `%q` in a template writes any that cannot be printed.

    >>> _unquoted(r'"a\\u202e\\x00\\"\\U0001f525"', ''), _unquoted(r'`\\n`', '')
    ('a\\u202e\\x00"🔥', '\\\\n')
    """

    def character(match: re.Match[str]) -> str:
        *codes, octal, letter = match.groups()
        if letter is None:
            return chr(next((int(code, 16) for code in codes if code is not None), int(octal or '0', 8)))
        if letter not in _ESCAPES:
            raise rejected('query', f'parse error: unknown escape sequence \\{letter}: {expr}')
        return _ESCAPES[letter]

    return quoted[1:-1] if quoted[0] == '`' else _ESCAPE.sub(character, quoted[1:-1])


def rejected(parameter: str, why: str) -> QueryRejected:
    """The error about one parameter of a request, in the words of Prometheus."""
    return QueryRejected(f'invalid parameter "{parameter}": {why}')


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether a label set (dict, `__name__` included) meets all conditions; a label that it lacks is the empty text.

    >>> matches(selector('up{zone=""}'), {'__name__': 'up', 'job': 'node'})
    True
    """
    return all(matcher(labels.get(matcher.label, '')) for matcher in matchers)


def bare_counter(expr: str | None) -> str | None:
    """The name of the counter that an expression asks for without rate, or None.

    >>> bare_counter('http_requests_total{job="web"}'), bare_counter('rate(http_requests_total[5m])')
    ('http_requests_total', None)
    """
    try:
        name = next((each.value for each in selector(expr or '') if each.label == '__name__' and each.operator == '='), '')
    except QueryRejected:
        return None
    return name if _COUNTER.match(name) else None
