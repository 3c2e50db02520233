"""One answer ahead, and never two."""

import threading

import pytest

from promlstm.query.ahead import ahead


def counted(count, started, error=None):
    """Numbers; `started` has each from the moment that it is asked for."""
    for number in range(count):
        started.append(number)
        if error and number == count - 1:
            raise error
        yield number


def test_the_next_is_under_way_while_one_is_in_use():
    """Not only when it is asked for, and not two of them."""
    begun, go_on, started = threading.Event(), threading.Event(), []

    def items():
        for number in range(4):
            started.append(number)
            if number == 1:
                begun.set()
                assert go_on.wait(30)
            yield number

    found = ahead(items())
    assert next(found) == 0
    assert begun.wait(30) and started == [0, 1]
    go_on.set()
    assert list(found) == [1, 2, 3]


def test_order_and_falsy_items_stay():
    """None, zero and nothing at all are items, too."""
    assert list(ahead(iter([0, None, '', 3]))) == [0, None, '', 3]
    assert list(ahead(iter([]))) == []


def test_an_error_comes_in_its_place():
    """After the items before it, and nothing is asked for afterwards."""
    started = []
    found = ahead(counted(3, started, OSError('gone')))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(OSError, match='gone'):
        next(found)
    assert list(found) == [] and started == [0, 1, 2]


def test_nothing_is_asked_for_before_the_first_item_is_wanted():
    """And who stops does not wait for what is under way."""
    held, started = threading.Event(), []

    def items():
        started.append(0)
        yield 0
        held.wait(30)

    found = ahead(items())
    assert started == []
    assert next(found) == 0
    found.close()
    held.set()
