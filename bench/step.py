"""One live step of a univariate detector over loopback HTTP, split by stage; seconds, medians of some steps."""

import gc
from collections import defaultdict
from contextlib import contextmanager
from time import perf_counter

import requests

from bench.answers import Answers, config
from promlstm.engine import session as sessions
from promlstm.engine.detector import Detector
from promlstm.query.prometheus import Prometheus
from promlstm.serve import exposition
from promlstm.serve.page import Page

SIZES = (1_000, 10_000, 100_000)
STEPS = 7
STAGES = ('place', 'recall', 'judge', 'score', 'remember', 'render')


def main():
    """Print a row per size. `transfer` is the loopback and the server's part of a query, `decode` ours."""
    session = sessions.load(sessions.resolve('builtin:default'))
    columns = ('transfer', 'decode', *STAGES, 'publish', 'own time')
    print('  entities ' + ''.join(f'{name:>10}' for name in columns) + '     (own time: all but transfer)')
    for entities in SIZES:
        with Answers(entities) as url:
            row = measure(session, url)
        print(f'  {entities:8} ' + ''.join(f'{row[name]:10.4f}' for name in columns), flush=True)


def measure(session, url):
    """{column: seconds} of one size."""
    settings = config(url)
    taken = defaultdict(list)

    @contextmanager
    def stage(name):
        start = perf_counter()
        yield
        taken[name].append(perf_counter() - start)

    subject = Detector(settings.detectors[0], session, Prometheus(settings.prometheus), stage)
    labels = exposition.Labels('bench', ('',), session.bundle.manifest.views)
    page = Page(lambda: 0.0)
    gc.freeze()
    gc.disable()
    for i in range(STEPS + 2):
        if i == 2:  # the first builds the table, the second allocates
            taken.clear()
        step = subject.step(1_750_000_200.0 + 60 * i)
        with stage('render'):
            labels = labels.of(step.identities)
            blocks = exposition.render(step.verdicts, labels, missing=step.missing)
        subject.commit(step)
        with stage('publish'):
            page.publish('bench', blocks, 1.0)
        with stage('transfer'):
            requests.post(url + '/api/v1/query', data={'query': 'x'}, timeout=60).content  # noqa: B018 (read to its end)
    gc.enable()
    row = {name: sorted(times)[len(times) // 2] for name, times in taken.items()}
    row['decode'] = max(0.0, row.pop('query') - row['transfer'])
    return row | {'own time': sum(row[name] for name in ('decode', *STAGES, 'publish'))}
