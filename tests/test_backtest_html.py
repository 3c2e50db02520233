"""`promlstm backtest --format=html`: one file that opens from disk, says what the table says, and asks nobody for anything."""

import json
import re
import time

import browser
import html_pages
import numpy as np
import pytest
from fakes import Samples, noisy
from standings import HOSTILE

from promlstm import backtest, config
from promlstm.__main__ import main
from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source
from promlstm.engine.detector import Detector
from promlstm.engine.session import SHIPPED, load
from promlstm.ui import backtest_report

START = 1_750_032_000.0
END = START + 2 * 3600


@pytest.fixture(scope='module')
def session():
    return load(SHIPPED / 'forecaster.onnx', prove=False)


def found(session, name='web', texts=HOSTILE, struck=50.0):
    """What a backtest finds of entities with these texts in a label, each of which jumps once."""
    tree = {'name': name, 'expr': 'rate(x_bytes[5m])', 'delay': '0s', 'history': '0s'}
    (settings,) = config.parse(str({'prometheus': {'url': 'http://localhost'}, 'detectors': [tree]})).detectors
    jump = lambda number: lambda time: struck * (3600 <= time - START - 60 * number < 5400)  # noqa: E731
    series = {json.dumps({'text': text}).encode(): noisy(number, struck=jump(number)) for number, text in enumerate(texts)}
    recorder = backtest_report.Recorder()
    report = backtest.run(Detector(settings, session, Samples(series)), START, END, watch=recorder.observe)
    nothing = {'': float('nan')}
    report.missing = [backtest.Anomaly('{text="</th>gone"}', START, END, START, 0.0, nothing, nothing, nothing)]
    return backtest_report.Found(report, settings, recorder)


@pytest.fixture(scope='module')
def written(session):
    """(What was found, the page of it as text)."""
    each = found(session, '<script>alert("name")</script>')
    assert len(each.report.anomalies) >= len(HOSTILE)
    return each, backtest_report.page([each], ['promlstm: detector <b>x</b>: </script>'], 'INCIDENT <i>\n</pre>')


def test_all_in_one_file(written):
    """It names no other file, and its own policy forbids to load one."""
    page = html_pages.read(written[1])
    assert not [each for each in page.all() if each.attributes.keys() & {'src', 'srcset'} or (each.tag == 'link') or each.attributes.get('style')]
    assert all(each.attributes['href'].startswith('#') for each in page.all('a'))
    (policy,) = page.all('meta', http_equiv='Content-Security-Policy')
    assert policy.attributes['content'].startswith("default-src 'none'") and 'http' not in policy.attributes['content']
    assert not re.search(r'url\(|@import|https?://(?!www\.w3\.org/)', page.one('style').text)


def test_no_text_is_markup(written):
    """Labels, names, errors and incidents."""
    page = html_pages.read(written[1])
    assert [each.attributes.get('type') for each in page.all('script')] == ['application/json', 'importmap', 'module']
    assert not page.all('img') and not page.all('i') and not page.all('b')
    assert 'INCIDENT <i> </pre>' in page.text and 'detector <b>x</b>: </script>' in page.text and '<script>alert("name")</script>' in page.text


def test_it_says_what_the_report_says(written):
    """Every alarm with its values, the rate against the budget, who was missing; charts hold the steps around an alarm."""
    each, html = written
    report, page = each.report, html_pages.read(html)
    assert f'{len(report.anomalies)} alarms in {report.judged_entity_weeks:.4g} entity-weeks' in page.text
    tables = {table.one('caption').text.partition(',')[0]: table for table in page.all('table')}
    assert len(tables['Alarms'].all('tr')) == 1 + len(report.anomalies)
    assert [row.one('th', scope='row').text for row in tables['Missing entities'].all('tr')[1:]] == [alarm.entity for alarm in report.missing]
    charts = json.loads(page.one('script', id='data').inside[0])['charts']
    assert len(charts) == min(len(report.anomalies), backtest_report.CHARTS) == len([each for each in page.all('div') if 'data-chart' in each.attributes])
    alarm, chart = report.anomalies[0], charts[0]
    place = chart['times'].index(alarm.peak_time)
    assert chart['features'][0]['observed'][place] == pytest.approx(alarm.observed[''], rel=1e-6)
    assert chart['score'][place] == pytest.approx(alarm.peak_score) and chart['features'][0]['unit'] == 'bytes per second'
    assert chart['start'] <= alarm.start - 30 * 60 and (chart['alarms'][0]['start'], chart['alarms'][0]['end']) == (alarm.start, alarm.end)


def test_memory_for_charts_is_limited(session, monkeypatch):
    """What does not fit is left out as a whole, and the page says so; all else is there."""
    monkeypatch.setattr(backtest_report, 'MEMORY_BYTES', 2_000)
    each = found(session, texts=['a'])
    page = html_pages.read(backtest_report.page([each]))
    assert each.recorder.is_full and not each.recorder.columns and 'do not fit into memory' in page.text
    assert json.loads(page.one('script', id='data').inside[0]) == {'charts': []} and len(page.all('table')[0].all('tr')) >= 2


def test_a_long_alarm_is_drawn_with_fewer_points(session, monkeypatch):
    monkeypatch.setattr(backtest_report, 'POINTS', 20)
    each = found(session, texts=['a'])
    alarm = each.report.anomalies[0]
    past = each.recorder.past(alarm, each.recorder.rows()[alarm.entity], each.settings, 60.0)
    assert 10 <= len(past.times) <= 20 and past.resolution == np.diff(past.times)[0] > 60


def test_the_command(tmp_path, capfdbinary):
    """Several detectors, one of which fails: all that was found, the failure in the page and on standard error, status 1; incidents as text."""
    with Source(Fleet(1, time.time() - 7200, hosts=2), time.time) as source:
        detectors = [{'name': 'good', 'expr': 'node_cpu_busy_ratio'}, {'name': 'wrong', 'expr': 'sum('}, {'name': 'last', 'expr': 'node_disk_io_busy_ratio'}]
        tree = {'prometheus': {'url': source.url}, 'detectors': [{**one, 'history': '0s', 'model': 'builtin:forecaster'} for one in detectors]}
        (tmp_path / 'promlstm.yml').write_text(str(tree))
        out = tmp_path / 'report.html'
        status = main(['backtest', f'--config.file={tmp_path / "promlstm.yml"}', '--from=-30m', '--format=html', '--incidents', f'--output={out}'])
    page = html_pages.read(out.read_text())
    assert status == 1 and b'promlstm: detector wrong: ' in capfdbinary.readouterr().err
    assert [each.text for each in page.all('h2')] == ['good', 'last', 'Incidents'] and 'promlstm: detector wrong: ' in page.text


def test_it_opens_from_disk(written, chromium, tmp_path):
    """In a real browser: charts are drawn, nothing is asked for, nothing is wrong on the console, and axe finds nothing serious, in either scheme."""
    (tmp_path / 'report.html').write_text(written[1])
    browser.opened_from_disk(chromium, tmp_path / 'report.html')
