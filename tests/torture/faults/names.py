"""A name that does not resolve any more, in a mount namespace with a hosts file of its own: the system's look-up is the real one."""

import shutil
import socket
import subprocess
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from torture.faults import Fault, Impossible, Subject
from torture.lane import CALM, STRUCK, Exporting, trial

NAME = 'prometheus.torture.test'
ALL = (*STRUCK, *CALM)


@contextmanager
def named(world, name):
    """An exporter that knows Prometheus by a name, which stands in `lane.hosts`; its name server is `lane.server`, an address of this machine."""
    wrapper = ['unshare', '--user', '--map-root-user', '--mount', '--kill-child', '--fork']
    if not shutil.which('unshare') or subprocess.run([*wrapper, 'true'], capture_output=True, check=False).returncode:
        raise Impossible('this machine gives no mount namespace')
    folder = world.away(f'{name}-names')
    hosts, resolver = folder / 'hosts', folder / 'resolv.conf'
    known = f'127.0.0.1 localhost {NAME}\n'
    hosts.write_text(known)
    resolver.write_text('nameserver 127.0.0.1\n')  # where nothing listens, which is said at once
    script = f'mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    url = f'http://{NAME}:{urlsplit(world.prometheus.url).port}'
    with Exporting(world, name, url, source={'timeout': '2s'}, wrap=[*wrapper, 'sh', '-c', script, 'sh']) as lane:
        lane.hosts, lane.resolver, lane.known = hosts, resolver, known
        yield lane


def removed(lane):
    """In place, for the file itself is what is mounted."""
    return trial(
        lane, lambda: lane.hosts.write_text('127.0.0.1 localhost\n'), lambda: lane.hosts.write_text(lane.known),
        reason='cannot be reached: .*[Nn]ame', names=ALL, calm=(),
    )  # fmt: skip


def silent(lane):
    """The name server takes questions and never answers."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        try:
            server.bind(('127.0.0.53', 53))
        except OSError as error:
            raise Impossible(f'port 53 cannot be had: {error.strerror}') from error

        def strike():
            lane.resolver.write_text('nameserver 127.0.0.53\n')
            lane.hosts.write_text('127.0.0.1 localhost\n')

        def heal():
            lane.hosts.write_text(lane.known)
            lane.resolver.write_text('nameserver 127.0.0.1\n')

        return trial(lane, strike, heal, reason='was slower than the timeout of 2 s', names=ALL, calm=())


SUBJECT = Subject('names', named, (Fault('name does not resolve', removed), Fault('name server is silent', silent)))
