"""Which budgets a detector can have: those of the classes that its entities can have, and one floor for all of them."""

import re

import msgspec
import pytest
import tiny_model

from promlstm import config as configuration
from promlstm.engine import budget
from promlstm.engine.detector import Detector
from promlstm.engine.session import load, resolve
from promlstm.errors import BudgetError


@pytest.fixture(scope='module', params=['default', 'forecaster'])
def session(request):
    return load(resolve(f'builtin:{request.param}'), threads=1)


def detector(session, features, per_week):
    """A Detector of so many features with a budget for each entity."""
    keys = {'expr': 'x'} if features == 1 else {'features': {f'f{i}': f'x{i}' for i in range(features)}, 'by': ['host']}
    tree = {'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'd', 'false_alarms': f'{per_week:.6f}/week each', **keys}]}
    return Detector(configuration.parse(str(tree)).detectors[0], session, None)


@pytest.mark.parametrize(('features', 'klass'), [(1, 0), (2, 1), (4, 1), (5, 2), (9, 2), (10, 3), (24, 3), (25, 4), (60, 4)])
def test_the_number_of_features_decides_the_class(session, features, klass):
    """Nothing else does in the models that come with promlstm, so an entity is judged by the row of its class and by no other."""
    assert budget.possible_classes(session, features) == {klass}


@pytest.mark.parametrize('step_seconds', [1, 60, 300, 1200, 3600, 86400])
def test_features_that_move_as_one_alarm_no_more_often_than_one(session, step_seconds):
    """Twenty readings of the same thing have the surprise of one, so no class may have a lower threshold than that of a single feature."""
    calibration = session.bundle.calibration
    for per_week in (7 / 30, 1.0, 7.0):
        thresholds = [calibration.threshold(per_week, step_seconds=step_seconds, klass=klass) for klass in range(5)]
        assert min(thresholds) == thresholds[0]


@pytest.mark.parametrize('features', [1, 3, 6, 12])
def test_one_floor_is_named_and_it_is_one(session, features):
    """A budget below the floor is refused with a floor that is then taken; whatever lies above it is taken as well."""
    with pytest.raises(BudgetError) as caught:
        detector(session, features, 1 / 520)
    named = float(re.search(r'the floor is ([\d.]+) per entity-week', str(caught.value))[1])
    assert detector(session, features, named).settings(1).alarms_per_week == pytest.approx(named)
    (klass,) = budget.possible_classes(session, features)
    rows = [session.bundle.calibration.row(each, 60).alarms_per_entity_week[-1] for each in {0, klass}]
    assert max(rows) <= named <= max(rows) * 1.01
    with pytest.raises(BudgetError):
        detector(session, features, max(rows) * 0.99)


def test_a_budget_above_the_table_is_its_largest(session):
    """So that the gauge of the budget says what is really used."""
    top = session.bundle.calibration.row(0, 60).alarms_per_entity_week[0]
    assert detector(session, 1, 1e6).settings(1).alarms_per_week == top
    assert detector(session, 1, top / 2).settings(1).alarms_per_week == pytest.approx(top / 2)


def test_a_class_that_depends_on_the_samples_may_be_any(tmp_path):
    """Then the floor is that of the worst class, known before an entity gets it."""
    worse = msgspec.structs.replace(tiny_model.ROW, klass=1, alarms_per_entity_week=(100, 50, 20))
    calibration = msgspec.structs.replace(tiny_model.CALIBRATION, rows=(tiny_model.ROW, worse))
    session = load(tiny_model.write(tmp_path / 'x.onnx', classes=True, calibration=calibration), threads=1)
    assert budget.possible_classes(session, 1) == {0, 1}
    with pytest.raises(BudgetError, match='the floor is 20 per entity-week'):
        detector(session, 1, 19.9)


def test_a_model_without_classes_has_one(tmp_path):
    """Its rows are of class 0."""
    assert budget.possible_classes(load(tiny_model.write(tmp_path / 'x.onnx'), threads=1), 3) == {0}
