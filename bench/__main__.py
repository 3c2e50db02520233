"""Measure what the exporter does all day, or what is named: `python -m bench`, `python -m bench all`, `python -m bench footprint memory step scrape ui`.

Without names those of USUAL; `--json=FILE` writes them into a file as well. Those of LONG run only where they are named. Options go
to the one that is named, or else to the step: `python -m bench scaling --help`, `python -m bench --entities=100000 --json=FILE`."""

import contextlib
import importlib
import io
import json
import sys
import tempfile
from pathlib import Path

from bench import machine

NAMES = ('footprint', 'memory', 'step', 'detectors', 'today', 'scrape', 'start', 'checkpoint', 'collect', 'incidents', 'forecast', 'ui')
USUAL = ('step', 'scrape', 'start', 'checkpoint', 'detectors', 'churn', 'today')
LONG = ('churn', 'disks', 'failures', 'guard', 'history', 'retrain', 'scaling', 'servers', 'tolerate')  # only where they are named
WITH_OPTIONS = ('history', 'scaling', 'step')  # their main takes arguments, and returns an exit status


def main(arguments):
    """Run them one after the other; returns the exit status."""
    first = next((n for n, argument in enumerate(arguments) if argument.startswith('-')), len(arguments))
    names, options = arguments[:first], arguments[first:]
    if not names:
        file = options[0].partition('=')[2] if len(options) == 1 and options[0].startswith('--json=') else None
        if file or not options:
            return _usual(file)
        names = ['step']
    if names == ['all']:
        names = NAMES
    if unknown := next((name for name in names if name not in NAMES + LONG), None):
        print(f'bench: no measurement {unknown!r}; there are {", ".join(NAMES + LONG)}', file=sys.stderr)
        return 2
    if options and (len(names) != 1 or names[0] not in WITH_OPTIONS):
        print(f'bench: {options[0]}: options are for one of {", ".join(WITH_OPTIONS)}, named before them', file=sys.stderr)
        return 2
    return next((status for name in names if (status := _measure(name, options))), 0)


def _measure(name, options=()):
    """Its exit status."""
    measurement = importlib.import_module(f'bench.{name}')
    print(f'\n{name}: {measurement.__doc__.splitlines()[0]}', flush=True)
    return (measurement.main(options) if name in WITH_OPTIONS else measurement.main()) or 0


def _usual(file):
    """Measure all of USUAL; a file has the step's own figures, and the lines that the others print."""
    found = {}
    with tempfile.NamedTemporaryFile(suffix='.json') as own:
        for name in USUAL:
            with contextlib.redirect_stdout(_Twice(sys.stdout)) as printed:
                if status := _measure(name, [f'--json={own.name}'] if name == 'step' else ()):
                    return status
            found[name] = printed.getvalue().splitlines()
        if file:
            found = json.loads(Path(own.name).read_text()) | {'load_after': machine.load(), 'printed': found}
            Path(file).write_text(json.dumps(found, indent=1) + '\n')
    return 0


class _Twice(io.StringIO):
    """What is written to it goes to another stream as well."""

    def __init__(self, other):
        super().__init__()
        self._other = other

    def write(self, text):
        """As StringIO."""
        self._other.write(text)
        return super().write(text)

    def flush(self):
        """The other stream."""
        self._other.flush()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
