"""Print what each preset sends for each cause: `python docs/causes [PRESET …]`, from a clone, with the tools of `make tools`."""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# This folder as the package `causes`, and its modules not as modules of their own.
sys.path[:1] = [str(ROOT), str(ROOT / 'docs'), str(ROOT / 'tests/support')]

from causes import table  # noqa: E402 (found by the line above)
from promlstm import presets  # noqa: E402


def main(argv=None):
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        'python docs/causes', description='Print what each preset sends for each cause; all takes some minutes.'
    )
    parser.add_argument('preset', nargs='*', metavar='PRESET', help=f'only these, of {", ".join(presets.names())} (default: all)')
    parser.add_argument('--verbose', action='store_true', help='print each alert with its minute, too')
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.preset) - set(presets.names())):
        parser.error(f'{", ".join(unknown)}: no such preset; there are {", ".join(presets.names())}')
    with tempfile.TemporaryDirectory(prefix='promlstm-causes-') as directory:
        found, sent = table.outcome(args.preset or presets.names(), table.model(), Path(directory))
    if args.verbose:
        print(table.detail(found, sent), file=sys.stderr)
    print(table.text(sent))
    return 0


if __name__ == '__main__':
    sys.exit(main())
