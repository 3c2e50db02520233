"""Incidents of real detectors: what they say of samples, with onsets as the samples have them."""

import pytest
import tiny_model
from fakes import Samples, noisy, raw

from promlstm import config as configuration
from promlstm.engine.detector import Detector
from promlstm.engine.session import load
from promlstm.incidents import listing
from promlstm.incidents.graph import Graph
from promlstm.incidents.members import Origin
from promlstm.incidents.table import Incidents

STEP, NOW = 300.0, 1_750_000_200.0
KEYS = {'name': 'requests', 'expr': 'rate(x[5m])', 'step': '5m', 'history': '0s', 'delay': '0s', 'min_deviation': 50}


@pytest.fixture(scope='module')
def session(tmp_path_factory):
    """A model that needs little history."""
    return load(str(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx')))


def told(session, series, **keys):
    """The incidents after a day and a few steps of these series, {raw labels: function of time}."""
    config = configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': [KEYS | keys]}))
    detector, incidents = Detector(config.detectors[0], session, Samples(series)), Incidents(config.root_cause)
    incidents.graph = Graph().observed(NOW - 60, [(('service', 'shop'), ('service', 'db'))], 'calls')
    for k in range(-300, 6):
        step = detector.step(NOW + STEP * k)
        detector.commit(step)
        incidents.observe(Origin.of(config.detectors[0], ()), step.verdicts, detector.lost(step.missing), detector.entities.identities)
    view, rankings = incidents.view(NOW + STEP * 5), listing.Rankings()
    return [listing.incident(view, key, rankings.of(view, key.number), view.active()) for key in listing.keys(view)]


def test_a_database_that_vanishes_is_the_cause_of_its_callers_alarm(session):
    """Its last sample was a step before: it went missing at the next one, which is when the incident began, and it is named first."""
    shop = noisy(2, struck=lambda time: 500.0 * (time >= NOW + STEP))
    (incident,) = told(session, {raw(service='db'): noisy(1, gone=NOW), raw(service='shop'): shop, raw(service='calm'): noisy(3)})
    assert incident.start == NOW and incident.end is None
    assert [(member.labels['service'], member.onset - NOW, member.missing) for member in incident.members] == [('db', 0, True), ('shop', STEP, False)]
    assert incident.cause[0].thing == 'service=db' and 'requests went missing' in incident.cause[0].reasons


def test_who_may_be_missing_is_no_member(session):
    """`missing: ignore` says that it means nothing."""
    shop = noisy(2, struck=lambda time: 500.0 * (time >= NOW + STEP))
    (incident,) = told(session, {raw(service='db'): noisy(1, gone=NOW), raw(service='shop'): shop}, missing='ignore')
    assert [member.labels['service'] for member in incident.members] == ['shop']


def test_the_uncertainty_of_an_onset_is_all_that_lies_between():
    """A step, the delay, the longest range of the expressions and a minute of the scrape."""
    config = configuration.parse(str({'prometheus': {'url': 'http://x'}, 'detectors': [KEYS | {'delay': '30s', 'expr': 'avg_over_time(rate(x[5m])[1h:5m])'}]}))
    assert Origin.of(config.detectors[0], ()).uncertainty_seconds == 300 + 30 + 3600 + 60
