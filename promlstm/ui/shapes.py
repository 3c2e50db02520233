"""Which label names the entities of a detector have, and which entity the labels of a link mean.

Who calls it: entity. What flows through: label sets of a URL; out come rows. An alert carries more labels than its entity (alertname, severity, a
replica, those of the server), and ours in place of those that collide with them (labels.exported), so the names decide which of them are its own.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence

from promlstm.engine import labels
from promlstm.errors import QueryRejected
from promlstm.query.selector import selector
from promlstm.serve.exposition import OURS
from promlstm.serve.handling import BadQuery

Names = tuple[str, ...]  # sorted
# What rules add to an alert, beside the labels of an entity; left out where nothing else says which labels are its own.
OF_ALERTS = ('alertname', 'alertstate', 'detector', 'feature', 'incident', 'promlstm_entity', 'promlstm_replica', 'promlstm_scope', 'severity', 'view')


class Shapes:
    """The label names of the entities of each detector, looked at once: a table only grows, or is replaced."""

    def __init__(self) -> None:
        self._lock, self._known = threading.Lock(), dict[str, tuple[list[bytes], int, frozenset[Names]]]()

    def of(self, detector: str, identities: list[bytes]) -> frozenset[Names]:
        """The distinct sets of names among some identities."""
        with self._lock:
            before, seen, shapes = self._known.get(detector, (identities, 0, frozenset()))
            if before is not identities:
                seen, shapes = 0, frozenset()
            count = len(identities)
            if count > seen:
                shapes |= set(map(labels.names, identities[seen:count]))
            self._known[detector] = identities, count, shapes
            return shapes

    def last(self, detector: str, by: Sequence[str]) -> frozenset[Names]:
        """What was known last of a detector that makes no steps now; else what its setting `by` says."""
        with self._lock:
            known = self._known.get(detector)
        return known[2] if known else frozenset({tuple(sorted(by))} if by else ())


def parsed(text: str) -> dict[str, str]:
    r"""The labels of an entity as a URL has them, `{a="x",b="y"}`; BadQuery where they are none.

    >>> parsed('{job="node", instance="say \\"hi\\"", zone=""}')
    {'job': 'node', 'instance': 'say "hi"'}
    >>> parsed('{}')
    {}
    """
    if text.replace(' ', '') in ('', '{}'):
        return {}
    try:
        matchers = selector(text)
    except QueryRejected as error:
        raise BadQuery(f'entity: expected labels such as {{instance="a:9100",job="node"}}, got {text[:200]!r}') from error
    if any(matcher.operator != '=' for matcher in matchers):
        raise BadQuery(f'entity: expected labels such as {{instance="a:9100",job="node"}}, each with =, got {text[:200]!r}')
    return {matcher.label: matcher.value for matcher in matchers if matcher.value and matcher.label != '__name__'}


def found(given: Mapping[str, str], shapes: Iterable[Names], identities: Sequence[bytes]) -> int | None:
    """The row of the entity whose labels are all among some labels, the one with the most of them; None = there is none.

    >>> rows = [b'{"instance":"a"}', b'{"detector":"x","instance":"a"}']
    >>> shapes = Shapes().of('cpu', rows)
    >>> found({'instance': 'a', 'alertname': 'Hot', 'detector': 'cpu'}, shapes, rows)
    0
    >>> found({'exported_detector': 'x', 'instance': 'a', 'severity': 'warning', 'detector': 'cpu'}, shapes, rows)
    1
    """
    for names in sorted(shapes, key=lambda names: (-len(names), names)):
        for candidate in (_as_exported(names, given), {name: given.get(name, '') for name in names}):
            if all(candidate.values()):
                try:
                    return identities.index(labels.identity_of(tuple(candidate.items())))
                except ValueError:
                    continue
    return None


def _as_exported(names: Names, given: Mapping[str, str]) -> dict[str, str]:
    return {name: given.get(labels.exported(((name, ''),), OURS)[0][0], '') for name in names}


def own(given: Mapping[str, str], shapes: Iterable[Names]) -> labels.Pairs:
    """The labels of an entity that is not in the table, as far as can be told: without those that only alerts have.

    >>> own({'instance': 'gone', 'alertname': 'Hot'}, [('instance',)]), own({'pod': 'gone', 'severity': 'warning'}, [])
    ((('instance', 'gone'),), (('pod', 'gone'),))
    """
    whole = [names for names in shapes if names and all(given.get(name) for name in names)]
    names = max(whole, key=lambda names: (len(names), names), default=None)
    return tuple(sorted((name, value) for name, value in given.items() if (name in names if names else name not in OF_ALERTS)))
