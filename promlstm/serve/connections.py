"""The connections that are open at once: who gets a place, who gives way, and whose answer is sent now.

Who calls it: server (a connection comes), conversation (it reads, rests, waits, answers, goes). It knows no sockets and no HTTP.

Three rules keep every door open:

- Whoever comes gets a place at once. Where all are taken, a connection of the client that holds most gives way: first the one whose request
  has been incomplete for longest, then the one that has rested for longest, then one that waits for its answer.
- A connection to which an answer is being sent never gives way, so these are limited: `reserve` places are never used for answers, and so
  there is always one that can give way. Other answers wait for their turn.
- The same holds among the connections of one client. Behind a proxy all clients have one address, so an address may hold many.

A probe is answered without waiting for a turn: no number of scrapes keeps it out.
"""

import asyncio
import enum
import ipaddress
import itertools
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from promlstm.logs import event

log = logging.getLogger('promlstm.server')
REPEAT_SECONDS = 60.0  # that connections give way is logged again after this


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may use.

    request_seconds  from the connection, or the first byte of a later request, to the last byte of it; a TLS handshake is part of it
    idle_seconds     how long a connection is kept after an answer
    stalled_seconds  an answer is given up if in this time the client has not made room for the next piece of it
    answer_seconds   and if it has not been taken as a whole after this
    stop_seconds     what answers have left when the server stops
    """

    connections: int = 512
    per_client: int = 256
    request_seconds: float = 10.0
    idle_seconds: float = 90.0
    stalled_seconds: float = 10.0
    answer_seconds: float = 120.0
    stop_seconds: float = 3.0
    target_bytes: int = 8 << 10
    head_bytes: int = 32 << 10
    headers: int = 100
    body_bytes: int = 64 << 10

    @staticmethod
    def reserve(places: int) -> int:
        """How many of these places are never used for answers.

        >>> Limits.reserve(512), Limits.reserve(64), Limits.reserve(2)
        (32, 8, 1)
        """
        return max(1, min(32, places // 8))


class State(enum.IntEnum):
    """What a connection does; the first ones give way first."""

    READING = 0
    RESTING = 1
    WAITING = 2
    ANSWERING = 3


@dataclass(slots=True, eq=False)
class Place:
    """One connection. close: ends it at once; whoever entered it sets that."""

    client: str
    close: Callable[[], object] = lambda: None
    state: State = State.READING
    since: int = 0  # orders the changes of state


@dataclass(slots=True, eq=False)
class _Client:
    """The places of one client by state, those that have been in it for longest first."""

    places: tuple[OrderedDict[Place, None], ...] = field(default_factory=lambda: tuple(OrderedDict() for _ in State))

    def __len__(self) -> int:
        return sum(map(len, self.places))

    def first(self) -> Place | None:
        """The connection that gives way first."""
        return next((next(iter(self.places[state])) for state in State if state != State.ANSWERING and self.places[state]), None)


class Connections:
    """The places of a server. To be used from the thread of its event loop."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        if min(limits.connections, limits.per_client) < 2:
            raise ValueError('fewer than two places')
        self._limits, self._clock, self._logged = limits, clock, float('-inf')
        self._clients: dict[str, _Client] = {}
        self._count, self._answering, self._changes = 0, 0, itertools.count()
        self._turns: deque[tuple[Place, asyncio.Future[None]]] = deque()

    def __len__(self) -> int:
        return self._count

    def enter(self, client: str) -> Place:
        """A place for a new connection; another one may be closed for it."""
        mine = self._clients.get(client)
        if mine and len(mine) >= self._limits.per_client:
            self._evict(mine.first())
        if self._count >= self._limits.connections:
            self._evict(self._first())
        place = Place(client)
        self._count += 1
        self._put(place, State.READING)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back; harmless if it is already."""
        mine = self._clients.get(place.client)
        if not mine or place not in mine.places[place.state]:
            return
        self._take(place)
        self._count -= 1
        if not len(mine):
            del self._clients[place.client]
        self._next_turns()

    def move(self, place: Place, state: State) -> None:
        """From now on the connection does something else; ANSWERING is only to be had by `turn`."""
        mine = self._clients.get(place.client)
        if mine and place in mine.places[place.state]:
            self._take(place)
            self._put(place, state)
            self._next_turns()

    async def turn(self, place: Place) -> None:
        """Wait until an answer may be sent to this connection."""
        self._turns.append((place, future := asyncio.get_running_loop().create_future()))
        self._next_turns()
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                self._turns = deque(turn for turn in self._turns if turn[1] is not future)

    def by_state(self, *states: State) -> list[Place]:
        """All connections that are in one of these states."""
        return [place for client in self._clients.values() for state in states for place in client.places[state]]

    def _next_turns(self) -> None:
        """Give turns to those that wait, in their order, as long as there is room; a client without room is passed over."""
        limits, passed = self._limits, deque[tuple[Place, asyncio.Future[None]]]()
        while self._turns and self._answering < limits.connections - limits.reserve(limits.connections):
            place, future = self._turns.popleft()
            mine = self._clients.get(place.client)
            if future.done() or not mine or place not in mine.places[place.state]:
                continue
            if len(mine.places[State.ANSWERING]) >= limits.per_client - limits.reserve(limits.per_client):
                passed.append((place, future))
                continue
            self._take(place)
            self._put(place, State.ANSWERING)
            future.set_result(None)
        passed.extend(self._turns)
        self._turns = passed

    def _put(self, place: Place, state: State) -> None:
        place.state, place.since = state, next(self._changes)
        self._clients.setdefault(place.client, _Client()).places[state][place] = None
        self._answering += state == State.ANSWERING

    def _take(self, place: Place) -> None:
        del self._clients[place.client].places[place.state][place]
        self._answering -= place.state == State.ANSWERING

    def _first(self) -> Place | None:
        """The connection that gives way first, of the clients that hold most."""
        candidates = [(len(client), place) for client in self._clients.values() if (place := client.first())]
        return max(candidates, key=lambda each: (each[0], -each[1].state, -each[1].since))[1] if candidates else None

    def _evict(self, place: Place | None) -> None:
        assert place, 'all places are used for answers'
        self.leave(place)
        place.close()
        now = self._clock()
        if now - self._logged > REPEAT_SECONDS:
            self._logged = now
            event(
                log, 'warn', 'too many connections, those that send or read nothing are closed for others',
                limit=self._limits.connections, limit_per_client=self._limits.per_client, client=place.client,
            )  # fmt: skip


def client_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits, as that is what one host may have.

    >>> client_of('10.1.2.3'), client_of('::ffff:10.1.2.3'), client_of('2001:db8::1:2:3:4'), client_of('fe80::1%eth0')
    ('10.1.2.3', '10.1.2.3', '2001:db8::/64', 'fe80::/64')
    """
    if ':' not in address:
        return address
    ip = ipaddress.IPv6Address(address.partition('%')[0])
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
