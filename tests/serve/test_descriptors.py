"""A process without a free file descriptor: the server waits for one, says so, and serves again."""

import contextlib
import subprocess
import sys

import servers

SCRIPT = '''
import os, resource, sys, time
from promlstm import logs
from promlstm.serve import server
from promlstm.serve.page import Page
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry
logs.setup()
class Counted(server.Server):
    accepted = 0
    def get_request(self):
        self.accepted += 1
        return super().get_request()
served = Counted('127.0.0.1:0', Site(page=Page(time.time), telemetry=Telemetry(process=False), statuses=dict, ready=lambda: True))
served.start()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
taken = os.dup(0)
os.close(taken)
resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))  # the lowest free descriptor is the first that is refused
began = time.monotonic()
print(served.server_port, flush=True)
sys.stdin.readline()
print(served.accepted, (time.monotonic() - began) / server.PAUSE_SECONDS, flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
sys.stdin.readline()
served.stop()
'''


def test_without_a_free_descriptor_it_waits_says_so_and_serves_again():
    """No more tries than there are pauses, one line of log however many there are, and the client that waited has its answer."""
    child = subprocess.Popen(
        [sys.executable, '-c', SCRIPT], cwd=servers.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with child:
        port = int(child.stdout.readline())
        with servers.socket.create_connection(('127.0.0.1', port), timeout=60) as client:
            client.sendall(b'GET /-/healthy HTTP/1.0\r\n\r\n')
            line = child.stderr.readline()
            assert 'connections cannot be accepted' in line and 'Too many open files' in line
            client.settimeout(1)
            with contextlib.suppress(TimeoutError):
                assert not client.recv(1), 'it was served'
            child.stdin.write('\n')
            child.stdin.flush()
            tries, pauses = map(float, child.stdout.readline().split())
            assert 1 <= tries <= pauses + 2
            client.settimeout(60)
            assert client.recv(100).startswith(b'HTTP/1.1 200')
        out, err = child.communicate('\n', timeout=60)
    assert (child.returncode, out, err) == (0, '', '')
