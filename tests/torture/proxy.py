"""A proxy before Prometheus: it passes everything on, except what it was told to strike."""

import http.client
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from servers import free_port
from wire import Peer

PATIENCE_SECONDS = 20.0  # of a request to Prometheus itself


@dataclass(frozen=True)
class Answer:
    """What Prometheus said: the body is that of the application, whatever the transfer was."""

    status: int
    body: bytes
    date: str = ''


class Proxy:
    """Listens on a loopback port from `start` on.

    upstream   port of Prometheus
    context    ssl.SSLContext, where it speaks TLS
    word       what a query has to contain to be struck
    name       by which it is called
    strike     strike(peer, request, answer) writes something else than the answer; None passes all on
    struck     [request], those that were struck since the strike was set
    """

    def __init__(self, upstream, *, context=None, word='struck', name='127.0.0.1'):
        self.upstream, self.context, self.word, self.name = upstream, context, word, name
        self.port, self.strike, self.struck = free_port(), None, []
        self.requests = []  # Peer keeps them here
        self.left = threading.Event()  # set when the strike is over, so that one which waits ends
        self._peers, self._listener = set(), None

    @property
    def url(self):
        return f'{"https" if self.context else "http"}://{self.name}:{self.port}'

    def start(self):
        """Accept connections, again after `refuse`."""
        self._listener = socket.create_server(('127.0.0.1', self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def refuse(self):
        """Refuse connections, and drop those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def drop(self):
        """End all connections, so that the next request needs a new one."""
        for peer in list(self._peers):
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)

    def begin(self, strike):
        """Strike from now on."""
        self.struck.clear()
        self.requests.clear()
        self.left.clear()
        self.strike = strike

    def heal(self):
        """Pass everything on again, and end what is under way."""
        self.strike = None
        self.left.set()

    def ask(self, request):
        """What Prometheus says to a request; 502 where it says nothing."""
        connection = http.client.HTTPConnection('127.0.0.1', self.upstream, timeout=PATIENCE_SECONDS)
        kind = {'Content-Type': 'application/x-www-form-urlencoded'} if request.body else {}
        try:
            connection.request(request.method, request.target, request.body or None, kind)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.getheader('Date', ''))
        except (OSError, http.client.HTTPException):
            return Answer(502, b'<html>502 Bad Gateway</html>')
        finally:
            connection.close()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(Peer(sock, len(self.requests), self),), daemon=True).start()

    def _serve(self, peer):
        self._peers.add(peer)
        try:
            if self.context:
                peer.encrypt()
            while request := peer.request():
                answer = self.ask(request)
                if self.strike and self.word in request.form.get('query', ''):
                    self.struck.append(request)
                    self.strike(peer, request, answer)
                else:
                    peer.answer(answer.body, answer.status, f'Date: {answer.date}\r\n'.encode() if answer.date else b'')
        except (OSError, ValueError):
            pass  # the other side went away, or was sent away
        finally:
            self._peers.discard(peer)
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
            peer.sock.close()

    def await_struck(self, word, times, until):
        """Wait until queries with a word were struck so often; `until` is the wait of the run."""
        return until(
            lambda: sum(word in request.form.get('query', '') for request in list(self.struck)) >= times, 30, f'{times} struck queries'
        )


def now():
    """Unix seconds; the one clock of all that is measured here."""
    return time.time()
