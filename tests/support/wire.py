"""A server at the level of bytes: a script says what each connection gets, so that a test can break anything.

    def script(peer, number):                       # number: 0 for the first connection
        while request := peer.request():
            peer.answer(b'{}')

    with Wire(script) as wire:
        ask(wire.url)
        wire.requests                               # every request of every connection, in order
"""

import re
import socket
import ssl
import struct
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

LIMIT_SECONDS = 20  # of every wait; what is waited for takes milliseconds


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict
    body: bytes
    connection: int

    @property
    def url(self):
        """{parameter: value} of the target's query."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self):
        return dict(parse_qsl(self.body.decode()))


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, sock, number, wire):
        self.sock, self.number, self.wire, self.data = sock, number, wire, b''
        sock.settimeout(LIMIT_SECONDS)

    def request(self):
        """The next request, or None where the client has gone."""
        while b'\r\n\r\n' not in self.data:
            if not (part := self.sock.recv(65536)):
                return None
            self.data += part
        head, _, self.data = self.data.partition(b'\r\n\r\n')
        first, *lines = head.decode('latin-1').split('\r\n')
        method, target, _ = first.split()
        headers = dict(line.split(': ', 1) for line in lines)
        while len(self.data) < int(headers.get('Content-Length', 0)):
            self.data += self.sock.recv(65536)
        length = int(headers.get('Content-Length', 0))
        body, self.data = self.data[:length], self.data[length:]
        request = Request(method, target, headers, body, self.number)
        self.wire.requests.append(request)
        return request

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, body, status=200, headers=b''):
        self.send(b'HTTP/1.1 %d Said\r\nContent-Length: %d\r\n%b\r\n' % (status, len(body), headers) + body)

    def drip(self, data=b' '):
        """Some bytes again and again, until the client leaves."""
        with suppress(OSError):
            while not self.wire.left.wait(0.02):
                self.send(data)

    def gone(self):
        """Wait until the client has left."""
        with suppress(OSError):
            while self.sock.recv(65536):
                pass

    def reset(self):
        """End the connection as a crash would, with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    def encrypt(self):
        """Speak TLS from now on, with the certificate of the wire."""
        self.sock = self.wire.context.wrap_socket(self.sock, server_side=True)


class Wire:
    """Listens on a loopback port and runs the script for each connection, in a thread of its own."""

    def __init__(self, script, *, context=None):
        self.script, self.context = script, context
        self.requests, self.failed = [], []
        self.left = threading.Event()  # set when the test is over
        self.closed = threading.Semaphore(0)  # released whenever a script has come to its end

    def __enter__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.url = f'{"https" if self.context else "http"}://127.0.0.1:{self.port}'
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def stop_listening(self):
        """Refuse further connections; those that there are stay."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __exit__(self, *_):
        self.left.set()
        self.stop_listening()

    def _serve(self):
        number = 0
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock, number), daemon=True).start()
            number += 1

    def _run(self, sock, number):
        peer = Peer(sock, number, self)
        try:
            if self.context:
                peer.encrypt()
            self.script(peer, number)
        except OSError:
            pass  # the client was faster
        finally:
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
            peer.sock.close()
            self.closed.release()


def replying(reply):
    """A script that answers every request with what `reply(request)` gives: a body, or (status, body), or (status, body, headers)."""

    def script(peer, _number):
        while request := peer.request():
            said = reply(request)
            status, body, *headers = said if isinstance(said, tuple) else (200, said)
            peer.answer(body, status, *headers)

    return script


def certificate(folder, *, name='127.0.0.1'):
    """(file of a new self-signed certificate with its key, ssl.SSLContext of a server that has it)."""
    file = folder / f'{re.sub("[^a-z0-9]", "-", name)}.pem'
    command = ('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=test')
    options = ('-addext', f'subjectAltName=IP:{name}', '-keyout', file, '-out', folder / 'certificate')
    subprocess.run([*command, *options], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + (folder / 'certificate').read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context
