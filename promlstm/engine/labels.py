r"""A series' identity and its exposition text.

Who calls it: entities (identity of an arriving series), exposition (label text, once per entity). What flows through: label JSON as the query
API wrote it, tuples of (name, value) sorted by name, exposition bytes. It never sees a sample.
"""

import re

import msgspec

from promlstm.errors import ResponseError

LABEL_NAME = re.compile(r'(?!__)[a-zA-Z_][a-zA-Z0-9_]*\Z')  # a leading __ is reserved: parsers may refuse a page for it
_FOREIGN = re.compile(r'[^a-zA-Z0-9]')
_ESCAPED, _PREFIX = 'U__', 'exported_'

_decode = msgspec.json.Decoder(dict[str, str]).decode


def identity(raw, by=None):
    """What makes a series an entity: its labels without `__name__` and empty values, as compact sorted JSON.

    raw      bytes  the `metric` object as the query API wrote it
    by       None, or the names of the only labels that count
    returns  bytes; the very object that came in where nothing had to be changed, since there are many of them
    raises   ResponseError  where it is not an object of strings

    >>> identity(b'{"__name__":"up","job":"node","instance":"a:9100","zone":""}')
    b'{"instance":"a:9100","job":"node"}'
    >>> identity(b'{"job":"node","instance":"a:9100"}', by=('job',))
    b'{"job":"node"}'
    """
    try:
        labels = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResponseError(f'labels of a series are not a JSON object of strings: {bytes(raw[:120])!r}: {error}') from error
    wanted = {name: value for name, value in labels.items() if value and (name != '__name__' if by is None else name in by)}
    canonical = msgspec.json.encode(wanted, order='sorted')
    return raw if canonical == raw else canonical


def pairs(identity):
    """The labels of an identity, as a tuple of (name, value) sorted by name.

    >>> pairs(b'{"instance":"a:9100","job":"node"}')
    (('instance', 'a:9100'), ('job', 'node'))
    """
    return tuple(_decode(identity).items())


def selector(labels):
    r"""How people write a label set: `{a="x",b="y"}`, for messages and logs.

    >>> selector((('job', 'say "hi"'),))
    '{job="say \\"hi\\""}'
    """
    return '{' + ','.join(f'{name}="{escape(value)}"' for name, value in labels) + '}'


def escape(value):
    r"""A label value as the exposition formats want it: backslash, double quote and line feed escaped.

    >>> print(escape('a\\b"c\nd'))
    a\\b\"c\nd
    """
    return value.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')


def exported(labels, ours):
    """The entity's labels where those that collide with ours are renamed `exported_…`, as Prometheus itself does on a scrape.

    What a label becomes depends on its name alone, never on its company, so that it is the same for all entities of a detector,
    and two names never become one. `exported_detector` therefore gets the prefix once more. Names that not every scraper reads
    (UTF-8 names of Prometheus 3, and `__…`) are escaped as Prometheus does it ("values" escaping): quoted they would cost an
    older one the whole page.

    labels   tuple of (name, value)
    ours     set of names that the exporter writes itself
    returns  tuple of (name, value), sorted

    >>> exported((('detector', 'x'), ('exported_detector', 'y')), {'detector'})
    (('exported_detector', 'x'), ('exported_exported_detector', 'y'))
    >>> exported((('k8s.pod', 'x'), ('k8s_pod', 'y')), set())
    (('U__k8s_2e_pod', 'x'), ('k8s_pod', 'y'))
    """
    return tuple(sorted((_renamed(name, ours), value) for name, value in labels))


def _renamed(name, ours):
    if not LABEL_NAME.match(name) or name.startswith(_ESCAPED):
        return _ESCAPED + _FOREIGN.sub(lambda match: '__' if match[0] == '_' else f'_{ord(match[0]):x}_', name)
    base = name
    while base.startswith(_PREFIX):
        base = base.removeprefix(_PREFIX)
    return _PREFIX + name if base in ours else name


def text(labels):
    """Exposition text of a label set, with the explicit empty `job` and `instance` that keep Prometheus from stamping its own.

    `honor_labels: true` keeps a label that is there and adds those that are not; an empty label is the way to say "none"
    (the Pushgateway does the same).

    >>> text((('detector', 'cpu'), ('instance', 'a')))
    b'{detector="cpu",instance="a",job=""}'
    """
    names = {name for name, _ in labels}
    padded = sorted((*labels, *((name, '') for name in ('instance', 'job') if name not in names)))
    return selector(padded).encode()
