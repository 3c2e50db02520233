"""`bench queries`: what a real Prometheus is asked for, with as few series as it takes."""

import pytest

from bench import queries

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_every_row_is_a_number(capsys):
    """Samples of steps, windows and shards; then a start in both ways."""
    queries.main(series=20)
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 8 and 'nan' not in ' '.join(rows)
    assert rows[0].split()[-4:-2] == ['20', 'samples'] and rows[1].split()[-4:-2] == ['1200', 'samples']
    assert 'judging' in rows[-2] and rows[-1].endswith(' s')
