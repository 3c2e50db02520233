"""Which rows of a step are wanted: by a text, and by matchers on labels as PromQL has them. Pure.

Who calls it: anomalies, entities. What flows through: identities of many entities (see labels.identity) and row numbers. A condition costs one look at
the bytes of an identity; only a regular expression needs its labels.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec
import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Ints
from promlstm.errors import QueryRejected
from promlstm.query.selector import Matcher, conditions
from promlstm.serve.handling import BadQuery
from promlstm.ui.patterns import BadPattern, full_match

LONGEST, MOST = 2_000, 20  # characters of a text or of matchers; matchers
_UNREAD = re.compile(r'["\\\x00-\x1f]')  # what msgspec takes in no name of a field
_STRUCTURE = frozenset('"\\{}:,=')  # what stands in an identity beside names and values, and what people write in between


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for: a text in `name=value` of a label, in whichever case, and conditions on labels."""

    text: str = ''
    matchers: tuple[Matcher, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.matchers)


def without(given: Mapping[str, str]) -> dict[str, str]:
    """Parameters but for those that `wanted` reads."""
    return {name: value for name, value in given.items() if name not in ('q', 'match')}


def wanted(text: str, match: str) -> Wanted:
    """What parameters ask for.

    match   matchers as they stand in a selector, with or without its braces
    raises  BadQuery

    >>> wanted('web', '{instance=~"a.*"}')
    Wanted(text='web', matchers=(Matcher(label='instance', operator='=~', value='a.*'),))
    """
    for name, said in (('q', text), ('match', match)):
        if len(said) > LONGEST:
            raise BadQuery(f'{name}: longer than {LONGEST} characters')
    inside = match.strip()
    if inside.startswith('{') and inside.endswith('}'):
        inside = inside[1:-1]
    try:
        found = conditions(inside)
    except (QueryRejected, RecursionError, OverflowError) as error:
        why = str(error).partition('parse error: ')[2] or 'cannot be read'
        raise BadQuery(f'match: expected matchers such as instance="a:9100", job=~"node|web": {why}') from error
    if len(found) > MOST:
        raise BadQuery(f'match: more than {MOST} matchers')
    for matcher in found:
        if '~' in matcher.operator:
            chosen(Wanted('', (matcher,)), [b'{}'], np.arange(1))  # a wrong one is refused also where there is nothing to look at
    return Wanted(text.strip(), tuple(found))


def chosen(asked: Wanted, identities: Sequence[bytes], rows: Ints) -> Ints:
    """Those of some rows (int64 [n]) that are wanted, in their order.

    raises  BadQuery  where an expression is none of RE2

    >>> names, rows = [b'{"job":"node"}', b'{"job":"web","zone":"a"}', b'{"instance":"job"}'], np.arange(3)
    >>> [chosen(wanted(text, match), names, rows).tolist() for text, match in (('OD', ''), ('', 'job=~".+"'), ('', 'zone=""'), (':', ''), ('job=w', ''))]
    [[0], [0, 1], [0, 2], [], [1]]
    """
    for matcher in asked.matchers:
        rows = _matching(matcher, identities, rows)
    return _with_text(asked.text.lower(), identities, rows) if asked.text else rows


def _matching(matcher: Matcher, identities: Sequence[bytes], rows: Ints) -> Ints:
    numbers, name = rows.tolist(), msgspec.json.encode(matcher.label) + b':'
    negative = matcher.operator.startswith('!')
    if '~' not in matcher.operator:
        # A name that is quoted and followed by a colon is a name: inside of a value, quotes are escaped.
        token = name + msgspec.json.encode(matcher.value) if matcher.value else name
        there = negative if matcher.value else not negative
        return np.array([number for number in numbers if (token in identities[number]) != there], np.int64)
    texts = _values(matcher.label, [identities[number] for number in numbers])
    try:
        found: Ints = rows[full_match(matcher.value, texts) != negative]
    except BadPattern as error:
        raise BadQuery(f'match: {matcher.label}{matcher.operator}: {error}') from error
    return found


class _Labelled(msgspec.Struct):
    """An identity of which one label is read."""

    value: str = ''


def _values(label: str, identities: Sequence[bytes]) -> list[str]:
    """The value of one label of each identity, the empty text where it lacks it."""
    if _UNREAD.search(label):
        return [dict(labels.pairs(identity)).get(label, '') for identity in identities]
    decode = _reader(label).decode
    return [decode(identity).value for identity in identities]


@lru_cache(64)
def _reader(label: str) -> msgspec.json.Decoder[_Labelled]:
    """Reads one label of an identity, three times as fast as all of them."""
    fields = [('value', str, msgspec.field(name=label, default=''))]
    return msgspec.json.Decoder(msgspec.defstruct('Labelled', fields))


def _says(identity: bytes, text: str) -> bool:
    return any(text in f'{name}={value}'.lower() for name, value in labels.pairs(identity))


def _with_text(text: str, identities: Sequence[bytes], rows: Ints) -> Ints:
    # One call of each for all of them; there is no line feed in an identity, for there it is escaped.
    found = rows.tolist()
    for piece in sorted((msgspec.json.encode(piece).decode()[1:-1] for piece in text.split('=')), key=len, reverse=True):
        lines = b'\n'.join([identities[number] for number in found]).decode().lower().split('\n') if found else []
        found = [number for number, line in zip(found, lines, strict=True) if piece in line]
    # What was found may lie between names and values, or in an escape such as \u001f: these are looked at as they are.
    between = bool(_STRUCTURE & set(text))
    found = [number for number in found if not (between or b'\\' in identities[number]) or _says(identities[number], text)]
    return np.array(found, np.int64)
