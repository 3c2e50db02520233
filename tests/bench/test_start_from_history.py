"""`bench history`: a start from a real Prometheus, whole, as small as it gets."""

import re
import subprocess
import sys

import pytest
import servers

pytestmark = pytest.mark.real


def test_a_start_from_history_ends_with_scores():
    """Remote write takes what is written, and the program that is started finds all of it."""
    command = [sys.executable, '-m', 'bench', 'history', '--series=30', '--model=builtin:forecaster']
    done = subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert re.search(r'^  30 series, 400 steps are replayed; 24\d\d\d samples written', done.stdout, re.MULTILINE), done.stdout
    assert re.search(r'first score after .* MB at the peak; \d requests for ranges', done.stdout), done.stdout
