"""How the series of one detector are divided among shards: which values of a label belong to which part, as a matcher of a selector. Pure.

Who calls it: settings (an expression as a whole), live.shards (the part of a shard), check_shards (how large the parts are).

A shard has to read its own part only, so the division must stand in the query. PromQL has no hash. `limit_ratio` samples by a hash, but it
is experimental, and each shard would still read everything. What is left is the value of a label and a regular expression on it. A list of
the present values would leave out those that come later, and shards that make such a list at different times would disagree. So values are
divided by how they are spelt, which depends on the configuration alone:

    stem    the value up to the first of the characters `split_until`: the host of `10.0.3.7:9100`
    class   the last character of the stem, an ASCII letter or digit, together with a group of the character before it
    rest    all else: no label, an empty value, a stem that ends in another character or in a letter of another alphabet

Each value has one class or is of the rest, so parts neither overlap nor leave anything out, whatever comes later. The part with the rest is
written as "none of the classes of the others" (`!~`), which an absent label meets as well. The others name their classes (`=~`).

Classes are dealt out one shard after the other: each new one takes classes from the others for as long as that makes the shares more even, in
all of the ALPHABETS at once: digits, hexadecimal, the endings of pods, letters. So a further shard moves its own share and nothing else, and
numbers are divided about as evenly as random endings. Which class goes where depends on the name of the detector, so that what is left over
does not burden the same shard each time. Up to COARSE shards whole characters are dealt out, whatever stands before them: a server matches
the shorter expression three times as fast (docs/explanation/scale.md), and ten digits among six shards are still even within a fifth.

Relatives: kube-state-metrics takes the MD5 of an object's identifier modulo the shards, vmagent a hash of the target's labels, Thanos a
`hashmod` relabelling of external labels; all of them have the objects at hand and can hash them. Where the values end alike, `hashmod` at
the scrape gives a label that divides well (docs/how-to/shards.md).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from string import ascii_lowercase, ascii_uppercase, digits

PLACEHOLDER = '$shard'
UNTIL = ':'
COARSE = 6  # shards
ALPHABETS = (
    digits,
    digits + 'abcdef',
    'bcdfghjklmnpqrstvwxz2456789',
    ascii_lowercase,
    ascii_lowercase + digits,
    ascii_uppercase,
)  # the third is that of pods
GROUPS = 4  # of the character before the last; the first group also has whatever is no letter or digit, and nothing
REST = (-1, '')
Class = tuple[int, str]  # group of the character before, last character

_CHARACTERS = digits + ascii_lowercase + ascii_uppercase
_GROUP = tuple(''.join(kind[group::GROUPS] for kind in (digits, ascii_lowercase, ascii_uppercase)) for group in range(GROUPS))
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*|[{}]|\$shard\b', re.S)
_NAME = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*\Z')


def places(expr: str) -> tuple[list[int], list[int]]:
    """(where `$shard` stands inside braces, where it stands outside of them); in quotes and comments it is text.

    >>> places('sum(rate(up{$shard}[5m])) / count(up{job="$shard"}) * $shard')
    ([12], [54])
    """
    depth, inside, outside = 0, list[int](), list[int]()
    for token in _TOKEN.finditer(expr):
        if token[0] in '{}':
            depth += 1 if token[0] == '{' else -1
        elif token[0] == PLACEHOLDER:
            (inside if depth > 0 else outside).append(token.start())
    return inside, outside


def problem(queries: Mapping[str, str], by: str | None, until: str) -> str:
    """What is wrong with the places of `$shard` in {feature: expression} and with what divides; empty = nothing."""
    found = {name: places(expr) for name, expr in queries.items()}
    for name, (inside, outside) in found.items():
        key = f'features.{name}' if name else 'expr'
        if outside:
            return f'{key}: $shard stands outside of the braces of a selector; it is a matcher, as in up{{job="node", $shard}}'
        if inside and by is None:
            return f'{key}: $shard without split_by: say by which label the entities are divided'
        if not inside and any(places for places, _ in found.values()):
            return f'{key}: no $shard, which others have: each shard would have this feature of all entities'
    if by in ('', '__name__'):
        return f'split_by: {by!r} is not a label of an entity'
    if odd := next((character for character in until if character.isascii() and character.isalnum()), None):
        return f'split_until: {odd!r}: letters and digits are what divides; expected other characters, such as ":."'
    return ''


def put(expr: str, matcher: str) -> str:
    """An expression with a matcher in each place of `$shard`; '' = all parts together: the place goes, with its comma.

    >>> put('up{job="web",$shard}', 'pod=~"a"'), put('up{job="web", $shard}', ''), put('up{$shard, job="web"}', '')
    ('up{job="web",pod=~"a"}', 'up{job="web"}', 'up{job="web"}')
    """
    for place in reversed(places(expr)[0]):
        before, after = expr[:place], expr[place + len(PLACEHOLDER) :]
        if not matcher and (comma := re.match(r'\s*,\s*', after)):
            after = after[comma.end() :]
        elif not matcher:
            before = re.sub(r'\s*,\s*\Z', '', before)
        expr = before + matcher + after
    return expr


def matcher(label: str, mine: Iterable[Class], *, until: str = UNTIL) -> str:
    """The matcher of some classes and, where REST is among them, of all that has none; '' = of everything.

    >>> matcher('pod', [(group, character) for group in range(GROUPS) for character in 'ab'])
    'pod=~"(?s)[^:]*[ab](?:[:].*)?"'
    >>> matcher('pod', [(0, 'a'), (1, 'a'), (1, 'b')], until='')
    'pod=~"(?s)(?:.*[159bfjnrvzBFJNRVZ][ab]|(?:.*[^159bfjnrvzBFJNRVZ26cgkoswCGKOSW37dhlptxDHLPTX])?[a])"'
    """
    kept = set(mine)
    if REST not in kept:
        return f'{_label(label)}=~"{_quoted(pattern(kept, until=until))}"'
    others = {each for each in classes() if each not in kept}
    return f'{_label(label)}!~"{_quoted(pattern(others, until=until))}"' if others else ''


def pattern(wanted: Iterable[Class], *, until: str = UNTIL) -> str:
    """The regular expression (RE2, anchored by the server) of the values of some classes, without REST."""
    stops = ''.join(f'\\{character}' if character in '\\]^-[' else character for character in until)
    before = f'[^{stops}]*' if stops else '.*'
    whole = ''.join(character for character in _CHARACTERS if all((group, character) in wanted for group in range(GROUPS)))
    last = [''.join(each for each in _CHARACTERS if each not in whole and (group, each) in wanted) for group in range(GROUPS)]
    ways = [f'[{whole}]'] * bool(whole) + [f'[{_GROUP[group]}][{last[group]}]' for group in range(1, GROUPS) if last[group]]
    found = [f'{before}(?:{"|".join(ways)})' if len(ways) > 1 else f'{before}{ways[0]}'] if ways else []
    if last[0]:
        found.append(f'(?:{before}[^{stops}{"".join(_GROUP[1:])}])?[{last[0]}]')
    return '(?s)' + (f'(?:{"|".join(found)})' if len(found) > 1 else found[0]) + (f'(?:[{stops}].*)?' if stops else '')


def class_of(value: str, *, until: str = UNTIL) -> Class:
    """The class of a value, or REST.

    >>> class_of('10.0.3.27:9100'), class_of('7'), class_of(''), class_of('Zürich-ü')
    ((2, '7'), (0, '7'), (-1, ''), (-1, ''))
    """
    stem = re.split(f'[{re.escape(until)}]', value, maxsplit=1)[0] if until else value
    if not stem or stem[-1] not in _CHARACTERS:
        return REST
    return next((group for group in range(1, GROUPS) if len(stem) > 1 and stem[-2] in _GROUP[group]), 0), stem[-1]


def classes() -> list[Class]:
    """All classes that have a spelling, without REST."""
    return [(group, character) for group in range(GROUPS) for character in _CHARACTERS]


@lru_cache(maxsize=1024)
def owners(name: str, shards: int) -> Mapping[Class, int]:
    """{class, and REST: shard} of a detector that is divided among so many shards."""
    owner = dict.fromkeys(classes(), 0)
    for new in range(1, shards):
        units = [[(group, character) for group in range(GROUPS)] for character in _CHARACTERS]
        _fill(owner, name, new, units if new < COARSE else [[each] for each in classes()])
    return {**owner, REST: highest(f'{name}\0', shards)}


def _fill(owner: dict[Class, int], name: str, new: int, units: Sequence[Sequence[Class]]) -> None:
    """Give units to a new shard for as long as that makes the shares in the alphabets more even, by least squares; the best one first."""
    weights = {unit[0]: _weights(unit) for unit in units}
    shares = [[0.0] * len(weights[units[0][0]]) for _ in range(new + 1)]
    left = list[tuple[bytes, Sequence[Class]]]()
    for unit in units:
        shares[owner[unit[0]]] = [share + weight for share, weight in zip(shares[owner[unit[0]]], weights[unit[0]], strict=True)]
        left.append((_weight(name, *unit[0], new), unit))
    left.sort()  # the first of equal ones is taken
    while left:
        ours = shares[new]
        gains = [
            sum(
                weight * (theirs - our - weight) for weight, theirs, our in zip(weights[unit[0]], shares[owner[unit[0]]], ours, strict=True)
            )
            for _, unit in left
        ]
        if (best := max(gains)) < 1e-12:
            return
        _, unit = left.pop(gains.index(best))
        for giver, sign in ((owner[unit[0]], -1), (new, 1)):
            shares[giver] = [share + sign * weight for share, weight in zip(shares[giver], weights[unit[0]], strict=True)]
        for each in unit:
            owner[each] = new


def _weights(unit: Iterable[Class]) -> list[float]:
    """The share of some classes in the values that are spelt with each alphabet: with two characters of it at the end, and with one."""
    found = []
    for alphabet in ALPHABETS:
        among = [group for group, character in unit if character in alphabet]
        pairs = sum(sum(character in alphabet for character in _GROUP[group]) for group in among) / len(alphabet) ** 2
        found += [pairs, among.count(0) / len(alphabet)]
    return found


def highest(key: str, shards: int) -> int:
    """The shard with the highest weight for a key (rendezvous hashing): one shard more takes its own share from the others and moves nothing else.

    >>> [highest('node_cpu', shards) for shards in (1, 2, 3, 4, 5)]
    [0, 1, 2, 2, 2]
    """
    return max(range(shards), key=lambda shard: _weight(key, shard))


def _weight(*key: object) -> bytes:
    """A hash that is the same in every process and version."""
    return blake2b('\0'.join(map(str, key)).encode('utf-8', 'surrogatepass'), digest_size=8).digest()


def _label(name: str) -> str:
    return name if _NAME.match(name) else f'"{_quoted(name)}"'


def _quoted(text: str) -> str:
    return text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
