"""No series means zero, where a detector says so: the same zeros live, after a warm start, in a replay, and none where they would be made up."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from fakes import Samples, raw, stepped

from promlstm import config as configuration
from promlstm.engine import session as sessions
from promlstm.engine.columns import MISSING, READY
from promlstm.engine.detector import Detector

STEP = 60.0
START = 1_750_000_020.0
DAY = 86400.0
INFO, ERROR = raw(level='info'), raw(level='error')


class Counts(Samples):
    """Counts by level, of which those that are zero have no series; in pieces of `piece` steps, and partial from `partial` on."""

    def __init__(self, piece=100, partial=(np.inf, -np.inf)):
        super().__init__({INFO: lambda time: 5.0 + time // STEP % 3, ERROR: lambda time: 2.0 if time // STEP % 50 == 7 else np.nan})
        self.piece, self.partial = piece, partial

    def _said(self, answer, time):
        return replace(answer, partial=True) if self.partial[0] <= time <= self.partial[1] else answer

    def instant(self, expr, time):
        return self._said(super().instant(expr, time), time)

    def range(self, expr, start, end, step, series=1):
        steps = round((end - start) / step) + 1
        for first in range(0, steps, self.piece):
            for answer in super().range(expr, start + first * step, start + (min(first + self.piece, steps) - 1) * step, step):
                yield self._said(answer, answer.times[-1])


@pytest.fixture(scope='module')
def session(tmp_path_factory):
    return sessions.load(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'))


def detector(session, source, **keys):
    tree = {'name': 'd', 'expr': 'x', 'delay': '0s', 'history': '0s', 'absent': 'zero'} | keys
    return Detector(configuration.parse(str({'prometheus': {'url': 'http://x'}, 'detectors': [tree]})).detectors[0], session, source)


def observed(subject, verdicts, key=ERROR):
    row = subject.entities.identities.index(key)
    return float(verdicts.observed[row, 0])


def live(subject, steps, start=START):
    return [stepped(subject, start + number * STEP)[0] for number in range(steps)]


def test_a_known_entity_has_zeros_and_an_unknown_one_nothing(session):
    """From its first sample on it is judged, and never missing, whatever `missing` says."""
    subject = detector(session, Counts())
    said = live(subject, 120)
    place = subject.entities.identities.index(ERROR)
    counts = [float(verdicts.observed[place, 0]) if place < len(verdicts.status) else np.nan for verdicts in said]
    first = next(number for number, count in enumerate(counts) if count == 2.0)
    assert np.isnan(counts[:first]).all() and set(counts[first:]) == {0.0, 2.0}
    assert (said[-1].status == READY).all() and not subject.missing(said[-1]).any() and not subject.absent(said[-1]).any()


@pytest.mark.parametrize('piece', [1, 7, 100, 1000])
def test_live_and_replayed_steps_agree(session, piece):
    """Scores, memory and the table, however history is cut into answers: a warm start, a backtest and a catch-up all replay."""
    one = detector(session, Counts())
    lived = live(one, 300)
    other = detector(session, Counts(piece))
    replayed = [verdicts for _, _, verdicts in other.replay(START, START + 299 * STEP)]
    for a, b in zip(lived, replayed, strict=True):
        for key in (INFO, ERROR):
            rows = [subject.entities.identities.index(key) for subject in (one, other)]
            if rows[0] < len(a.status) and not (np.isnan(a.observed[rows[0]]).all() and rows[1] >= len(b.status)):
                np.testing.assert_array_equal(a.observed[rows[0]], b.observed[rows[1]])
                np.testing.assert_array_equal(a.score[rows[0]], b.score[rows[1]])
    for name in ('first_seen', 'last_seen'):
        assert sorted(getattr(one.entities, name)) == sorted(getattr(other.entities, name))


def test_a_warm_start_gives_what_live_steps_would_have(session):
    """The zeros of history are those that live steps go on with."""
    subject = detector(session, Counts())
    for _ in subject.warm(lambda: START + 299 * STEP):
        pass
    assert observed(subject, live(subject, 1, START + 300 * STEP)[0]) == 0.0
    assert observed(subject, live(subject, 1, START + 301 * STEP)[0]) in (0.0, 2.0)


def test_a_partial_answer_makes_no_zeros(session):
    """What it lacks may be there: neither zero nor missing, and the next whole answer has zeros again."""
    subject = detector(session, Counts())
    live(subject, 120)
    subject.source.partial = (START + 120 * STEP, START + 120 * STEP)
    (verdicts,) = live(subject, 1, START + 120 * STEP)
    assert np.isnan(observed(subject, verdicts)) and verdicts.status[subject.entities.identities.index(ERROR)] == MISSING
    assert not subject.missing(verdicts).any() and observed(subject, verdicts, INFO) > 0
    (verdicts,) = live(subject, 1, START + 121 * STEP)
    assert observed(subject, verdicts) == 0.0


def test_who_never_comes_back_is_forgotten(session):
    """After `forget`, however shortly it was known; until then it has zeros. So rows do not pile up."""
    source = Counts()
    source.series[ERROR] = lambda time: 2.0 if START <= time < START + STEP else np.nan
    subject = detector(session, source, forget='2h', step='10m')
    said = []
    for number in range(16):
        verdicts, _ = stepped(subject, START + number * 600.0)
        said.append(observed(subject, verdicts) if ERROR in subject.entities.identities else None)
        subject.forget()
    assert said[0] == 2.0 and set(said[1:13]) == {0.0} and said[14:] == [None, None]


def test_without_the_key_nothing_is_made_up(session):
    """As before: no series, no sample."""
    subject = detector(session, Counts(), absent='missing')
    place = None
    for verdicts in live(subject, 100):
        place = place or (len(verdicts.status) > 1 and subject.entities.identities.index(ERROR))
        assert not place or np.isnan(verdicts.observed[place, 0]) or verdicts.observed[place, 0] == 2.0
    assert place and verdicts.status[place] == MISSING
