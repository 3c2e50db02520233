"""Put faults to the real program and print what happened: `make torture`, `make torture ARGS=--short`, `make torture ARGS="--only bomb"`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# This folder as the package `torture`, and its modules not as modules of their own.
sys.path[:1] = [str(ROOT), str(ROOT / 'tests'), str(ROOT / 'tests/support')]

from torture.command import main  # noqa: E402 (found by the line above)

if __name__ == '__main__':
    sys.exit(main())
