"""One cause, one page: what each preset sends for it, by real scores, the real promtool and a real Alertmanager, is what the document says."""

import re
import sys

import pytest
import servers
from msgspec.structs import replace
from requirements import is_accept

sys.path.append(str(servers.ROOT / 'docs'))

from causes import incidents, table
from causes.telemetry import CALM, CAUSES, EFFECTS, LOST

from promlstm import presets

DOCUMENT = (servers.ROOT / 'docs/how-to/alerts.md').read_text()
SHORT = ('http', 'kafka', 'kubernetes', 'node', 'postgres')  # in `make test`; all of them in `make accept`
SHOWN = {name: line for line, name in re.findall(r'^(\| ([\w-]+) \|.*\|)$', DOCUMENT, re.MULTILINE)}


def test_the_document_has_a_line_for_each_preset():
    """And names the command that prints them."""
    assert set(presets.names()) <= set(SHOWN) and 'python docs/causes' in DOCUMENT
    assert f'| preset | {" | ".join(CAUSES)} |' in DOCUMENT


def test_every_detector_of_a_preset_sees_something_on_a_calm_day():
    """But for what virtual machines lack; and every effect is on a detector that there is."""
    names = {
        preset: {
            f'{detector.name}/{feature}' if feature else detector.name
            for detector in presets.config([preset]).detectors for feature in detector.queries
        }
        for preset in presets.names()
    }  # fmt: skip
    every = set().union(*names.values())
    lacking = ('temperature', 'disk_temperature', 'memory_errors', 'cpu_throttling', 'fan_speed', 'voltage')
    assert every - CALM.keys() == {f'node_{name}' for name in lacking} and CALM.keys() <= every
    assert all(effects.keys() <= names[preset] for of in EFFECTS.values() for preset, effects in of.items())


def test_alarms_that_share_a_thing_are_one_incident():
    """The host of two detectors, or equal labels where none of them links; another host is another one."""
    minutes = dict.fromkeys(range(40, 50), 2.0)
    of_hosts = ['detector="cpu",instance="a"', 'detector="disk",device="x",instance="a"', 'detector="cpu",instance="b"']
    series = [*of_hosts, 'detector="errors",job="x"', 'detector="seconds",job="x"']
    made = incidents.of_gauges({f'promlstm_anomaly_score{{{of}}}': minutes for of in series})
    members = [re.findall(r'member\{incident="(.*?)",(.*)\}', name)[0] for name in made if 'member' in name]
    assert [[of for name, of in members if name == each] for each in dict.fromkeys(name for name, _ in members)] == [series[:2], series[2:3], series[3:]]
    assert sorted(of[45] for name, of in made.items() if 'entities' in name) == [1, 2, 2]
    assert all(of[45] == 2400 for name, of in made.items() if 'start' in name)


@pytest.fixture(scope='module')
def model():
    """In `make test` a detector replays two hours before the day, which is enough to know it, and in `make accept` what the model asks for."""
    found = table.model()
    if not is_accept():
        found.bundle = replace(found.bundle, manifest=replace(found.bundle.manifest, replay_steps=120))
    return found


def test_the_short_form_has_a_cell_of_each_kind():
    """Whatever a cause may send, by receivers and alerts, some preset of `make test` sends."""
    kinds = {name: {re.sub(r'Anomaly \w+', 'Anomaly', cell) for cell in SHOWN[name].strip('| ').split(' | ')[1:]} for name in presets.names()}
    assert set().union(*map(kinds.get, SHORT)) == set().union(*kinds.values())


PRESETS = [name if name in SHORT else pytest.param(name, marks=pytest.mark.accept) for name in presets.names()]


@pytest.mark.real
@pytest.mark.parametrize('preset', PRESETS)
def test_a_cause_is_one_page_and_at_most_two_messages(preset, model, tmp_path):
    """Nothing is critical before a part of it is a warning; a lost host is one alert and no anomaly of it."""
    found, sent = table.outcome([preset], model, tmp_path)
    assert table.row(sent, preset) == SHOWN[preset], 'python docs/causes prints the table anew'
    for cause in CAUSES:
        assert len(sent[preset, cause]) <= 2, (cause, sent[preset, cause])
        began = table.first(found[preset, cause])
        anomalies = [(dict(alert)['severity'], minute) for alert, minute in began.items() if 'Anomaly' in dict(alert)['alertname']]
        critical = [minute for severity, minute in anomalies if severity == 'critical']
        assert not critical or min(minute for severity, minute in anomalies if severity == 'warning') <= min(critical), cause
    lost = [dict(alert) for message in sent[preset, LOST] for alert in message.alerts]
    of_host = [labels for labels in lost if 'instance' in labels and 'detector' not in labels]
    assert [labels['alertname'] for labels in of_host] in ([], ['PromlstmInstanceMissing'])
    assert not [labels for labels in lost if labels['alertname'] == 'PromlstmEntityMissing']
