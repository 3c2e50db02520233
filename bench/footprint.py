"""What an exporter needs without any detectors: size on disk, time to import, memory at rest."""

import subprocess
import sys
import sysconfig
from pathlib import Path

RUNS = 5
AT_REST = """
import resource, time
start = time.perf_counter()
import promlstm.__main__, promlstm.live.scheduler, promlstm.serve.server, promlstm.config, promlstm.check, promlstm.backtest
imported = time.perf_counter() - start
from promlstm.engine.session import load, resolve
load(resolve('builtin:default'))
proven = time.perf_counter() - start - imported
rss = int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))
print(imported, proven, rss)
"""


def main():
    """Print the three figures, medians of some runs in fresh processes."""
    site = Path(sysconfig.get_paths()['purelib'])
    size = sum(file.stat().st_size for file in site.rglob('*') if file.is_file() and not file.is_symlink())
    print(f'  installed packages        {size / 1e6:8.1f} MB   ({site.parent.parent.parent.name}: all of its site-packages)')
    runs = [subprocess.run([sys.executable, '-c', AT_REST], capture_output=True, text=True, check=True).stdout.split() for _ in range(RUNS)]
    imported, proven, rss = (sorted(float(run[i]) for run in runs)[RUNS // 2] for i in range(3))
    print(f'  import                    {imported:8.2f} s')
    print(f'  load and prove a model    {proven:8.2f} s')
    print(f'  resident, model loaded    {rss / 1000:8.1f} MB')
