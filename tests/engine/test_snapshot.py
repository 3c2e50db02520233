"""What a detector remembers, as columns and back: who goes on from them scores as if nothing had happened."""

from dataclasses import fields

import numpy as np
import pytest
import tiny_model
from fakes import Samples, noisy, raw, stepped

from promlstm import config as configuration
from promlstm.engine.columns import Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.session import load, resolve
from promlstm.errors import CheckpointError

T0 = 1_750_000_200.0
BUILTIN = load(resolve('builtin:default'), prove=False)


def config(**keys):
    """The configuration of one detector."""
    whole = {'name': 'a', 'expr': 'x', 'delay': '0s', 'history': '2d'} | keys
    text = {'prometheus': {'url': 'http://localhost:9090'}, 'detectors': [{key: value for key, value in whole.items() if value is not None}]}
    (detector,) = configuration.parse(str(text)).detectors
    return detector


def telemetry():
    """Entities of every kind: steady, struck before and after the snapshot, with gaps, gone, part-time, one that comes and one in the gap."""
    struck = lambda since: lambda time: 40.0 * (time >= T0 + 60 * since)  # noqa: E731 (a lasting shift)
    series = {raw(instance=f'steady-{i}'): noisy(i) for i in range(4)}
    series[raw(instance='struck before')] = noisy(11, struck=struck(-4))
    series[raw(instance='struck in the gap')] = noisy(12, struck=struck(4))
    series[raw(instance='struck after')] = noisy(13, struck=struck(14))
    series[raw(instance='with gaps')] = lambda time: noisy(14)(time) if round(time) % 420 else np.nan
    series[raw(instance='gone')] = noisy(15, gone=T0 - 600)
    series[raw(instance='part-time')] = lambda time: noisy(16)(time) if time % 86400 < 43200 else np.nan
    series[raw(instance='young')] = noisy(17, born=T0 - 300)
    series[raw(instance='comes in the gap')] = noisy(18, born=T0 + 300)
    return Samples(series)


def warmed(detector, until):
    """The detector after its start from history; the verdicts of its last step."""
    *_, (_, _, verdicts) = detector.warm(lambda: until)
    return verdicts


def moved(old, verdicts, source, **keys):
    """A fresh detector that goes on from the columns of another, as a new process would: they are copies, checked as those of a file are."""
    taken = old.snapshot(verdicts)
    columns = {name: column.copy() for name, column in taken.columns().items()}
    new = Detector(config(**keys), old.session, source)
    new.check({name: (column.dtype.str, column.shape) for name, column in columns.items()}, len(taken))
    shown = new.restore(columns, taken.time)
    return new, shown


def by_entity(detector, verdicts):
    """{identity: what the verdicts say of it}, whatever the order of rows; entities that were never there yet are left out."""
    rows = np.flatnonzero(~np.isnan(detector.entities.first_seen))
    names = [field.name for field in fields(Verdicts) if field.name not in ('time', 'partial')]
    return {detector.entities.identities[row]: [getattr(verdicts, name)[row].tobytes() for name in names] for row in rows}


@pytest.mark.slow
def test_who_goes_on_from_a_snapshot_scores_as_if_nothing_had_happened():
    """Over a gap of ten steps, and twenty steps after it: every column of every verdict is the same to the last bit, and so is what is missing."""
    source = telemetry()
    kept = Detector(config(), BUILTIN, source)
    verdicts = warmed(kept, T0)
    new, shown = moved(kept, verdicts, source)
    assert by_entity(new, shown) == by_entity(kept, verdicts)
    for i in range(1, 11):
        stepped(kept, T0 + 60 * i)
    *_, (done, total, _) = new.catch_up(T0 + 60 * 11)
    assert (done, total) == (10, 10) and new.time == kept.time == T0 + 600
    for i in range(11, 31):
        one, other = stepped(kept, T0 + 60 * i)[0], stepped(new, T0 + 60 * i)[0]
        assert by_entity(kept, one) == by_entity(new, other)
        assert dict(zip(kept.entities.identities, kept.missing(one), strict=True)) == dict(zip(new.entities.identities, new.missing(other), strict=True))
    struck = kept.entities.identities.index(b'{"instance":"struck before"}')
    assert one.since[struck] == T0 - 240 and one.score[struck] >= 1


@pytest.mark.parametrize('name', [pytest.param('builtin:default', marks=pytest.mark.slow), 'several features, views, classes'])
def test_every_kind_of_state_and_table_goes_both_ways(name, tmp_path):
    """All columns of memory, of the table and of the verdicts are the same before and after, whatever the model keeps."""
    keys = {}
    if name.startswith('builtin:'):
        session = load(resolve(name), prove=False)
    else:
        session = load(tiny_model.write(tmp_path / 'tiny.onnx', features=('cpu', 'memory'), views=('above', 'below'), classes=True), prove=False)
        keys = {'by': ['instance'], 'features': {'cpu': 'cpu', 'memory': 'memory'}, 'expr': None}
    source = telemetry()
    kept = Detector(config(**keys), session, source)
    verdicts = warmed(kept, T0)
    new, shown = moved(kept, verdicts, source, **keys)
    before, after = kept.snapshot(verdicts).columns(), new.snapshot(shown).columns()
    assert before.keys() == after.keys()
    assert all(before[column].tobytes() == after[column].tobytes() and before[column].dtype == after[column].dtype for column in before)
    if name == 'builtin:default':
        assert any(column.startswith('memory.table.') and before[column].any() for column in before)
    stepped(kept, T0 + 60)
    stepped(new, T0 + 60)
    assert by_entity(kept, stepped(kept, T0 + 120)[0]) == by_entity(new, stepped(new, T0 + 120)[0])


