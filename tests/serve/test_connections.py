"""Who gets a place, who gives way, and whose answer is sent now. Nothing here opens a connection."""

import asyncio
import random

import pytest

from promlstm.serve.connections import Connections, Limits, State

ANSWERING, READING, RESTING, WAITING = State.ANSWERING, State.READING, State.RESTING, State.WAITING


def places(total, per_client):
    return Connections(Limits(connections=total, per_client=per_client))


def enter(subject, closed, client, name, state=READING):
    place = subject.enter(client)
    place.close = lambda: closed.append(name)
    if state != READING:
        subject.move(place, state)
    return place


def test_whoever_has_been_incomplete_for_longest_gives_way_first():
    """Then whoever rests, then whoever waits, each in the order of time."""
    subject, closed = places(6, 6), []
    for name, state in (('w1', WAITING), ('k1', RESTING), ('r1', READING), ('k2', RESTING), ('r2', READING), ('w2', WAITING)):
        enter(subject, closed, 'a', name, state)
    for n in range(6):
        enter(subject, closed, 'a', f'new{n}', WAITING)
    assert closed == ['r1', 'r2', 'k1', 'k2', 'w1', 'w2'] and len(subject) == 6


def test_the_client_that_holds_most_gives_way_to_others():
    """A client with one connection keeps it, whatever another one opens; and it gets a place."""
    subject, closed = places(8, 8), []
    enter(subject, closed, 'quiet', 'quiet', READING)
    for n in range(20):
        enter(subject, closed, 'loud', n, RESTING)
    enter(subject, closed, 'third', 'third', READING)
    assert 'quiet' not in closed and 'third' not in closed and closed == list(range(14))


def test_a_client_has_no_more_than_its_places():
    """Beyond them its own connections give way, although there is room."""
    subject, closed = places(100, 4), []
    for n in range(6):
        enter(subject, closed, 'a', n)
    assert closed == [0, 1] and len(subject) == 4


def test_whoever_moves_is_the_last_of_its_state():
    """What counts is how long it has been doing what it does."""
    subject, closed = places(2, 2), []
    first = enter(subject, closed, 'a', 'first')
    enter(subject, closed, 'a', 'second')
    subject.move(first, RESTING)
    subject.move(first, READING)
    enter(subject, closed, 'a', 'third')
    assert closed == ['second']


def test_leaving_twice_is_leaving_once():
    """One that was closed for another says goodbye later; what it says then moves nobody."""
    subject, closed = places(2, 2), []
    first = enter(subject, closed, 'a', 'first')
    enter(subject, closed, 'a', 'second')
    enter(subject, closed, 'a', 'third')
    subject.move(first, RESTING)
    subject.leave(first)
    subject.leave(first)
    assert len(subject) == 2 and closed == ['first']


def test_answers_leave_places_for_others():
    """Turns are given in the order of asking, as many as leave the reserve, and the next when one is over."""

    async def story():
        subject, closed = places(4, 4), []
        held = [enter(subject, closed, 'a', n, WAITING) for n in range(4)]
        turns = [asyncio.ensure_future(subject.turn(place)) for place in held]
        await asyncio.sleep(0)
        assert [place.state for place in held] == [ANSWERING] * 3 + [WAITING]
        enter(subject, closed, 'a', 'new')
        assert closed == [3]
        turns[3].cancel()  # as its owner does when it is closed
        subject.move(held[1], RESTING)
        late = enter(subject, closed, 'b', 'late', WAITING)
        turn = asyncio.ensure_future(subject.turn(late))
        await asyncio.sleep(0)
        await turn
        assert late.state == ANSWERING
        await asyncio.gather(*turns, return_exceptions=True)

    asyncio.run(story())


def test_a_client_without_room_is_passed_over():
    """Its own limit keeps nobody else from a turn."""

    async def story():
        subject, closed = places(10, 3), []
        mine = [enter(subject, closed, 'a', n, WAITING) for n in range(3)]
        turns = [asyncio.ensure_future(subject.turn(place)) for place in mine]
        other = enter(subject, closed, 'b', 'b', WAITING)
        await subject.turn(other)
        await asyncio.sleep(0)
        assert [place.state for place in mine] == [ANSWERING, ANSWERING, WAITING] and other.state == ANSWERING
        subject.leave(mine[0])
        await asyncio.gather(*turns)
        assert mine[2].state == ANSWERING

    asyncio.run(story())


@pytest.mark.parametrize('seed', range(5))
def test_no_order_of_events_takes_the_last_place(seed):
    """Whatever clients do: everybody who comes gets a place, no limit is passed, and no answer is broken off."""

    async def story():
        rng, closed = random.Random(seed), set()
        limits = Limits(connections=12, per_client=5)
        subject, held, turns = Connections(limits), [], []
        for _ in range(3000):
            held = [place for place in held if place not in closed]
            place = rng.choice(held) if held else None
            match rng.randrange(5):
                case 0 | 1:
                    new = subject.enter(rng.choice('abcde'))
                    new.close = lambda gone=new: closed.add(gone)
                    held.append(new)
                case 2 if place and place.state != WAITING:
                    subject.move(place, rng.choice([READING, RESTING]))
                case 3 if place and place.state in (READING, RESTING):
                    subject.move(place, WAITING)
                    turns.append(asyncio.ensure_future(subject.turn(place)))
                case 4 if place:
                    subject.leave(place)
                    held.remove(place)
            await asyncio.sleep(0)
            answering = subject.by_state(ANSWERING)
            assert len(subject) <= 12 and len(answering) <= 12 - Limits.reserve(12) and not closed & set(answering)
            for client in 'abcde':
                assert sum(place.client == client for place in subject.by_state(*State)) <= 5
        for turn in turns:
            turn.cancel()

    asyncio.run(story())
