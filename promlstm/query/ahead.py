"""One answer ahead: while the last one is worked with, the next one is fetched.

Who calls it: prometheus, for the spans of a long range. What flows through: any iterator; out come its items in the same order. A start from
history waits for the server about as long as it judges, so the two together take little more than the longer one. No more than one item waits,
so memory is bounded, and a server has no more than one question of each iterator at a time.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar('Item')


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items of an iterator, each fetched in a thread while the one before is in use; an error comes where the item would have.

    Whoever stops early waits for nothing: what is under way then is dropped when it is there. Threads are daemons, so an exit does not wait, either.

    >>> list(ahead(iter('abc')))
    ['a', 'b', 'c']
    """
    coming = _fetched(items)
    while found := coming.result():
        coming = _fetched(items)
        yield found[0]


def _fetched(items: Iterator[Item]) -> Future[tuple[Item] | None]:
    """The next item, as a tuple; None = there is none."""
    future: Future[tuple[Item] | None] = Future()

    def fetch() -> None:
        try:
            future.set_result(next(((item,) for item in items), None))
        except BaseException as error:  # noqa: BLE001 (it is raised where the item is taken)
            future.set_exception(error)

    threading.Thread(target=fetch, name='promlstm-ahead', daemon=True).start()
    return future
