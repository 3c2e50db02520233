"""Four days of history of some hundred series (`make accept`: 1 000) in a real Prometheus: a warm start from it, and what a backtest finds in it."""

import json
import subprocess
import sys
import time

import fleet_history
import pytest
import requests
from exporter import Exporter
from requirements import is_accept
from servers import Prometheus, backfill, wait_until

pytestmark = pytest.mark.real

SERIES, DAYS = 1000 if is_accept() else 250, 4
DETECTOR = {'name': 'past', 'expr': 'past_load'}
LIGHT = DETECTOR | {'model': 'builtin:forecaster', 'history': '1d'}  # where it is about what is printed


@pytest.fixture(scope='module')
def history(tmp_path_factory):
    """A running Prometheus, the injected faults, and the end of the telemetry."""
    directory = tmp_path_factory.mktemp('history')
    end = time.time() // 60 * 60
    times, values, faults = fleet_history.telemetry(SERIES, DAYS, end)
    with fleet_history.prometheus(directory, times, values) as prometheus:
        yield prometheus, faults, end


@pytest.fixture(scope='module')
def report(history, tmp_path_factory):
    """The report of a backtest over the last day."""
    prometheus, _, end = history
    (found,) = json.loads(
        backtest(tmp_path_factory.mktemp('backtest'), prometheus, f'--from={end - 86400}', f'--to={end}', '--format=json')
    )
    return found


