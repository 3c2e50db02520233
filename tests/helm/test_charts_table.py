"""Our own column of docs/explanation/charts.md says what the chart is."""

import re

import pytest
import servers
import yaml

CHART = servers.ROOT / 'helm/promlstm'
PAGE = (servers.ROOT / 'docs/explanation/charts.md').read_text()
TEMPLATES = '\n'.join(path.read_text() for path in sorted(CHART.glob('templates/**/*')) if path.is_file())


def keys(values, above=''):
    """Paths of all values and groups of values."""
    found = set()
    for key, value in values.items():
        found |= {above + key} | (keys(value, f'{above}{key}.') if isinstance(value, dict) else set())
    return found


def named(cell):
    """What a cell has in backticks."""
    return re.findall(r'`([^`]+)`', cell)


KEYS = keys(yaml.safe_load((CHART / 'values.yaml').read_text()))
TABLE = PAGE.split('\n## ')[0]
LINES = [[cell.strip() for cell in line.strip('|').split('|')] for line in TABLE.splitlines() if line.startswith('| ')][1:]
ROWS = [line for line in LINES if not line[0].startswith('**')]
OURS = {row[0]: row[1] for row in ROWS if not re.match(r'no\b', row[1])}
LACKED = [row[0] for row in ROWS if row[0] not in OURS]


def test_every_row_has_a_cell_for_each_chart():
    """And no feature stands twice."""
    assert {len(line) for line in LINES} == {6}
    assert len(OURS) + len(set(LACKED)) == len(ROWS)


@pytest.mark.parametrize('feature', OURS)
def test_what_we_have_names_a_value_or_a_file(feature):
    """And there is such a value in values.yaml, or such a file in the chart or the repository."""
    assert named(OURS[feature])
    for name in named(OURS[feature]):
        assert name in KEYS or (CHART / name).exists() or (servers.ROOT / name).exists(), name


@pytest.mark.parametrize('feature', LACKED)
def test_what_we_lack_is_in_no_template(feature):
    """A `no` of ours stands beside the word that a template would have: who adds the feature corrects the row."""
    assert named(feature)
    for name in named(feature):
        assert name not in TEMPLATES, name


@pytest.mark.parametrize('feature', [feature for feature in OURS if named(feature)])
def test_what_we_have_is_in_a_template(feature):
    """A kind or a field that a row names, and that we say to have, is rendered by some template."""
    for name in named(feature):
        assert name in TEMPLATES, name
