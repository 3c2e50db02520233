"""Who is let in: before an answer there is a password to show, if the web configuration has users. Probes need none, and learn nothing.

Who calls it: conversation. What flows through: a Request on its way to the site.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from promlstm.serve.connections import client_of
from promlstm.serve.conversation import Application
from promlstm.serve.messages import Answer, Request, text
from promlstm.serve.passwords import Busy, Passwords, basic

PROBE_SECONDS = 1.0  # a probe that shows a password waits no longer for what it may see with it
_CHALLENGE = {'WWW-Authenticate': 'Basic realm="promlstm", charset="UTF-8"'}


class Door:
    """An application behind a password.

    users    gives {user: bcrypt hash} as it is now; empty = everybody is let in
    headers  gives the headers that the web configuration adds now
    bucket   gives what limits the requests of all clients together now
    """

    def __init__(
        self,
        application: Application,
        *,
        users: Callable[[], Mapping[str, str]] = dict,
        headers: Callable[[], Mapping[str, str]] = dict,
        bucket: 'Callable[[], Bucket | None]' = lambda: None,
        passwords: Passwords | None = None,
    ) -> None:
        self._application, self._users, self._headers, self._bucket = application, users, headers, bucket
        self._passwords = passwords or Passwords()

    def is_probe(self, path: str) -> bool:
        """Whether a path is answered without waiting for others, and without a password."""
        return self._application.is_probe(path)

    def headers(self) -> Mapping[str, str]:
        """Headers of every answer, in the place of those that a page has."""
        return {**self._application.headers(), **self._headers()}

    async def answer(self, request: Request) -> Answer:
        """The answer to a request, or why there is none."""
        probe, users, bucket = self.is_probe(request.path), self._users(), self._bucket()
        if bucket and not probe and not bucket.take():
            return text(429, 'Too many requests.\n', {'Retry-After': '1'})
        if not users:
            return await self._application.answer(request)
        try:
            async with asyncio.timeout(PROBE_SECONDS if probe else None):
                trusted = await self._trusted(request, users)
        except TimeoutError:
            trusted = False
        except Busy:
            if not probe:
                return text(429, 'Too many passwords of this client are being checked.\n', {'Retry-After': '1'})
            trusted = False
        if not trusted and not probe:
            return text(401, 'Unauthorized.\n', _CHALLENGE)
        return await self._application.answer(replace(request, trusted=trusted))

    async def _trusted(self, request: Request, users: Mapping[str, str]) -> bool:
        given = basic(request.header('authorization'))
        return given is not None and await self._passwords.verify(*given, users, client_of(request.client))


class Bucket:
    """Tokens for requests: one comes in each interval, and no more than `burst` are kept."""

    def __init__(self, interval_seconds: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds, self._burst, self._clock = interval_seconds, burst, clock
        self._tokens, self._then = float(burst), clock()

    def take(self) -> bool:
        """Take a token, if there is one.

        >>> now = [0.0]
        >>> bucket = Bucket(2.0, 1, lambda: now[0])
        >>> bucket.take(), bucket.take(), now.append(now.pop() + 2), bucket.take()
        (True, False, None, True)
        """
        now = self._clock()
        self._tokens, self._then = min(self._burst, self._tokens + (now - self._then) / self._interval_seconds), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
