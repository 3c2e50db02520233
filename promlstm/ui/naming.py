"""What tells an entity from the others of its detector: labels that all of them share say nothing, and are shown muted.

Who calls it: templates. What flows through: identities; a set of labels is looked at once, and again only where entities came or went.
"""

import threading
from collections.abc import Container, Mapping, Sequence

import msgspec

from promlstm.engine import labels
from promlstm.ui.board import Standing

MOST = 1000  # detectors


class Shared:
    """The labels that all entities of a detector share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Sequence[bytes], int, frozenset[str]]] = {}

    def of(self, standing: Standing) -> frozenset[str]:
        """The names of the labels that have one value on all entities of a step; of a single entity none."""
        name, identities, count = standing.config.name, standing.identities, len(standing)
        with self._lock:
            known = self._known.get(name)
            if known is None or known[0] is not identities or known[1] != count:
                self._known.pop(name, None)
                known = self._known[name] = identities, count, shared(identities[:count])
                if len(self._known) > MOST:  # of detectors that are no longer configured nothing is to be kept for ever
                    del self._known[next(iter(self._known))]
        return known[2]


def ordered(of: Mapping[str, str], common: Container[str]) -> str:
    """The labels of an entity as a name: what tells it from others first, then what all share.

    >>> ordered({'job': 'web', 'page': '/'}, {'job'})
    'page=/, job=web'
    """
    return ', '.join(f'{name}={of[name]}' for name in sorted(of, key=lambda name: (name in common, name)))


def shared(identities: Sequence[bytes]) -> frozenset[str]:
    """The names of the labels that have one value on all of some entities.

    >>> sorted(shared([b'{"a":"1","job":"node"}', b'{"a":"2","job":"node"}'])), sorted(shared([b'{"a":"1"}']))
    (['job'], [])
    """
    if len(identities) < 2:
        return frozenset()
    # A name that is quoted and followed by a colon is a name: inside of a value, quotes are escaped.
    tokens = ((name, b':'.join(map(msgspec.json.encode, (name, value)))) for name, value in labels.pairs(identities[0]))
    return frozenset(name for name, token in tokens if all(token in identity for identity in identities))
