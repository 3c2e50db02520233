"""Whether a user name and password are right: bcrypt, once for each pair, in a thread of its own, with a fair queue before it.

Who calls it: door. What flows through: user, password, and the hash of the user. Three things are kept from whoever guesses:

- time of others: a hash takes tens of milliseconds, so pairs that were found right are remembered, and those who wait are taken in turn by
  client, and within a client by user name. No guess is worked on before a scrape that only waits for its first hash gets its turn.
- who exists: the hash of an unknown user costs as much as one of a known user.
- what was right: pairs are remembered as digests with a key that never leaves this process; a digest of a guess says nothing of another.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

RIGHT, WRONG = 128, 1024  # pairs that are remembered
WAITING = 64  # of one client; a further one is told to come again
PASSWORD_BYTES = 72  # what bcrypt looks at; htpasswd and Go cut here too
_DEFAULT_COST = 10
_SALT = 22
_ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
_PARTS = re.compile(r'\$2[aby]\$(\d\d)\$(.{22})(.{31})\Z')

_Asked = tuple[bytes, bytes, str]  # digest, password, hash


class Busy(Exception):
    """Too many passwords of this client wait already."""


def right(password: bytes, hashed: str) -> bool:
    """Whether a password has this bcrypt hash, whichever tool made it.

    >>> hashed = '$2y$04$fn79Br5cajhOmsoGcH0KxelRc5yDwUvclntXQEGsv74WDwNQk0bu2'
    >>> right(b'secret', hashed), right(b'Secret', hashed), right(b'', hashed)
    (True, False, False)
    """
    if not (parts := _PARTS.match(hashed)):
        return False
    # Of the last character of a salt only two bits count; some tools fill the others, and pyca/bcrypt refuses these.
    salt = parts[2][:-1] + _ALPHABET[_ALPHABET.index(parts[2][-1]) & 0b110000]
    try:
        found = bcrypt.hashpw(password[:PASSWORD_BYTES], f'$2b${parts[1]}${salt}'.encode())
    except ValueError:  # a cost or a salt that cannot be
        return False
    return hmac.compare_digest(found[-31:], parts[3].encode())


def basic(header: str) -> tuple[str, bytes] | None:
    """(user, password) of an Authorization header, or None where it has none (RFC 7617).

    >>> basic('Basic YTpiOmM='), basic('basic YTo='), basic('Bearer x'), basic('Basic !'), basic('')
    (('a', b'b:c'), ('a', b''), None, None, None)
    """
    scheme, _, encoded = header.partition(' ')
    if scheme.lower() != 'basic':
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b':')
        return (user.decode(), password) if colon else None
    except ValueError:
        return None


class Passwords:
    """Checks passwords, one at a time. check: the hash function. To be used from one event loop."""

    def __init__(self, check: Callable[[bytes, str], bool] = right) -> None:
        self._check, self._key = check, os.urandom(32)
        self._thread = ThreadPoolExecutor(1, 'promlstm-passwords')
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        # client: {user: those that wait}; the first client, and its first user, are next
        self._waiting: OrderedDict[str, OrderedDict[str, deque[_Asked]]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bool]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def verify(self, user: str, password: bytes, users: Mapping[str, str], client: str) -> bool:
        """Whether the user has this password.

        users   {user: hash}
        client  who asks
        raises  Busy
        """
        known = user in users
        hashed = users[user] if known else self._decoy(user, users)
        digest = self._digest(user, password, hashed)
        for remembered in (self._right, self._wrong):
            if digest in remembered:
                remembered.move_to_end(digest)
                return remembered is self._right and known
        return await asyncio.shield(self._ask(client, user, digest, password, hashed)) and known

    def _ask(self, client: str, user: str, digest: bytes, password: bytes, hashed: str) -> asyncio.Future[bool]:
        """What will come of it; the same pair is worked on once, whoever asks."""
        if digest not in self._asked:
            mine = self._waiting.setdefault(client, OrderedDict())
            if sum(map(len, mine.values())) >= WAITING:
                self._make_room(mine, user)
            mine.setdefault(user, deque()).append((digest, password, hashed))
            self._asked[digest] = asyncio.get_running_loop().create_future()
            if not self._worker or self._worker.done():
                self._worker = asyncio.create_task(self._work())
        return self._asked[digest]

    def _make_room(self, mine: OrderedDict[str, deque[_Asked]], user: str) -> None:
        """Send away one that waits for the user name that is tried most; Busy where that is the one that is tried now."""
        most = max(mine, key=lambda name: len(mine[name]))
        if len(mine[most]) <= len(mine.get(user, ())) + 1:
            raise Busy
        gone = self._asked.pop(mine[most].pop()[0])
        gone.set_exception(Busy())
        gone.exception()  # who asked may be gone as well

    async def _work(self) -> None:
        """One hash after the other, until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            digest, password, hashed = self._next()
            try:
                result = await loop.run_in_executor(self._thread, self._check, password, hashed)
                self._remember(digest, result)
                self._asked[digest].set_result(result)
            finally:
                self._asked.pop(digest).cancel()  # where it failed nobody waits for ever

    def _remember(self, digest: bytes, result: bool) -> None:
        remembered, most = (self._right, RIGHT) if result else (self._wrong, WRONG)
        remembered[digest] = None
        if len(remembered) > most:
            remembered.popitem(last=False)

    def _next(self) -> _Asked:
        client, users = self._waiting.popitem(last=False)
        user, asked = users.popitem(last=False)
        first = asked.popleft()
        if asked:
            users[user] = asked  # behind the other names of this client
        if users:
            self._waiting[client] = users  # behind the other clients
        return first

    def _digest(self, user: str, password: bytes, hashed: str) -> bytes:
        parts = (user.encode(), hashed.encode(), password)
        return hmac.digest(self._key, b''.join(len(part).to_bytes(8) + part for part in parts), hashlib.sha256)

    def _decoy(self, user: str, users: Mapping[str, str]) -> str:
        """A hash for a user that does not exist: with the cost of one that does, the same at each try, and of no password that is let in."""
        costs = sorted(match[1] for hashed in users.values() if (match := _PARTS.match(hashed))) or [f'{_DEFAULT_COST}']
        chance = int.from_bytes(hmac.digest(self._key, user.encode(), hashlib.sha256)[:8])
        return f'$2b${costs[chance % len(costs)]}${"." * _SALT}{"." * 31}'