def backtest(directory, prometheus, *args, detector=DETECTOR):
    """Standard output of `promlstm backtest`."""
    config = directory / 'promlstm.yml'
    config.write_text(json.dumps({'prometheus': {'url': prometheus.url}, 'detectors': [detector]}))
    command = [sys.executable, '-m', 'promlstm', 'backtest', f'--config.file={config}', *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def touching(spells, fault, grace=600):
    """The spells of a fault's entity that overlap it."""
    return [
        spell
        for spell in spells
        if f'host-{fault.series:04}:' in spell['entity'] and spell['start'] <= fault.end + grace and spell['end'] >= fault.start
    ]


def around(fault):
    """Flags for the hours about a fault."""
    return f'--from={fault.start - 7200}', f'--to={fault.start + 5400}'


def of_kind(faults, kind):
    return [fault for fault in faults if fault.kind == kind]


def test_first_scores_come_without_waiting_for_new_history(history, tmp_path):
    """An exporter that starts scores all entities from history alone: nothing new is being scraped here."""
    prometheus, _, _ = history
    began = time.monotonic()
    with Exporter(tmp_path, prometheus.url, [DETECTOR]) as exporter:
        page = wait_until(lambda: scored(exporter), 240, 'first scores')
        print(f'first scores of {SERIES} series after {time.monotonic() - began:.1f} s')
        assert page.count('\npromlstm_anomaly_score{') > 0.95 * SERIES
        assert exporter.stop() == 0


def scored(exporter):
    page = requests.get(exporter.url + '/metrics', timeout=30).text
    return page if '\npromlstm_anomaly_score{' in page else ''


@pytest.mark.parametrize('kind', ['spike', 'shift', 'drop'])
def test_spikes_shifts_and_drops_are_found(history, report, kind):
    """Each injected one, at its time and entity, and with its direction."""
    for fault in of_kind(history[1], kind):
        alarms = touching(report['anomalies'], fault)
        assert alarms, fault
        first = min(alarms, key=lambda alarm: alarm['start'])
        assert first['peak_score'] >= 1 and first['start'] - fault.start <= 300
        assert (first['observed'][''] > first['expected']['']) == (kind == 'spike')


def test_drop_outs_are_reported_as_missing(history, report):
    """No sample is no anomaly and no zero: it is reported as missing."""
    for fault in of_kind(history[1], 'drop-out'):
        (spell,) = touching(report['missing'], fault)
        # The look-back of Prometheus fills the first five minutes of a gap with the last sample.
        assert 0 <= spell['start'] - fault.start <= 360 and abs(spell['end'] - fault.end) <= 120
        assert spell['observed'][''] is None


def test_other_kinds_are_counted_only(history, report):
    """Ramps, lost seasons and flat lines: how many were found is printed, and none is required."""
    for kind in ('ramp', 'lost season', 'flat line'):
        faults = of_kind(history[1], kind)
        found = sum(bool(touching(report['anomalies'], fault)) for fault in faults)
        print(f'{kind}: {found} of {len(faults)} found')
        assert 0 <= found <= len(faults) == 3


def test_healthy_series_stay_within_the_budget(history, report):
    """The alarms of the healthy series stay near the budget that the scores are calibrated for."""
    faulty = {f'host-{fault.series:04}:' for fault in history[1]}
    false = [alarm for alarm in report['anomalies'] if not any(name in alarm['entity'] for name in faulty)]
    weeks = report['judged_entity_weeks'] * (SERIES - len(faulty)) / SERIES
    print(f'{len(false)} alarms in {weeks:.0f} healthy entity-weeks, budget {report["budget_alarms_per_entity_week"]:g} per entity-week')
    assert report['entities'] == SERIES and weeks > SERIES / 10
    assert len(false) / weeks <= 2.2 * report['budget_alarms_per_entity_week']


def test_past_scores_can_be_imported_into_prometheus(history, tmp_path):
    """`--format=openmetrics` can be backfilled by promtool; Prometheus then answers with the scores of the past."""
    prometheus, faults, _ = history
    fault = of_kind(faults, 'drop')[0]
    detector = LIGHT | {'expr': f'past_load{{instance="host-{fault.series:04}:9100"}}'}
    output = tmp_path / 'scores.om'
    backtest(tmp_path, prometheus, *around(fault), '--format=openmetrics', f'--output={output}', detector=detector)
    with_scores = Prometheus(tmp_path / 'prometheus', [])
    with_scores.data.mkdir(parents=True)
    backfill(with_scores.data, output)
    with with_scores:
        (peak,) = with_scores.query('max_over_time(promlstm_anomaly_score{detector="past"}[1h])', fault.start + 1800)
        (before,) = with_scores.query('max_over_time(promlstm_anomaly_score[1h])', fault.start - 60)
    assert peak['metric'] == {
        'detector': 'past',
        'instance': f'host-{fault.series:04}:9100',
        'job': 'past',
        'zone': 'abc'[fault.series % 3],
    }
    assert float(peak['value'][1]) >= 1 > float(before['value'][1])


def test_the_table_reads_like_a_table(history, tmp_path):
    """One line an anomaly, then the number of alarms, the budget, and that real incidents are among them."""
    prometheus, faults, _ = history
    fault = of_kind(faults, 'spike')[0]
    detector = LIGHT | {'expr': f'past_load{{instance="host-{fault.series:04}:9100"}}'}
    text = backtest(tmp_path, prometheus, *around(fault), detector=detector)
    assert 'START (UTC)' in text and f'host-{fault.series:04}:9100' in text
    assert 'the budget of 1/week each allows 1 false alarms; the alarms include real incidents' in text


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--from=yesterday'], '--from=yesterday: expected -2d, now, unix seconds or 2026-01-31T12:00:00Z'),
        (['--from=now', '--to=-1d'], '--from=now is not before --to=-1d'),
        (['--detector=nobody'], '--detector=nobody: no such detector'),
        (['--to=4102444800'], '--to=4102444800 is in the future'),
        (['--output=/nowhere/scores.om'], '--output=/nowhere/scores.om: cannot be written: No such file or directory'),
    ],
)
def test_a_wrong_span_or_name_is_reported_in_one_line(tmp_path, args, message):
    """The message names the flag and what it expects; Prometheus is not queried."""
    config = tmp_path / 'promlstm.yml'
    config.write_text(json.dumps({'prometheus': {'url': 'http://localhost:1'}, 'detectors': [DETECTOR]}))
    done = subprocess.run(
        [sys.executable, '-m', 'promlstm', 'backtest', f'--config.file={config}', *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1
