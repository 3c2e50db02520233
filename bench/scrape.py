"""Scrapes of a large page by one and by eight scrapers, at rest and while its detector computes step after step: first byte, last byte.

A scraper is a process that scrapes again as soon as it has the whole answer, compressed or plain. If a page is so large that a scrape takes longer than
the measurement, the measurement waits until each scraper has had one.
"""

import subprocess
import sys
import threading
from itertools import product
from time import perf_counter, sleep

from bench import arguments, warmed
from bench.answers import Answers, config
from promlstm.engine import session as sessions
from promlstm.query.prometheus import Prometheus
from promlstm.serve import exposition
from promlstm.serve.page import Page, pack
from promlstm.serve.server import Server
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry

ENTITIES, MODEL = 100_000, 'builtin:default'
ENCODINGS = {'gzip': 'gzip', 'plain': 'identity'}  # as a scraper asks for it
SCRAPERS = (1, 8)
STEPS, REST_SECONDS = 12, 5.0  # over which scrapes are measured
COLUMNS = ('first_byte_p50_seconds', 'first_byte_p99_seconds', 'last_byte_p50_seconds', 'last_byte_p99_seconds')
# A scraper is another process. It prints a line for each scrape until its standard input ends: seconds to the first byte, to the last.
SCRAPER = '''
import socket, sys, time
port, gzip = int(sys.argv[1]), sys.argv[2]
request = f'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nAccept-Encoding: {gzip}\\r\\nConnection: close\\r\\n\\r\\n'.encode()
while True:
    start = time.perf_counter()
    with socket.create_connection(('127.0.0.1', port)) as connection:
        connection.sendall(request)
        connection.recv(1)
        first = time.perf_counter() - start
        while connection.recv(1 << 20):
            pass
    print(first, time.perf_counter() - start, flush=True)
    time.sleep(0.02)
'''


def add_options(parser):
    """Add the options of `main`."""
    parser.add_argument('--entities', metavar='N', type=arguments.at_least(2), default=ENTITIES, help='entities on the page (default %(default)s)')
    parser.add_argument('--model', metavar='MODEL', default=MODEL, help=arguments.MODEL)


def main(entities=ENTITIES, model=MODEL):
    """Print a row without steps and one with steps, for each encoding, in milliseconds; returns them in seconds."""
    rows = []
    with Answers(entities) as url:
        settings = config(url)
        session = sessions.load(sessions.resolve(model))
        config_of, source = settings.detectors[0], Prometheus(settings.prometheus)
        subject, begin = warmed.detector(config_of, session, source, entities, warmed.memory(config_of, session))
        page = Page(lambda: 0.0)
        server = Server('127.0.0.1:0', Site(page=page, telemetry=Telemetry(), statuses=dict, ready=lambda: True))
        server.start()
        steps = _steps(subject, begin, page, exposition.Labels('bench', ('',), session.bundle.manifest.views))
        next(steps)
        next(steps)
        print(f'  {"":42}{"first byte p50":>16}{"p99":>8}{"last byte p50":>16}{"p99":>8}{"scrapes":>10}')
        for encoding, scrapers in product(ENCODINGS, SCRAPERS):
            for name, count in (('at rest', 0), ('while steps run', STEPS)):
                row = _row(server.server_port, ENCODINGS[encoding], scrapers, steps, count)
                cells = '{:16.1f}{:8.1f}{:16.1f}{:8.1f}'.format(*(1e3 * row[column] for column in COLUMNS))
                print(f'  {f"{encoding}, {scrapers} at a time, {name}":42}{cells}{row["scrapes"]:10}', flush=True)
                rows.append({'encoding': encoding, 'at_a_time': scrapers, 'steps_run': bool(count)} | row)
        server.stop()
    return {'entities': entities, 'model': model, 'rows': rows}


def _steps(subject, begin, page, labels):
    for i in range(10_000):
        step = subject.step(begin + subject.config.step * i)
        labels = labels.of(step.identities)
        blocks = pack(exposition.lines(step.verdicts, labels, missing=step.missing), subject.session.threads)
        subject.commit(step)
        page.publish('bench', blocks, 1.0)
        yield i


def _row(port, encoding, scrapers, steps, count):
    processes = [subprocess.Popen([sys.executable, '-c', SCRAPER, str(port), encoding], stdout=subprocess.PIPE, text=True) for _ in range(scrapers)]
    times = []
    readers = [threading.Thread(target=lambda one=one: times.extend(tuple(map(float, line.split())) for line in one.stdout)) for one in processes]
    for reader in readers:
        reader.start()
    until = perf_counter() + REST_SECONDS
    for _ in range(count):
        next(steps)
    while (not count and perf_counter() < until) or len(times) < scrapers:
        if count:
            next(steps)
        else:
            sleep(0.1)
    for process, reader in zip(processes, readers, strict=True):
        process.kill()
        reader.join()
        process.wait()
    first, last = (sorted(column) for column in zip(*times, strict=True))
    numbers = (quantile(column, share) for column in (first, last) for share in (0.5, 0.99))
    return dict(zip(COLUMNS, numbers, strict=True)) | {'scrapes': len(times)}


def quantile(ordered, share):
    """The quantile of a share."""
    return ordered[int(share * (len(ordered) - 1))]
