"""Configuration files that are none: `check-config` says so in a line for each fault, quickly, with little memory, and runs nothing that stands in them."""

import os
import subprocess
import sys
from contextlib import contextmanager

from exporter import RUNTIME

from torture.faults import Fault, Subject
from torture.rows import Attempt

PATIENCE_SECONDS = 120
MEMORY_BYTES = 3_000_000_000  # of addresses, most of which ONNX Runtime maps and never touches
GOOD = 'prometheus:\n  url: http://127.0.0.1:9\ndetectors:\n  - name: a\n    expr: up\n    step: 5s\n'
LAUGHS = 'a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n' + ''.join(f'a{n}: &a{n} [{",".join([f"*a{n - 1}"] * 10)}]\n' for n in range(1, 10))
MERGES = 'm0: &m0 {k0: 1}\n' + ''.join(f'm{n}: &m{n} {{<<: [{",".join([f"*m{n - 1}"] * 10)}]}}\n' for n in range(1, 9))

# {name: bytes or text}; what YAML or promlstm cannot take
BAD = {
    'is empty': '',
    'is noise': bytes(range(256)) * 20,
    'is UTF-16': GOOD.encode('utf-16'),
    'holds a NUL': GOOD + '\0',
    'is two documents': f'{GOOD}---\n{GOOD}',
    'is indented by tabs': GOOD.replace('    ', '\t'),
    'has a key twice': GOOD + '    step: 9s\n',
    'has a list for a text': GOOD.replace('expr: up', 'expr: [up]'),
    'has a step without end': GOOD.replace('5s', '1e999'),
    'has a step of a millisecond': GOOD.replace('5s', '1ms'),
    'has a range of NaN': GOOD + '    range: [.nan, 1]\n',
    'has 5 000 digits': GOOD + f'    max_entities: {"9" * 5000}\n',
    'makes an object of Python': GOOD + 'x: !!python/object/apply:os.system ["touch taken"]\n',
    'is 20 000 brackets': '[' * 20_000,
    'refers to itself': GOOD.replace('detectors:\n', 'detectors: &d\n') + '  - *d\n',
    'is a billion laughs': LAUGHS + GOOD.replace('detectors', '  headers: {a: *a9}\ndetectors'),
    'merges a billion keys': MERGES + GOOD,
}
LINES = {'is a billion laughs': 11, 'merges a billion keys': 9}  # of what has more than one fault: each key is none of ours


@contextmanager
def opened(world, name):
    """A folder."""
    folder = world.away(name)
    yield lambda: (world, folder)


def checked(world, folder, file):
    """(exit status, all that was printed) of `check-config`."""
    python = RUNTIME if RUNTIME.exists() else sys.executable
    command = ['prlimit', f'--as={MEMORY_BYTES}', python, '-m', 'promlstm', 'check-config', '--offline', str(file)]
    child = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace'
    )
    try:
        world.until(lambda: child.poll() is not None, PATIENCE_SECONDS, 'check-config')
    finally:
        child.kill()
        printed, _ = child.communicate()
    return child.returncode, printed


def judged(status, printed, folder, faults=1):
    tried = Attempt(survived=status in (1, 2))
    lines = printed.splitlines()
    said = len(lines) == faults and all(line.startswith('promlstm: ') and 'bad.yml' in line for line in lines)
    report = any(line.startswith('error: ') for line in lines) and lines[-1].endswith(
        'FAILED, see the errors above'
    )  # it can be read, not run
    tried.seen = {'message': said or report}
    if not tried.survived or not tried.seen['message']:
        tried.problems.append(f'status {status}, {len(lines)} lines: {printed[-200:]!r}')
    if 'Traceback' in printed:
        tried.problems.append('a traceback')
    if (folder / 'taken').exists():
        tried.problems.append('what stands in the file was run')
    return tried


def bad(name, content):
    """A file with this content."""

    def attempt(place):
        world, folder = place()
        file = folder / 'bad.yml'
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return judged(*checked(world, folder, file), folder, LINES.get(name, 1))

    return Fault(f'configuration {name}', attempt, (1, 1))


def kind(name, make):
    """What is no file."""

    def attempt(place):
        world, folder = place()
        folder = world.away(f'{folder.name}-{make.__name__}')
        file = folder / 'bad.yml'
        make(file)
        return judged(*checked(world, folder, file), folder)

    return Fault(f'configuration {name}', attempt, (1, 1))


def mkdir(file):
    file.mkdir()


def missing(file):
    file.unlink(missing_ok=True)


def endless(file):
    file.unlink(missing_ok=True)
    file.symlink_to('/dev/zero')


def unreadable(file):
    """A link to itself cannot be read by anyone, root included."""
    file.unlink(missing_ok=True)
    os.symlink(file.name, file)


SUBJECT = Subject(
    'config',
    opened,
    (
        *(bad(name, content) for name, content in BAD.items()),
        kind('is a folder', mkdir),
        kind('is not there', missing),
        kind('is a link to itself', unreadable),
        kind('never ends', endless),
    ),
)
