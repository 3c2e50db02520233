"""What `export` and `max_exported` leave on the page, line by line, and that nothing that rules count by is left out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promlstm.engine.columns import MISSING, READY, WARMING, Verdicts
from promlstm.serve.exposition import Labels, render
from promlstm.serve.selection import select

nan = np.nan
NORMAL, ANOMALOUS, WARM, GONE, NEVER = range(5)  # kinds of rows; of the last there is nothing to show
EXPLAINING = {'expected', 'expected_lower', 'expected_upper', 'usual_lower', 'usual_upper', 'view'}


def of_kinds(kinds):
    """(Verdicts, missing) of rows of these kinds."""
    kinds = np.array(kinds, int)
    known, sampled = np.isin(kinds, (NORMAL, ANOMALOUS)), np.isin(kinds, (NORMAL, ANOMALOUS, WARM))
    number = np.where(known, 2.0, nan)[:, None]
    score = np.select([kinds == NORMAL, kinds == ANOMALOUS], [0.25, 3.0], nan).astype(np.float32)
    status = np.select([known, kinds == WARM], [READY, WARMING], MISSING).astype(np.int8)
    verdicts = Verdicts(
        time=60.0, status=status, score=score, surprise=score, observed=np.where(sampled, 5.0, nan)[:, None], expected=number, lower=number, upper=number,
        usual_lower=number, usual_upper=number, deviation=number, contribution=number.astype(np.float32), view=number.astype(np.float32),
        since=np.where(kinds == ANOMALOUS, 60.0, nan), recurring=np.zeros(len(kinds), np.float32),
    )  # fmt: skip
    return verdicts, kinds == GONE


def on_page(kinds, export, most=100):
    """({family: rows that have a line}, how many are left out)."""
    verdicts, missing = of_kinds(kinds)
    labels = Labels('d', ('',), ('v',)).of([b'{"row":"%d"}' % row for row in range(len(kinds))])
    selection = select(export, most, verdicts, missing)
    blocks = render(verdicts, labels, missing=missing, selection=selection)
    rows = {
        family.removeprefix('promlstm_'): [int(line.split('row="')[1].split('"')[0]) for line in b''.join(block).decode().splitlines()]
        for family, block in blocks.items()
    }
    return rows, selection.left_out


def test_all_is_what_is_rendered_without_a_selection():
    """The default is every line that there was before there was the key."""
    verdicts, missing = of_kinds([NORMAL, ANOMALOUS, WARM, GONE, NEVER])
    labels = Labels('d', ('',), ('v',)).of([b'{"row":"%d"}' % row for row in range(5)])
    assert render(verdicts, labels, missing=missing, selection=select('all', 5, verdicts, missing)) == render(verdicts, labels, missing=missing)


@pytest.mark.parametrize(('export', 'explained'), [('all', [0, 1]), ('anomalous', [1]), ('score', [])])
def test_whose_score_is_explained(export, explained):
    """Scores, alarms, missing entities, and the samples of those without a score are there in each case; the rest is as the key says."""
    rows, left_out = on_page([NORMAL, ANOMALOUS, WARM, GONE, NEVER], export)
    assert left_out == 0
    assert rows['anomaly_score'] == [0, 1]
    assert rows['observed'] == [*explained, 2]
    assert rows['anomaly_start_timestamp_seconds'] == [1] and rows['entity_missing'] == [3]
    assert {family: rows[family] for family in EXPLAINING & rows.keys()} == {
        family: found for family in EXPLAINING if (found := [row for row in explained if family != 'view' or row == 1])
    }


@pytest.mark.parametrize('most', [1, 2, 3, 4])
def test_of_too_many_the_anomalous_and_missing_go_first(most):
    """Then those that came first; whoever is left out has no line at all, and is counted."""
    rows, left_out = on_page([NORMAL, WARM, NEVER, ANOMALOUS, GONE, NORMAL], 'all', most)
    assert left_out == 5 - most
    assert set(itertools.chain.from_iterable(rows.values())) == {*[3, 4, 0, 1][:most]}


@given(st.lists(st.integers(NORMAL, NEVER), max_size=12), st.sampled_from(['all', 'anomalous', 'score']), st.integers(1, 13))
def test_whoever_is_on_the_page_is_seen_to_be_there(kinds, export, most):
    """Rules tell that an entity is there by its score or its sample, and that it is missing: exactly one of them, whatever is exported."""
    rows, left_out = on_page(kinds, export, most)
    scored, sampled, gone = (set(rows.get(family, ())) for family in ('anomaly_score', 'observed', 'entity_missing'))
    assert left_out == max(0, sum(kind != NEVER for kind in kinds) - most)
    assert len(scored | sampled) + len(gone) == sum(kind != NEVER for kind in kinds) - left_out
    assert not (scored | sampled) & gone
