"""Answers that lack series and say so: whoever is in them is judged, and nobody is reported as missing because of them."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import Samples, noisy, raw, stepped

from promlstm import config as configuration
from promlstm.engine import session as sessions
from promlstm.engine.columns import MISSING
from promlstm.engine.detector import Detector

HOUR = 3600.0
START = 1_750_000_000 // HOUR * HOUR
NAMES = [raw(instance=f'i{i}') for i in range(5)]


class Partial(Samples):
    """Samples whose answers from `since` on lack some series, `lacking`, and are marked as partial."""

    since, lacking = np.inf, ()

    def instant(self, expr, time):
        answer = super().instant(expr, time)
        return answer if time < self.since else self.part(answer, answer.values)

    def range(self, expr, start, end, step, series=1):
        for answer in super().range(expr, start, end, step, series):
            yield answer if answer.times[-1] < self.since else self.part(answer, answer.values)

    def part(self, answer, values):
        kept = [i for i, key in enumerate(answer.keys) if key not in self.lacking]
        return replace(answer, keys=[answer.keys[i] for i in kept], values=values[..., kept], partial=True, warnings=('a store is away',))


@pytest.fixture(scope='module')
def session():
    return sessions.load(sessions.resolve('builtin:forecaster'))


@pytest.fixture
def samples():
    return Partial({name: noisy(i, gone=START + 30 * HOUR if i == 4 else np.inf) for i, name in enumerate(NAMES)})


def detector(session, samples):
    tree = {'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'd', 'expr': 'x', 'delay': '0s', 'history': '0s', 'step': '1h'}]}
    return Detector(configuration.parse(str(tree)).detectors[0], session, samples)


def missing(subject, verdicts):
    return {i for i, name in enumerate(NAMES) if subject.missing(verdicts)[subject.entities.identities.index(name)]}


def test_nobody_goes_missing_by_a_partial_answer(session, samples):
    """Who was missing stays so, who is lacking in a partial answer is not, and a whole answer decides about all."""
    subject = detector(session, samples)
    for hour in range(30):
        stepped(subject, START + hour * HOUR)
    verdicts, blocks = stepped(subject, START + 30 * HOUR)
    assert missing(subject, verdicts) == {4} and blocks['promlstm_entity_missing'].count(b'\n') == 1
    samples.since, samples.lacking = START + 31 * HOUR, NAMES[:2]
    verdicts, blocks = stepped(subject, START + 31 * HOUR)
    assert missing(subject, verdicts) == {4} and blocks['promlstm_entity_missing'].count(b'\n') == 1
    assert (verdicts.status == MISSING).sum() == 3 and subject.absent(verdicts).sum() == 1
    assert (subject.tally.partial, subject.tally.warnings, subject.tally.last_warning) == (1, 1, 'a store is away')
    samples.since = np.inf
    del samples.series[NAMES[0]]
    verdicts, _ = stepped(subject, START + 32 * HOUR)
    assert missing(subject, verdicts) == {0, 4}


def test_nobody_is_forgotten_by_partial_answers(session, samples):
    """However long a store is away, those that it has keep their memory."""
    subject = detector(session, samples)
    for hour in range(6):
        stepped(subject, START + hour * HOUR)
    samples.since, samples.lacking = START + 6 * HOUR, NAMES[:3]
    for hour in range(6, 20):
        stepped(subject, START + hour * HOUR)
        assert subject.forget() == 0 and len(subject.entities) == 5
    samples.lacking = ()
    samples.since = np.inf
    stepped(subject, START + 20 * HOUR)
    assert subject.forget() == 0 and len(subject.entities) == 5


def test_a_partial_history_declares_nobody_missing(session, samples):
    """A start while a store is away: what its last answer lacks was there a day long and is not reported."""
    subject, samples.lacking = detector(session, samples), NAMES[:2]
    verdicts = None
    samples.since = START + 25 * HOUR
    for end in (START + 24 * HOUR, START + 25 * HOUR):
        for _, _, newest in (subject.replay(START, end) if verdicts is None else subject.replay(end, end)):
            verdicts = newest
    assert verdicts.partial and (verdicts.status == MISSING).sum() == 2 and missing(subject, verdicts) == set()
    assert subject.tally.partial == 1