def test_who_goes_on_tolerates_the_noisy_as_before(tmp_path):
    """What alarms added to thresholds is kept: live, caught up over a gap, and in a replay of all of it, scores and bands are the same."""
    session = load(tiny_model.write(tmp_path / 'tiny.onnx'), prove=False)
    keys = {'noisy': 'tolerate', 'history': '0s'}
    twice_a_day = noisy(1, struck=lambda time: 60.0 * (round(time - T0) % 43200 in (-7200 % 43200, 3600)))
    source = Samples({raw(instance='noisy'): twice_a_day, raw(instance='calm'): noisy(2)})
    kept = Detector(config(**keys), session, source)
    verdicts = warmed(kept, T0 - 3 * 3600)
    *_, (_, _, verdicts) = kept.replay(T0 - 3 * 3600 + 60, T0)
    new, _ = moved(kept, verdicts, source, **keys)
    (raised,) = kept.memory.tolerance.share[kept.memory.tolerance.share > 0]
    assert raised == np.float32(0.1)
    for i in range(1, 181):
        stepped(kept, T0 + 60 * i)
    assert len(list(new.catch_up(T0 + 60 * 181))) == 180
    one, other = stepped(kept, T0 + 60 * 181)[0], stepped(new, T0 + 60 * 181)[0]
    assert by_entity(kept, one) == by_entity(new, other)
    assert kept.memory.tolerance.share.max() > 0.19
    stored, again = (each.snapshot(one).columns() for each in (kept, new))
    assert {name for name in stored if 'tolerance' in name} == {'memory.tolerance.share', 'memory.tolerance.ended'}
    assert all(stored[name].tobytes() == again[name].tobytes() for name in stored if name.startswith('memory.'))


def test_without_tolerance_the_columns_are_those_of_before(tmp_path):
    """So checkpoints from before there was the key are read; those of the other kind are refused with the column's name."""
    session = load(tiny_model.write(tmp_path / 'tiny.onnx'), prove=False)
    source = Samples({raw(instance='a'): noisy(1)})
    plain, tolerant = (Detector(config(history='0s', **keys), session, source) for keys in ({}, {'noisy': 'tolerate'}))
    specs = []
    for subject in (plain, tolerant):
        columns = subject.snapshot(warmed(subject, T0)).columns()
        specs.append({name: (column.dtype.str, column.shape) for name, column in columns.items()})
        subject.check(specs[-1], 1)
    assert sorted(specs[1].keys() - specs[0].keys()) == ['memory.tolerance.ended', 'memory.tolerance.share'] and not specs[0].keys() - specs[1].keys()
    for subject, other in ((plain, specs[1]), (tolerant, specs[0])):
        with pytest.raises(CheckpointError, match=r'memory\.tolerance\.ended'):
            subject.check(other, 1)


def test_a_snapshot_is_of_its_instant(tmp_path):
    """Steps that follow, new entities and forgotten ones change nothing in it: whoever writes it down may take his time."""
    session = load(tiny_model.write(tmp_path / 'tiny.onnx'), prove=False)
    source = Samples({raw(instance=f'i{i}'): noisy(i, gone=T0 + 60 if i < 8 else np.inf) for i in range(10)})
    subject = Detector(config(history='0s', forget='10m'), session, source)
    verdicts = warmed(subject, T0)
    taken = subject.snapshot(verdicts)
    then = {name: column.copy() for name, column in taken.columns().items()}
    source.series[raw(instance='new')] = noisy(99)
    for i in range(1, 90):
        stepped(subject, T0 + 60 * i)
        subject.forget()
    assert len(subject.memory) < 10
    now = taken.columns()
    assert then.keys() == now.keys() and all(then[name].tobytes() == now[name].tobytes() for name in then)


def test_columns_of_another_shape_are_refused(tmp_path):
    """Each mistake is named, and the detector is as it was."""
    session = load(tiny_model.write(tmp_path / 'tiny.onnx'), prove=False)
    source = Samples({raw(instance=f'i{i}'): noisy(i) for i in range(3)})
    kept = Detector(config(history='0s'), session, source)
    taken = kept.snapshot(warmed(kept, T0))
    columns = taken.columns()
    specs = {name: (column.dtype.str, column.shape) for name, column in columns.items()}
    new = Detector(config(history='0s'), session, source)
    new.check(specs, 3)
    wrong = {
        'its columns differ': specs | {'memory.state.other': ('<f4', (3, 1))},
        'its columns differ from those of this detector: memory.latch.since': {name: spec for name, spec in specs.items() if name != 'memory.latch.since'},
        'is <f4': specs | {'memory.alarm.since': ('<f4', (3,))},
        r'\[3, 2\]': specs | {'memory.season.anchor': ('<f8', (3, 2))},
        'has 2 rows, for 3': specs | {'entities.first_seen': ('<f8', (2,))},
        'has 4 rows, for 3': specs | {'memory.season.0': ('<f4', (4, 1))},
    }
    for message, each in wrong.items():
        with pytest.raises(CheckpointError, match=message):
            new.check(each, 3)
    for message, lengths in {'length of its identities is wrong': [1, 1, 1], 'same identity': [17, 17, 17]}.items():
        text = np.frombuffer(b'{"instance":"i0"}' * 3, np.uint8)
        with pytest.raises(CheckpointError, match=message):
            new.restore(columns | {'identities': text, 'identity_lengths': np.array(lengths)}, T0)
    assert new.time is None and len(new.memory) == len(new.entities) == 0
