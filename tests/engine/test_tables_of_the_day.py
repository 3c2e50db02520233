import numpy as np
import pytest

from promlstm.engine.manifest import Table
from promlstm.engine.tables import Tables

DAY, HOUR = 86400, 3600
SPECS = (
    Table(name='daily', bits=8, period_seconds=DAY, slots=24, reads=(-1, 0, 1)),
    Table(name='hourly', bits=32, period_seconds=HOUR, slots=60, reads=(0,)),
)


def stored(rows, daily, hourly):
    return np.repeat(np.array([[[daily, hourly]]], float), rows, axis=0)


def test_a_slot_is_read_from_its_own_time_of_day_and_from_the_neighbours_of_it():
    tables = Tables.blank(2, 1, SPECS).remember(5 * HOUR, stored(2, 7, 70_000))
    assert tables.recall(5 * HOUR + 10)[:, 0].tolist() == [[0, 7, 0, 70_000]] * 2
    assert tables.recall(4 * HOUR)[0, 0].tolist() == [0, 0, 7, 70_000]
    assert tables.recall(6 * HOUR + 60)[0, 0].tolist() == [7, 0, 0, 0]
    assert tables.recall(DAY + 5 * HOUR)[0, 0, 1] == 7


def test_the_first_and_the_last_slot_of_a_day_are_neighbours():
    tables = Tables.blank(1, 1, SPECS).remember(23.5 * HOUR, stored(1, 9, 0))
    assert tables.recall(DAY)[0, 0].tolist() == [9, 0, 0, 0]


def test_remembering_changes_no_table_that_is_there():
    before = Tables.blank(1, 1, SPECS).remember(0, stored(1, 1, 1))
    after = before.remember(0, stored(1, 2, 2))
    assert before.recall(0)[0, 0].tolist() == [0, 1, 0, 1]
    assert after.recall(0)[0, 0].tolist() == [0, 2, 0, 2]


def test_numbers_are_rounded():
    assert Tables.blank(1, 1, SPECS).remember(0, stored(1, 254.6, 2.4)).recall(0)[0, 0].tolist() == [0, 255, 0, 2]


def test_new_entities_begin_blank_and_rows_can_be_taken():
    tables = Tables.blank(1, 1, SPECS).remember(0, stored(1, 3, 3)).grown(3)
    assert tables.recall(0)[:, 0, 1].tolist() == [3, 0, 0]
    tables = tables.remember(0, np.array([[[1, 0]], [[2, 0]], [[3, 0]]], float)).take(np.array([2, 0]))
    assert tables.recall(0)[:, 0, 1].tolist() == [3, 1]


def test_history_of_longer_steps_tells_of_some_tables_alone():
    specs = (SPECS[0], Table(name='noise', bits=8, period_seconds=DAY, slots=24, reads=(0,), coarse=False))
    tables = Tables.blank(2, 1, specs).remember(0, stored(2, 5, 6))
    kept = tables.of_coarse_history()
    assert kept.recall(0)[:, 0].tolist() == [[0, 5, 0, 0]] * 2
    assert kept.remember(0, stored(2, 5, 7)).recall(0)[0, 0].tolist() == [0, 5, 0, 7] and tables.recall(0)[0, 0].tolist() == [0, 5, 0, 6]


@pytest.mark.parametrize('rows', [0, 5])
def test_memory_is_that_of_the_slots_which_were_written(rows):
    tables = Tables.blank(rows, 2, SPECS)
    assert tables.nbytes() == 0
    assert tables.remember(0, np.zeros((rows, 2, 2))).nbytes() == rows * 2 * (1 + 4)
