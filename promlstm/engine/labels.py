r"""The identity of a series and its exposition text.

Who calls it: entities (identity of a new series), exposition (label text, once per entity). What flows through: label JSON as the query
API wrote it, tuples of (name, value) sorted by name, exposition bytes. It never sees a sample.
"""

import re
from collections.abc import Collection, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Ints
from promlstm.errors import CheckpointError, ResponseError

Pairs = tuple[tuple[str, str], ...]  # (label name, value), sorted by name

LABEL_NAME = re.compile(r'(?!__)[a-zA-Z_][a-zA-Z0-9_]*\Z')  # a leading __ is reserved: parsers may reject a page for it
_NOT_ALPHANUMERIC = re.compile(r'[^a-zA-Z0-9]')
_ESCAPED, _PREFIX = 'U__', 'exported_'

_decode = msgspec.json.Decoder(dict[str, str] | None).decode


def identity(raw: bytes, by: tuple[str, ...] | None = None) -> bytes:
    """What makes a series an entity: its labels without `__name__` and empty values, as compact sorted JSON.

    raw      bytes  the `metric` object as the query API wrote it
    by       None, or the names of the only labels that count
    returns  bytes; `raw` itself if it is in this form already, which saves memory
    raises   ResponseError  if `raw` is not a JSON object of strings

    >>> identity(b'{"__name__":"up","job":"node","instance":"a:9100","zone":""}')
    b'{"instance":"a:9100","job":"node"}'
    >>> identity(b'{"job":"node","instance":"a:9100"}', by=('job',))
    b'{"job":"node"}'
    >>> identity(b'null')  # how some servers write that there are none
    b'{}'
    """
    labels = decoded(raw)
    wanted = {name: value for name, value in labels.items() if value and (name != '__name__' if by is None else name in by)}
    canonical = msgspec.json.encode(wanted, order='sorted')
    return raw if canonical == raw else canonical


def decoded(raw: bytes) -> dict[str, str]:
    """The labels of a series as the query API wrote them; ResponseError if they are not a JSON object of strings."""
    try:
        return _decode(raw) or {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResponseError(f'labels of a series are not a JSON object of strings: {bytes(raw[:120])!r}: {error}') from error


def stored(identities: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Identities as columns: (their text one after the other, uint8; int64 [n], how long each is)."""
    return np.frombuffer(b''.join(identities), np.uint8), np.fromiter(map(len, identities), np.int64, len(identities))


def restored(text: npt.NDArray[np.uint8], lengths: Ints) -> list[bytes]:
    """The identities of stored columns; CheckpointError where these do not fit each other.

    >>> restored(*stored([b'{}', b'{"a":"b"}']))
    [b'{}', b'{"a":"b"}']
    """
    whole, ends = text.tobytes(), np.cumsum(lengths).tolist()
    if lengths.dtype != np.int64 or lengths.ndim != 1 or (lengths < 2).any() or (ends[-1] if ends else 0) != len(whole):
        raise CheckpointError('the length of its identities is wrong')
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def pairs(identity: bytes) -> Pairs:
    """The labels of an identity, as a tuple of (name, value) sorted by name.

    >>> pairs(b'{"instance":"a:9100","job":"node"}')
    (('instance', 'a:9100'), ('job', 'node'))
    """
    return tuple((_decode(identity) or {}).items())


def names(identity: bytes) -> tuple[str, ...]:
    """The names of the labels of an identity, sorted.

    >>> names(b'{"instance":"a:9100","job":"node"}')
    ('instance', 'job')
    """
    return tuple(_decode(identity) or ())


def identity_of(labels: Pairs) -> bytes:
    """The identity that has these labels, as `identity` writes it.

    >>> identity_of((('job', 'node'), ('instance', 'a:9100')))
    b'{"instance":"a:9100","job":"node"}'
    """
    return msgspec.json.encode(dict(labels), order='sorted')


def selector(labels: Iterable[tuple[str, str]]) -> str:
    r"""A label set as PromQL has it, `{a="x",b="y"}`, for messages and logs.

    >>> selector((('job', 'say "hi"'),))
    '{job="say \\"hi\\""}'
    >>> selector((('k8s.pod', 'a'),))
    '{"k8s.pod"="a"}'
    """
    return '{' + ','.join(f'{_quoted(name)}="{escape(value)}"' for name, value in labels) + '}'


def _quoted(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else f'"{escape(name)}"'


def escape(value: str) -> str:
    r"""A label value as the exposition formats need it: backslash, double quote and line feed are escaped.

    >>> print(escape('a\\b"c\nd'))
    a\\b\"c\nd
    """
    return value.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')


def exported(labels: Pairs, ours: Collection[str]) -> Pairs:
    """Rename the labels that collide with ours to `exported_…`, as Prometheus does on a scrape.

    The new name depends on the old name alone, not on the other labels: it is the same for all entities of a detector, and two names
    never become one. Therefore `exported_detector` gets the prefix once more. Names that not every scraper can read (the UTF-8 names of
    Prometheus 3, and `__…`) are escaped as Prometheus does it ("values" escaping), because an older scraper would reject the whole page
    if they were quoted.

    ours     label names that the exporter writes itself
    returns  (name, value) pairs, sorted

    >>> exported((('detector', 'x'), ('exported_detector', 'y')), {'detector'})
    (('exported_detector', 'x'), ('exported_exported_detector', 'y'))
    >>> exported((('k8s.pod', 'x'), ('k8s_pod', 'y')), set())
    (('U__k8s_2e_pod', 'x'), ('k8s_pod', 'y'))
    """
    return tuple(sorted((_renamed(name, ours), value) for name, value in labels))


def _renamed(name: str, ours: Collection[str]) -> str:
    if not LABEL_NAME.match(name) or name.startswith(_ESCAPED):
        return _ESCAPED + _NOT_ALPHANUMERIC.sub(lambda match: '__' if match[0] == '_' else f'_{ord(match[0]):x}_', name)
    base = name
    while base.startswith(_PREFIX):
        base = base.removeprefix(_PREFIX)
    return _PREFIX + name if base in ours else name


def text(labels: Pairs) -> bytes:
    """Exposition text of a label set. `job` and `instance` are written even if they are empty.

    With `honor_labels: true` Prometheus keeps the labels of a series and adds its own `job` and `instance` only if they are absent. An
    empty label prevents that (the Pushgateway does the same).

    >>> text((('detector', 'cpu'), ('instance', 'a')))
    b'{detector="cpu",instance="a",job=""}'
    """
    names = {name for name, _ in labels}
    padded = sorted((*labels, *((name, '') for name in ('instance', 'job') if name not in names)))
    return selector(padded).encode()
