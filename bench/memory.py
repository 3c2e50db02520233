"""Memory of an entity of one feature, in bytes."""

import subprocess
import sys

from promlstm.engine.session import load, resolve

ENTITIES = 50_000
GROWTH = f"""
import gc
from bench.answers import config
from promlstm.engine.detector import Detector
from promlstm.query.prometheus import _Answer, Vector
from promlstm.engine.session import load, resolve
from promlstm.serve import exposition
import msgspec, numpy as np

def resident():
    gc.collect()
    return 1024 * int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))

class Source:
    def instant(self, expr, time):
        return Vector([b'{{"instance":"10.0.%d.%d:9100","job":"node","namespace":"team","pod":"service-%06x","zone":"eu"}}' % (i >> 8, i & 255, i)
                       for i in range({ENTITIES})], np.full({ENTITIES}, 1.0))

session = load(resolve('builtin:default'))
subject = Detector(config('http://localhost').detectors[0], session, Source())
labels = exposition.Labels('bench', ('',), session.bundle.manifest.views)
before = resident()
for i in range(3):
    step = subject.step(1_750_000_200.0 + 60 * i)
    labels = labels.of(step.identities)
    blocks = exposition.render(step.verdicts, labels, missing=step.missing)
    subject.commit(step)
    del step, blocks  # a runner keeps neither: the page has the text
print((resident() - before) / {ENTITIES})
"""


def main():
    """Print the columns as counted, and the rest as a process grew."""
    bundle = load(resolve('builtin:default')).bundle
    grown = float(subprocess.run([sys.executable, '-c', GROWTH], capture_output=True, text=True, check=True).stdout)
    print(f'  state of the graph          {bundle.state_bytes(1):6}')
    print(f'  seasonal slots, all known   {bundle.season_bytes(1):6}')
    print(
        f'  labels, tables, the step    {grown - bundle.state_bytes(1):6.0f}   (growth of a process with {ENTITIES} entities, less the states)'
    )
