"""Two settings of a detector over the same samples: what each would say alone, and every sample asked for once."""

from copy import copy

import pytest
import tiny_model
from fakes import Samples, noisy, raw

from promlstm import backtest, config
from promlstm.engine.detector import Detector
from promlstm.engine.session import load
from promlstm.ui.comparison import compare

START = 1_750_032_000.0
END = START + 4 * 3600


@pytest.fixture(scope='module')
def session(tmp_path_factory):
    return load(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'), prove=False)


def settings(**keys):
    tree = {'name': 'd', 'expr': 'x', 'delay': '0s', 'history': '0s', 'false_alarms': '2/week each', **keys}
    return config.parse(str({'prometheus': {'url': 'http://localhost'}, 'detectors': [tree]})).detectors[0]


def source(hosts=6):
    """Each host has one jump, of a size of its own, an hour after the one before."""

    def jump(number):
        return lambda time: (number + 1) * (round(time - START) == 1800 * (number + 1))

    return Samples({raw(host=f'h{number}'): noisy(number, struck=jump(number)) for number in range(hosts)})


def alone(detector, session):
    return backtest.run(Detector(detector, session, source()), START, END)


@pytest.mark.parametrize('keys', [{'min_deviation': 4.5}, {'direction': 'below'}, {'range': [0, 14]}, {'noisy': 'tolerate'}, {'false_alarms': '1/month each'}])
def test_each_says_what_it_says_alone(session, keys):
    """Whatever the other settings are: the counts, and which alarms go and come."""
    before, after = settings(), settings(**keys)
    found = compare(source(), before, after, (session, session), START, END, most=100)
    old, new = alone(before, session), alone(after, session)
    assert (found.before.alarms, found.after.alarms) == (len(old.anomalies), len(new.anomalies)) and len(old.anomalies) > 2
    assert found.before.alarms_per_entity_week == old.alarms_per_entity_week
    spans = [{(each.entity, each.start, each.end) for each in report.anomalies} for report in (old, new)]
    assert {(each.entity, each.start, each.end) for each in found.gone} <= spans[0] - spans[1]
    assert {(each.entity, each.start, each.end) for each in found.come} <= spans[1] - spans[0]
    assert found.kept + found.gone_total == found.before.alarms
    assert sum(each.before for each in found.counted) == found.before.alarms and sum(each.after for each in found.counted) == found.after.alarms


def test_the_same_settings_differ_in_nothing(session):
    found = compare(source(), settings(), settings(), (session, session), START, END, most=100)
    assert found.gone == found.come == [] and found.kept == found.before.alarms == found.after.alarms
    assert all(before == after for before, after in found.timeline) and any(before for before, _ in found.timeline)
    assert not found.is_cut


def test_samples_are_asked_for_once_and_held_no_longer_than_needed(session):
    """As often as one detector alone asks; with another model each asks for itself."""
    one, both, apart = source(), source(), source()
    backtest.run(Detector(settings(), session, one), START, END)
    compare(both, settings(), settings(min_deviation=1), (session, session), START, END, most=100)
    compare(apart, settings(), settings(), (session, copy(session)), START, END, most=100)
    assert both.asked == one.asked
    assert sorted(apart.asked) == sorted(one.asked * 2)


def test_of_too_many_entities_some_are_replayed_and_it_says_so(session):
    """Evenly chosen, the same ones with both settings, with their part of a budget that all share."""
    found = compare(source(), settings(), settings(false_alarms='6/week in all'), (session, session), START, END, most=3)
    assert found.is_cut and (found.series, found.most, found.entities) == (6, 3, 3)
    assert {each.entity for each in found.counted} <= {'{host="h0"}', '{host="h2"}', '{host="h3"}', '{host="h5"}'}
    assert found.after.budget == '6/week in all' and found.after.budget_alarms_per_entity_week == pytest.approx(1.0)


def test_progress_grows_to_the_end(session):
    said = []
    compare(source(), settings(), settings(), (session, session), START, END, most=100, progress=lambda done, total: said.append((done, total)))
    done = [each for each, _ in said]
    assert done == sorted(done) and said[-1][0] == said[-1][1] > 200
