"""The pages of 100 000 entities, one in a hundred anomalous: milliseconds and bytes of the most frequent requests, and how much the pages add to a step."""

import gc
from dataclasses import replace
from functools import partial
from time import perf_counter, process_time

import numpy as np
import requests

from bench.answers import Answers, config
from promlstm.engine import session as sessions
from promlstm.engine.detector import Detector
from promlstm.incidents.members import Origin
from promlstm.incidents.table import Incidents
from promlstm.live.clock import Clock
from promlstm.live.incidents import Gathering
from promlstm.live.status import Status
from promlstm.query.prometheus import Prometheus
from promlstm.serve import exposition
from promlstm.serve.page import Page, pack
from promlstm.serve.server import Server
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry
from promlstm.ui.board import Board
from promlstm.ui.context import Context
from promlstm.ui.site import Ui
from promlstm.ui.templates import Templates

ENTITIES, ANOMALOUS, STEPS, TIMES = 100_000, 1_000, 7, 15
NOW = 1_750_000_200.0
ASKED = {
    'first page': '/',
    'first page, newest first': '/?sort=since',
    'page, filtered by a regular expression': '/?match=instance%3D~"10.0.1.*"',
    'anomalies': '/api/v1/anomalies',
    'detectors': '/detectors',
    'search for a text': '/detectors?detector=bench&q=service-77-',
    'search that all match': '/detectors?detector=bench&q=service',
    'search with a regular expression': '/detectors?detector=bench&match=instance%3D~"10.*1:9100"',
    'search, by name': '/detectors?detector=bench&sort=name',
    'entities': '/api/v1/entities?detector=bench&q=service-77-',
}


def main():
    """Print a row for each page, medians over loopback HTTP; then the duration of a step without and with pages."""
    with Answers(ENTITIES) as url:
        settings = config(url)
        session = sessions.load(sessions.resolve('builtin:default'))
        subject = Detector(settings.detectors[0], session, Prometheus(settings.prometheus))
        board = Board(lambda: NOW + 60 * STEPS)
        step, observe = run(subject, board, session)
        (standing,) = board.present(['bench'])
        server = serve(settings, board, standing)
        print(f'  {"":40}{"median, ms":>12}{"slowest":>10}{"CPU, ms":>10}{"plain, KB":>12}{"gzip, KB":>10}')
        for name, path in ASKED.items():
            print(f'  {name:40}' + '{:12.0f}{:10.0f}{:10.0f}{:12.1f}{:10.1f}'.format(*asked(server.url + path)), flush=True)
        server.stop()
    columns = [getattr(standing.verdicts, name) for name in standing.verdicts.__slots__]
    held = sum(column.nbytes for column in (*columns, standing.missing, standing.lost) if isinstance(column, np.ndarray)) / ENTITIES
    print(f'  the newest step is kept: {held:.0f} bytes for each entity')
    print(f'  a step takes {step * 1e3:.0f} ms with its query over loopback; pages add {observe * 1e3:.2f} ms to it, {observe / step:.2%}')


def run(subject, board, session):
    """(seconds of a step, seconds that the board adds): medians. The board holds the last one, with anomalies in it."""
    labels, page, taken = exposition.Labels('bench', ('',), session.bundle.manifest.views), Page(lambda: 0.0), []
    gc.freeze()
    gc.disable()
    for i in range(STEPS + 2):
        began = perf_counter()
        step = subject.step(NOW + 60 * i)
        labels = labels.of(step.identities)
        blocks = pack(exposition.lines(step.verdicts, labels, missing=step.missing), session.threads)
        subject.commit(step)
        page.publish('bench', blocks, 1.0)
        stepped = perf_counter()
        board.observe(subject, step.verdicts, step.missing)
        taken.append((stepped - began, perf_counter() - stepped))
    gc.enable()
    rows = np.random.default_rng(1).choice(ENTITIES, ANOMALOUS, replace=False)
    verdicts = anomalous(step.verdicts, rows)
    board.observe(subject, verdicts, step.missing)
    return tuple(sorted(column)[len(column) // 2] for column in zip(*taken[2:], strict=True))


def anomalous(verdicts, rows):
    """The same step with some anomalous rows."""

    def put(column, value):
        column = column.copy()
        column[rows] = value
        return column

    ranks, scores = np.linspace(1, 3, len(rows)), np.random.default_rng(2).random(ENTITIES, np.float32)
    return replace(
        verdicts, score=put(scores, ranks), since=put(np.full(ENTITIES, np.nan), verdicts.time - 60 * np.arange(len(rows))),
        expected=np.full_like(verdicts.expected, 8.0), lower=np.full_like(verdicts.lower, 7.0), upper=np.full_like(verdicts.upper, 9.0),
        status=np.zeros_like(verdicts.status), view=put(np.full_like(verdicts.view, np.nan), 1 / verdicts.view.shape[1]),
        contribution=np.ones_like(verdicts.contribution),
    )  # fmt: skip


def serve(settings, board, standing):
    """A server with the pages; the incidents know of the anomalies."""
    table, clock = Incidents(settings.root_cause), Clock(start=NOW + 60 * STEPS, speed=1e-9)
    observe = partial(table.observe, Origin.of(standing.config, standing.views))
    quiet = replace(standing.verdicts, time=standing.verdicts.time - 60, score=np.zeros(ENTITIES, np.float32), since=np.full(ENTITIES, np.nan))
    observe(quiet, standing.lost, standing.identities)
    observe(replace(standing.verdicts, since=np.where(standing.verdicts.score >= 1, standing.verdicts.time, np.nan)), standing.lost, standing.identities)
    incidents = Gathering(settings.root_cause, clock, Telemetry(process=False), lambda blocks, expires: None, table)
    statuses = {'bench': Status(stepped=True, scored=True)}
    context = Context(
        board=board, statuses=lambda: statuses, in_force=lambda: (settings, {}), incidents=incidents, now=lambda: NOW + 60 * STEPS, templates=Templates()
    )
    site = Site(page=Page(lambda: 0.0), telemetry=Telemetry(process=False), statuses=lambda: statuses, ready=lambda: True, pages=Ui(context).answer)
    server = Server('127.0.0.1:0', site)
    server.start()
    return server


def asked(url):
    """(median and slowest milliseconds of the whole answer, those of processors, client and server; kilobytes plain and as gzip)."""
    taken, used = [], []
    with requests.Session() as session:
        for _ in range(TIMES):
            began, before = perf_counter(), process_time()
            answer = session.get(url, headers={'Accept-Encoding': 'gzip'}, timeout=60)
            taken.append(1e3 * (perf_counter() - began))
            used.append(1e3 * (process_time() - before))
            answer.raise_for_status()
    return sorted(taken)[TIMES // 2], max(taken), sorted(used)[TIMES // 2], len(answer.content) / 1e3, int(answer.headers['Content-Length']) / 1e3
