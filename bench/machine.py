"""The machine of a measurement, and the memory of this process, as Linux reports them."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from promlstm import __version__

PACKAGES = ('numpy', 'onnxruntime', 'orjson', 'msgspec', 'isal')


def described():
    """Date, machine, load and versions, for a file."""
    return {
        'date': datetime.now(UTC).isoformat(timespec='seconds'),
        'machine': {
            'processor': _field('/proc/cpuinfo', 'model name') or platform.machine(),
            'cores': len(os.sched_getaffinity(0)),
            'memory_bytes': 1024 * int((_field('/proc/meminfo', 'MemTotal') or '0').split()[0]),
            'system': platform.platform(),
        },
        'load': load(),
        'versions': {'promlstm': __version__, 'python': platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def line(about):
    """Date, machine, load and versions in one line."""
    machine = about['machine']
    versions = ', '.join(f'{name} {number}' for name, number in about['versions'].items())
    return f'{about["date"]}, {machine["processor"]}, {machine["cores"]} cores, load {about["load"][0]:.1f} before; {versions}'


def load():
    """Load averages of 1, 5 and 15 minutes."""
    return [round(number, 2) for number in os.getloadavg()]


def resident_bytes():
    """Memory of this process."""
    return _status('VmRSS')


def peak_bytes(process='self'):
    """Peak memory since `forget_peak`, or since the start where that is not allowed; of this process, or of another by its pid."""
    return _status('VmHWM', process)


def forget_peak():
    """Reset the peak."""
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')


def _status(name, process='self'):
    return 1024 * int(_field(f'/proc/{process}/status', name).split()[0])


def _field(path, name):
    for each in Path(path).read_text().splitlines():
        if each.partition(':')[0].strip() == name:
            return each.partition(':')[2].strip()
    return ''
