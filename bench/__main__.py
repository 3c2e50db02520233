"""Run all measurements, or those that are named: `python -m bench footprint memory step scrape start checkpoint collect incidents`; `failures`,
`retrain`, `servers` and `tolerate`, minutes, only where they are named."""

import importlib
import sys

NAMES = ('footprint', 'memory', 'step', 'scrape', 'start', 'checkpoint', 'collect', 'incidents')
LONG = ('failures', 'retrain', 'servers', 'tolerate')  # only where they are named


def main(names):
    """Run them one after the other; returns the exit status."""
    if unknown := next((name for name in names if name not in NAMES + LONG), None):
        print(f'bench: no measurement {unknown!r}; there are {", ".join(NAMES + LONG)}', file=sys.stderr)
        return 2
    for name in names or NAMES:
        measurement = importlib.import_module(f'bench.{name}')
        print(f'\n{name}: {measurement.__doc__.splitlines()[0]}', flush=True)
        measurement.main()
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
