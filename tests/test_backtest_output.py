"""What `promlstm backtest` prints: drop-outs and dates, and what it found although one detector failed."""

import time

import pytest
import tiny_model
from fakes import Samples, noisy, raw

from promlstm import backtest, config
from promlstm.__main__ import main
from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source
from promlstm.engine.detector import Detector
from promlstm.engine.session import load

MIDNIGHT = 1_750_032_000.0  # 2025-06-16 00:00 UTC
NONE = {'': float('nan')}
LIGHT = {'history': '0s', 'model': 'builtin:forecaster'}


class Counted(Samples):
    """Samples that count the instants that were asked for."""

    instants = 0

    def instant(self, expr, time):
        self.instants += 1
        return super().instant(expr, time)


def anomaly(start, end, entity='{host="a"}'):
    return backtest.Anomaly(entity, MIDNIGHT + start, MIDNIGHT + end, MIDNIGHT + start, 1.5, {'': 9.0}, {'': 4.0}, {'': 1.0})


def printed(**found):
    report = backtest.Report('d', MIDNIGHT - 86400, MIDNIGHT + 86400, 60.0, '1/week each', 1.0, 2, 0.5, **found)
    return [' '.join(line.split()) for line in backtest.table([report]).splitlines()]


@pytest.mark.parametrize(
    ('start', 'end', 'row'),
    [
        (600, 1800, '2025-06-16 00:10:00 00:30:00 1.50 9 4 {host="a"}'),
        (-1800, 1800, '2025-06-15 23:30:00 2025-06-16 00:30:00 1.50 9 4 {host="a"}'),
    ],
)
def test_an_alarm_over_midnight_ends_on_a_date(start, end, row):
    """The date of the end stands there where it is not that of the start."""
    assert row in printed(anomalies=[anomaly(start, end)])


def test_entities_that_were_missing_are_in_the_table():
    """From when until when; no such part where nobody was missing."""
    lines = printed(missing=[anomaly(3600, 7200, '{host="gone"}')])
    assert 'MISSING FROM (UTC) UNTIL ENTITY' in lines and '2025-06-16 01:00:00 02:00:00 {host="gone"}' in lines
    assert not any('MISSING' in line for line in printed())


def test_a_detector_that_fails_takes_no_report_of_another_away(tmp_path, capfdbinary):
    """What was found for the others is printed; the failure names its detector, and the status is 1."""
    fleet = Fleet(1, time.time() - 7200, hosts=2)
    with Source(fleet, time.time) as source:
        detectors = [{'name': 'good', 'expr': 'node_cpu_busy_ratio'}, {'name': 'wrong', 'expr': 'sum('}, {'name': 'last', 'expr': 'node_disk_io_busy_ratio'}]
        tree = {'prometheus': {'url': source.url}, 'detectors': [{**one, **LIGHT} for one in detectors]}
        (tmp_path / 'promlstm.yml').write_text(str(tree))
        status = main(['backtest', f'--config.file={tmp_path / "promlstm.yml"}', '--from=-30m'])
    out, err = capfdbinary.readouterr()
    assert status == 1 and b'detector good: ' in out and b'detector last: ' in out and b'detector wrong' not in out
    assert b'promlstm: detector wrong: ' in err


@pytest.mark.parametrize(
    ('born', 'said'),
    [
        (-600, ''),
        (600, '; they begin at 2025-06-16 00:10:00, and the first score takes 3m of them: scores begin at 2025-06-16 00:13:00; take '
              '--from=2025-06-16T00:13:00Z for a span without a gap'),
        (3500, '; they begin at 2025-06-16 00:59:00, and the first score takes 3m of them: nothing is scored in this span; wait until 2025-06-16 01:02:00, '
               'or set a shorter step'),
        (9000, ', and none at --to: check the expression, or choose a span with samples'),
    ],
)  # fmt: skip
def test_history_that_is_too_short_is_told_before_it_is_read(tmp_path, born, said):
    """With the time of the first score, which is that of a replay; where there is enough, it is one query."""
    source = Counted({raw(host='a'): noisy(1, born=MIDNIGHT + born)})
    (settings,) = config.parse('prometheus: {url: http://x}\ndetectors: [{name: d, expr: x, delay: 0s, history: 0s}]').detectors
    subject = Detector(settings, load(tiny_model.write(tmp_path / 'tiny.onnx'), prove=False), source)
    told = backtest.late(subject, MIDNIGHT, MIDNIGHT + 3600)
    assert told == (said and f'no samples at 2025-06-15 23:58:00 UTC, where the warm-up for --from begins{said}')
    assert source.asked == [] and source.instants <= (8 if said else 1)
    scored = list[float]()
    backtest.run(subject, MIDNIGHT, MIDNIGHT + 3600, watch=lambda _, verdicts, __: scored.extend([verdicts.time] * bool((verdicts.score >= 0).any())))
    assert scored[:1] == ([MIDNIGHT + max(60, born + 180)] if born < 3000 else [])


def test_a_full_disk_is_one_line_with_its_path(tmp_path, capfd):
    """Where the report cannot be written; it is no traceback."""
    with Source(Fleet(1, time.time() - 7200, hosts=2), time.time) as source:
        tree = {'prometheus': {'url': source.url}, 'detectors': [{'name': 'good', 'expr': 'node_cpu_busy_ratio', **LIGHT}]}
        (tmp_path / 'promlstm.yml').write_text(str(tree))
        status = main(['backtest', f'--config.file={tmp_path / "promlstm.yml"}', '--from=-30m', '--output=/dev/full'])
    assert status == 1
    assert capfd.readouterr().err == 'promlstm: --output=/dev/full: cannot be written: No space left on device\n'


def test_a_noisy_entity_is_tolerated_in_a_backtest_too(tmp_path):
    """Of alarms that are little above the threshold fewer are left; what is far above it is found, and another entity's alarms are the same."""
    session = load(tiny_model.write(tmp_path / 'tiny.onnx'), prove=False)
    every = lambda period, size: lambda time: size * (round(time - MIDNIGHT) % period == 0)  # noqa: E731
    far = lambda time: every(14400, 3.9)(time) + 30.0 * (time == MIDNIGHT + 79200)  # noqa: E731
    source = Samples({
        raw(host='noisy'): lambda time: 10 + 0.01 * noisy(1)(time) + far(time),
        raw(host='calm'): lambda time: 10 + 0.01 * noisy(2)(time) + every(86400, 3.9)(time - 3600),
    })  # fmt: skip
    found = {}
    for noisy_key in ('alert', 'tolerate'):
        tree = {'name': 'd', 'expr': 'x', 'delay': '0s', 'history': '0s', 'noisy': noisy_key, 'false_alarms': '2/week each'}
        (detector,) = config.parse(str({'prometheus': {'url': 'http://localhost'}, 'detectors': [tree]})).detectors
        report = backtest.run(Detector(detector, session, source), MIDNIGHT, MIDNIGHT + 86340)
        found[noisy_key] = {each.start - MIDNIGHT for each in report.anomalies if 'noisy' in each.entity}
        assert [each.start - MIDNIGHT for each in report.anomalies if 'calm' in each.entity] == [3600.0]
    assert found['alert'] == {14400.0 * k for k in range(1, 6)} | {79200.0}
    # They are 1.15 times the threshold; that of midnight, which is in the warm-up, and the next one have raised it by 1.19.
    assert found['tolerate'] == {14400.0, 79200.0}
