"""A name that does not resolve any more, in a mount namespace with a hosts file of its own: the system's look-up is the real one."""

import shutil
import socket
import subprocess
from contextlib import closing, contextmanager

from torture.faults import Fault, Impossible, Subject
from torture.lane import CALM, STRUCK, Lane, trial

NAME = 'prometheus.torture.test'
ALL = (*STRUCK, *CALM)
UNKNOWN = '127.0.0.1 localhost\n'
NOBODY = 'nameserver 127.0.0.1\n'  # where nothing listens
SILENT = '127.0.0.53'


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
    resolver.write_text(NOBODY)
    script = f'mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    with Lane(world, name, named=NAME, wrap=[*wrapper, 'sh', '-c', script, 'sh']) as lane:
        lane.hosts, lane.resolver, lane.known = hosts, resolver, known
        yield lane


def forget(lane, hosts, resolver):
    """Write both files in place, for they themselves are mounted; and end the connections, which need no name any more."""
    lane.resolver.write_text(resolver)
    lane.hosts.write_text(hosts)
    lane.proxy.drop()


def removed(lane):
    """The only name server says at once that it knows nothing."""
    return trial(
        lane, lambda: forget(lane, UNKNOWN, NOBODY), lambda: forget(lane, lane.known, NOBODY),
        reason='cannot be reached: .*[Nn]ame', names=ALL, calm=(),
    )  # fmt: skip


def silent(lane):
    """The name server takes questions and never answers."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        try:
            server.bind((SILENT, 53))
        except OSError as error:
            raise Impossible(f'port 53 cannot be had: {error.strerror}') from error
        return trial(
            lane, lambda: forget(lane, UNKNOWN, f'nameserver {SILENT}\n'), lambda: forget(lane, lane.known, NOBODY),
            reason='did not answer within the timeout of 2 s', names=ALL, calm=(),
        )  # fmt: skip


SUBJECT = Subject('names', named, (Fault('name does not resolve', removed), Fault('name server is silent', silent)))
