"""A Prometheus of its own that is restarted, killed, emptied and stopped; and TLS with a certificate that expires."""

import shutil
import signal
import ssl
import subprocess
from contextlib import contextmanager

from torture.faults import Fault, Subject
from torture.lane import CALM, STEPS, STRUCK, Exporting, Lane, trial

ALL = (*STRUCK, *CALM)
GONE = r'cannot be reached: Connection (refused|reset)|ended the connection during an answer'


class Own(Exporting):
    """An exporter with a Prometheus that no other lane asks."""

    def __init__(self, world, name):
        self.prometheus = world.prometheus_with_past(f'{name}-prometheus')
        super().__init__(world, name, self.prometheus.url, source={'timeout': '2s'})

    def __enter__(self):
        self.prometheus.start()
        self.prometheus.wait_for('count(struck) == 20')
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.prometheus.child.send_signal(signal.SIGCONT)
        self.prometheus.stop()

    def tried(self, strike, heal, reason=GONE):
        """A trial of all detectors; steps that Prometheus did not scrape meanwhile are missing samples, so there is no twin."""
        self.reader.relaxed.set()  # Prometheus gives the last samples of before for as long as its look-back reaches
        try:
            return trial(self, strike, heal, reason=reason, names=ALL, calm=(), compare=False)
        finally:
            self.reader.relaxed.clear()


def restarted(lane):
    return lane.tried(lane.prometheus.stop, lane.prometheus.start)


def killed(lane):
    return lane.tried(lane.prometheus.kill, lane.prometheus.start)


def emptied(lane):
    def start():
        shutil.rmtree(lane.prometheus.data)
        lane.prometheus.start()

    return lane.tried(lane.prometheus.stop, start)


def stopped(lane):
    child = lane.prometheus.child
    return lane.tried(
        lambda: child.send_signal(signal.SIGSTOP), lambda: child.send_signal(signal.SIGCONT), 'did not answer within the timeout of 2 s'
    )


SUBJECT = Subject(
    'servers',
    Own,
    (
        Fault('Prometheus stopped for a while', stopped, (1, 3)),
        Fault('Prometheus restarted', restarted, (1, 3)),
        Fault('Prometheus killed', killed, (1, 3)),
        Fault('Prometheus emptied', emptied, (1, 3)),
    ),
)


def signed(folder):
    """{name: a file with key and certificate}: `good`, and `old`, which has expired; both of the authority in `authority.pem`."""

    def openssl(*words):
        subprocess.run(['openssl', *map(str, words)], cwd=folder, check=True, capture_output=True)

    openssl(
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        1,
        '-subj',
        '/CN=authority',
        '-keyout',
        'authority.key',
        '-out',
        'authority.pem',
    )
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=prometheus', '-keyout', 'key', '-out', 'request')
    (folder / 'names').write_text('subjectAltName=IP:127.0.0.1\n')
    files = {}
    for name, days in (('good', 1), ('old', -1)):
        authority = ('-CA', 'authority.pem', '-CAkey', 'authority.key', '-CAcreateserial')
        openssl('x509', '-req', '-in', 'request', *authority, '-days', days, '-extfile', 'names', '-out', name)
        files[name] = folder / f'{name}.pem'
        files[name].write_bytes((folder / name).read_bytes() + (folder / 'key').read_bytes())
    return files


@contextmanager
def encrypted(world, name):
    """A lane whose proxy speaks TLS."""
    folder = world.away(f'{name}-certificates')
    files, context = signed(folder), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files['good'])
    with Lane(world, name, context=context, source={'tls_config': {'ca_file': str(folder / 'authority.pem')}}) as lane:
        lane.folder, lane.files = folder, files
        yield lane


def expired(lane):
    def show(file):
        lane.proxy.context.load_cert_chain(lane.files[file])
        lane.proxy.drop()

    return trial(lane, lambda: show('old'), lambda: show('good'), reason='certificate has expired', names=tuple(STEPS), calm=())


def authority_gone(lane):
    file, away = lane.folder / 'authority.pem', lane.folder / 'away.pem'
    return trial(
        lane, lambda: file.rename(away), lambda: away.rename(file), reason='tls_config.ca_file is not a file', names=tuple(STEPS), calm=()
    )


def unencrypted(lane):
    """The server speaks plain HTTP at the port of TLS."""
    context = lane.proxy.context

    def speak(what):
        lane.proxy.context = what
        lane.proxy.drop()

    return trial(
        lane, lambda: speak(None), lambda: speak(context), reason=r'cannot be reached|did not answer within the timeout', names=tuple(STEPS), calm=()
    )


TLS = Subject(
    'certificates',
    encrypted,
    (
        Fault('certificate expired', expired),
        Fault('ca_file removed', authority_gone),
        Fault('plain HTTP at the port of TLS', unencrypted),
    ),
)
