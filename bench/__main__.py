"""Measure a step, or what is named: `python -m bench`, `python -m bench all`, `python -m bench footprint memory step scrape ui`.

Those of LONG take minutes and run only where they are named. Options go to the one that is named, or else to the step:
`python -m bench scaling --help`, `python -m bench --entities=100000 --json=FILE`."""

import importlib
import sys

NAMES = ('footprint', 'memory', 'step', 'detectors', 'today', 'scrape', 'start', 'checkpoint', 'collect', 'incidents', 'forecast', 'ui')
LONG = ('churn', 'disks', 'failures', 'guard', 'retrain', 'scaling', 'servers', 'tolerate')  # only where they are named
WITH_OPTIONS = ('scaling', 'step')  # their main takes arguments, and returns an exit status


def main(arguments):
    """Run them one after the other; returns the exit status."""
    first = next((n for n, argument in enumerate(arguments) if argument.startswith('-')), len(arguments))
    names, options = arguments[:first] or ['step'], arguments[first:]
    if names == ['all']:
        names = NAMES
    if unknown := next((name for name in names if name not in NAMES + LONG), None):
        print(f'bench: no measurement {unknown!r}; there are {", ".join(NAMES + LONG)}', file=sys.stderr)
        return 2
    if options and (len(names) != 1 or names[0] not in WITH_OPTIONS):
        print(f'bench: {options[0]}: options are for one of {", ".join(WITH_OPTIONS)}, named before them', file=sys.stderr)
        return 2
    for name in names:
        measurement = importlib.import_module(f'bench.{name}')
        print(f'\n{name}: {measurement.__doc__.splitlines()[0]}', flush=True)
        status = measurement.main(options) if name in WITH_OPTIONS else measurement.main()
        if status:
            return status
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
