"""Making a model from 1 000 series over four weeks at 60 s, with the shipped recipe: seconds and peak memory of each stage.

Needs TensorFlow and about a quarter of an hour, so it runs only when it is named. Samples are computed in place of a
Prometheus. Each stage is a process of its own.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from bench import arguments

ENTITIES, WEEKS, DAY = 1000, 4, 86400
END = 1_764_000_000 // DAY * DAY
STAGES = ('train', 'export', 'verify', 'calibrate', 'evaluate', 'release')


def add_options(parser):
    """Add the options of `main`."""
    parser.add_argument('--entities', metavar='N', type=arguments.at_least(1), default=ENTITIES, help='number of series (default %(default)s)')
    parser.add_argument('--weeks', metavar='N', type=arguments.at_least(1), default=WEEKS, help='weeks of samples (default %(default)s)')


def main(entities=ENTITIES, weeks=WEEKS):
    """Print a row for each stage."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / 'promlstm.yml').write_text('{prometheus: {url: "http://x"}, detectors: [{name: bench, expr: x}]}')
        spans = f'{{train: [[{END - 7 * weeks * DAY}, {END - 3 * DAY}]], test: [[{END - 3 * DAY}, {END}]]}}'
        (root / 'own.yml').write_text(f'name: bench\nseed: 1\ndata: {{config: promlstm.yml, spans: {spans}}}\n')
        fetch = 'import sys; from bench.retrain import fetch; fetch(*sys.argv[1:])'
        _row('fetch', [sys.executable, '-c', fetch, str(root), str(entities)])
        for stage in STAGES:
            force = ['--force'] if stage == 'release' else []  # what the gates say of noise is not the point
            _row(stage, [sys.executable, '-m', 'convert', stage, str(root / 'own.yml'), '--work', str(root / 'work'), *force])


def fetch(root, entities):
    """The stage fetch, without Prometheus."""
    from bench.answers import Past
    from convert import recipe
    from convert.data import collect

    path = Path(root) / 'own.yml'
    collect.collect(path, recipe.load(path).data, Path(root) / 'work/data', log=lambda text: None, sources={'prometheus': Past(int(entities))})


def _row(stage, command):
    began = time.monotonic()
    null = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
    _, status, usage = os.wait4(pid, 0)
    os.close(null)
    failed = '' if status == 0 else f'   failed: {" ".join(command[1:5])} …'
    print(f'  {stage:10} {time.monotonic() - began:8.1f} s {usage.ru_maxrss / 1024:8.0f} MB{failed}', flush=True)
