"""Collecting training data of 1 000 series over four weeks at 60 s: seconds and peak memory of each step; then a quarter of the series.

Samples are computed instead of read from Prometheus, so neither its work nor the network is measured. Memory is that of the process, without
TensorFlow.
"""

import subprocess
import sys

SIZES = (250, 1000)
WEEKS = 4
RUN = """
import resource, sys, tempfile, time
from pathlib import Path
from convert.data import collect, spans
from bench.answers import Past
from convert.recipe import Data

ENTITIES, WEEKS, DAY = int(sys.argv[1]), int(sys.argv[2]), 86400
END = 1_764_000_000 // DAY * DAY
def row(what, begun):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'  {ENTITIES:8}  {what:34} {time.monotonic() - begun:8.1f} s {peak:8.0f} MB', flush=True)

with tempfile.TemporaryDirectory() as name:
    root = Path(name)
    (root / 'promlstm.yml').write_text('{prometheus: {url: "http://x"}, detectors: [{name: bench, expr: x}]}')
    parts = spans.Parts(train=((END - 7 * WEEKS * DAY, END - 3 * DAY),), test=((END - 3 * DAY, END),))
    begun = time.monotonic()
    section = Data(config='promlstm.yml', spans=parts)
    (data,) = collect.collect(root / 'own.yml', section, root / 'data', log=lambda text: None, sources={'prometheus': Past(ENTITIES)})
    row('fetched, stored and inspected', begun)
    begun = time.monotonic()
    data.digest()
    row('digest', begun)
    begun = time.monotonic()
    for batch in data.batches('train', steps=1440):
        pass
    row('read as windows of 1 440 steps', begun)
    begun = time.monotonic()
    for batch in data.batches('train', steps=1440, series=500):
        pass
    row('read as 500 windows drawn', begun)
    print(f'  {ENTITIES:8}  on disk {sum(file.stat().st_size for file in root.rglob("*.npz")) / 1e6:43.0f} MB')
"""


def main():
    """Print a row for each step of each size, each size in its own process."""
    for entities in SIZES:
        with subprocess.Popen([sys.executable, '-c', RUN, str(entities), str(WEEKS)], stdout=subprocess.PIPE, text=True) as own:
            for line in own.stdout:
                print(line, end='', flush=True)
        if own.returncode:
            raise SystemExit(own.returncode)
