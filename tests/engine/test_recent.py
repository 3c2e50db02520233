"""Recent: the last day in half-hours, the last eight days in quarters, the newest level; over gaps, restarts and changes of the clock."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tiny_model
from fakes import Samples, raw

from promlstm import config as configuration
from promlstm.engine import session, snapshot
from promlstm.engine.detector import Detector
from promlstm.engine.memory import blank
from promlstm.engine.recent import BYTES, IN_QUARTER, QUARTERS, SLOT_SECONDS, SLOTS, Recent, number_at

UTC, BERLIN = ZoneInfo('UTC'), ZoneInfo('Europe/Berlin')
NOON = 1_750_000_000 // 86400 * 86400 + 43200.0


def after(values, step=600.0, start=NOON, recent=None, zone=UTC):
    """The Recent after samples [T] or [T, N], from `start` on."""
    columns = np.reshape(values, (len(values), -1, 1)).astype(float)
    recent = recent or Recent.blank(columns.shape[1], 1, zone)
    for k, column in enumerate(columns):
        recent = recent.after(start + k * step, column)
    return recent


def half(recent, number, row=0):
    """The mean of a half-hour."""
    column = recent.halves[number % SLOTS]
    return float(recent.anchor[row, 0] + column[row, 0]) if len(column) else np.nan


def test_a_half_hour_is_the_mean_of_the_samples_nearest_to_it():
    recent = after([1, 2, 3, 4, 5, 6, 7])  # at 12:00, 12:10, 12:20, …
    noon = number_at(NOON, UTC)
    assert [half(recent, noon + k) for k in range(2)] == pytest.approx([1.5, 4]), '12:00 is of 12:00 and 12:10, 12:30 of 12:20 to 12:40'
    assert recent.number == noon + 2
    assert np.isnan(half(recent, noon + 2)), 'that is under way'


def test_a_quarter_is_the_mean_of_twelve_half_hours():
    start = NOON - 900.0  # the first of 12:00
    recent = after(np.repeat(np.arange(25), 3), start=start)
    quarter = number_at(NOON, UTC) // IN_QUARTER
    means = [float(recent.anchor[0, 0] + recent.quarters[k % QUARTERS][0, 0]) for k in (quarter, quarter + 1)]
    assert means == pytest.approx([np.arange(12).mean(), np.arange(12, 24).mean()])
    assert not len(recent.quarters[(quarter + 2) % QUARTERS]), 'not over yet'


def test_offsets_of_a_large_level_are_exact():
    """A terabyte in bytes that grows by a page a minute: float32 alone would round to 64 KiB."""
    values = 1e12 + 4096.0 * np.arange(200)
    recent = after(values, step=60.0)
    noon = number_at(NOON, UTC)
    assert half(recent, noon + 1) == pytest.approx(values[15:45].mean(), abs=1.0)


def test_levels_and_noise():
    recent = after([10.0, 12.0, np.nan])
    assert np.isnan(recent.levels[0, 0, 0]), 'no sample now'
    assert recent.levels[0, 0, 1:] == pytest.approx([10 + 2 * 2 / 5, 10 + 2 * 2 / 13])
    assert recent.noise[0, 0] == 2.0
    noisy = after(np.tile([0.0, 1.0], 100))
    assert noisy.noise[0, 0] == pytest.approx(1.0)
    assert after([5.0] * 10).noise[0, 0] == 0.0


def test_what_was_not_there_is_not_known():
    """An outage of half a day, and one of longer than all that is kept."""
    recent = after([1.0] * 72)  # twelve hours
    later = recent.after(NOON + 86400.0, np.array([[2.0]]))
    noon = number_at(NOON, UTC)
    assert half(later, noon + 23) == 1.0 and np.isnan([half(later, noon + k) for k in range(25, 48)]).all()
    much_later = recent.after(NOON + 30 * 86400.0, np.array([[2.0]]))
    assert not any(map(len, much_later.halves))
    assert sum(map(len, much_later.quarters)) == 0 or np.isnan(np.concatenate([q for q in much_later.quarters if len(q)])).all()


@pytest.mark.parametrize('start', ['2026-03-28T12:00:00+01:00', '2026-10-24T12:00:00+02:00'])
def test_the_nights_of_daylight_saving_time(start):
    """Half-hours of local time: one that comes twice keeps the later, one that never comes is not known; the next day is as any other."""
    from datetime import datetime

    begin = datetime.fromisoformat(start).timestamp()
    recent = after(np.arange(6 * 36.0), start=begin, zone=BERLIN)
    end = begin + 36 * 3600.0
    for back in range(1, 20):  # of the last ten hours
        number = number_at(end - back * SLOT_SECONDS, BERLIN)
        if number < recent.number:
            assert half(recent, number) == pytest.approx(6 * 36.0 - 3 * back, abs=1.5)


def test_it_grows_and_rows_are_taken_and_put():
    recent = after(np.arange(60.0)[:, None] + [0, 100])
    grown = recent.grown(3).after(NOON + 60 * 600.0, np.array([[1.0], [2.0], [3.0]]))
    assert grown.levels[:, 0, 0].tolist() == [1, 2, 3] and np.isnan(half(grown, recent.number - 1, row=0)) is np.False_
    part = grown.take(np.array([2, 0]))
    assert part.levels[:, 0, 0].tolist() == [3, 1]
    noon = number_at(NOON, UTC)
    assert half(part, noon + 3, row=1) == half(recent, noon + 3)
    back = grown.put(np.array([1]), part.take(np.array([1])))
    assert half(back, noon + 3, row=1) == half(recent, noon + 3), 'the second row is now as the first'
    assert half(grown.take(slice(1, 2)), noon + 3) == half(recent, noon + 3, row=1)


def test_its_size_is_within_half_a_kilobyte_an_entity():
    recent = after(np.ones((24 * 9 * 6, 50)))
    assert recent.nbytes() == 50 * BYTES and BYTES < 512
    assert all(map(len, (*recent.halves, *recent.quarters)))


def test_it_is_written_down_and_read_again(tmp_path):
    """The columns of a checkpoint bring all of it back, bit for bit; a detector without forecasts refuses them."""
    model = session.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    memory = replace(blank(model, UTC, 2, 1, forecast=True), recent=after(np.arange(60.0)[:, None] + [0, 100]))
    columns = memory.stored()
    again = blank(model, UTC, 0, 1, forecast=True).restored(columns).recent
    assert again.number == memory.recent.number
    for name, column in memory.recent.stored().items():
        np.testing.assert_array_equal(again.stored()[name], column)
    assert snapshot._suits('memory.recent.number', 1, 2) and snapshot._suits('memory.recent.half.3', 1, 2)
    assert blank(model, UTC, 2, 1).recent is None and not memory.is_like(blank(model, UTC, 2, 1))


def test_a_detector_fills_it_from_history_as_if_it_had_been_there(tmp_path):
    """Coarse history, then the replay of the last steps: the half-hours of a start are those of a detector that never stopped."""
    config = configuration.parse(
        str({'prometheus': {'url': 'http://localhost'}, 'detectors': [
            {'name': 'disk', 'expr': 'free', 'model': str(tiny_model.write(tmp_path / 'tiny.onnx')), 'delay': '0s', 'history': '8d', 'forecast': {}},
        ]})
    ).detectors[0]  # fmt: skip
    slope = {raw(instance='a'): lambda time: time - NOON}
    detector = Detector(config, session.load(config.model), Samples(slope))
    for _ in detector.warm(lambda: NOON):
        pass
    recent = detector.memory.recent
    assert recent is not None and recent.number == number_at(NOON, UTC)
    expected = [SLOT_SECONDS * k for k in range(-SLOTS, 0)]
    found = [half(recent, recent.number + k) for k in range(-SLOTS, 0)]
    assert found == pytest.approx(expected, abs=500.0), 'where the replay begins, samples of a minute and of five minutes count alike'
    quarters = [float(recent.anchor[0, 0] + column[0, 0]) if len(column) else np.nan for column in recent.quarters]
    assert np.nanmin(quarters) < -7.5 * 86400 and np.nanmax(quarters) > -86400
    assert recent.levels[0, 0, 0] == 0.0
    outside = Detector(configuration.msgspec.structs.replace(config, range=(-1e9, -86400.0)), session.load(config.model), Samples(slope))
    for _ in outside.warm(lambda: NOON):
        pass
    assert np.isnan(outside.memory.recent.levels[0, 0, 0]), 'a sample outside the valid range teaches nothing'
