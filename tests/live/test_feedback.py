"""Silences that say false alarm: what they are about becomes normal, what is expired early becomes an anomaly again, and nobody else notices."""

import json

import numpy as np
import pytest
import tiny_model
from fakes import Samples, noisy, raw, stepped
from wire import Wire, replying

from promlstm import config as configuration
from promlstm.engine import session as sessions
from promlstm.engine.detector import Detector
from promlstm.live.clock import Clock
from promlstm.live.feedback import Acceptance, Feedback, Known
from promlstm.query import silences
from promlstm.query.selector import Matcher
from promlstm.query.silences import Silence
from promlstm.serve.telemetry import Telemetry

START, STEP, SHIFT = 1_750_000_020.0, 60.0, 100
HOSTS = 'abc'


@pytest.fixture(scope='module')
def session():
    return sessions.load(sessions.resolve('builtin:forecaster'))


class Watched:
    """A detector of three hosts, of which a and b shift at step SHIFT, its Acceptance, and what was said and counted."""

    def __init__(self, session):
        shift = lambda time: 100.0 * (time >= START + SHIFT * STEP)  # noqa: E731
        series = {raw(instance=host): noisy(seed, struck=shift if host in 'ab' else lambda time: 0.0) for seed, host in enumerate(HOSTS)}
        tree = {'name': 'cpu', 'expr': 'x', 'delay': '0s', 'history': '0s'}
        config = configuration.parse(str({'prometheus': {'url': 'http://x'}, 'detectors': [tree]})).detectors[0]
        self.detector = Detector(config, session, Samples(series))
        self.counts, self.said, self.step, self.number = {}, [], 0, 0
        self.acceptance = Acceptance('cpu', self.count, lambda level, message, **facts: self.said.append((level, facts['entities'])))
        self.known = Known()

    def count(self, name, amount):
        if amount:
            self.counts[name] = self.counts.get(name, 0) + amount

    def silences(self, *every):
        """What the Alertmanager says from now on."""
        self.number += 1
        self.known = Known(self.number, silences.false_alarms(every), every)

    def run(self, steps):
        """{host: its scores} of so many steps."""
        scores = {host: [] for host in HOSTS}
        for _ in range(steps):
            self.acceptance.heed(self.detector, self.known)
            verdicts, _ = stepped(self.detector, START + self.step * STEP)
            self.step += 1
            for host in HOSTS:
                scores[host].append(float(verdicts.score[self.detector.entities.identities.index(raw(instance=host))]))
        return scores


@pytest.fixture
def watched(session):
    subject = Watched(session)
    subject.run(SHIFT)
    alarmed = subject.run(10)
    assert min(alarmed['a']) >= 1 and min(alarmed['b']) >= 1 and max(alarmed['c']) < 1
    return subject


# As the button makes it: with labels that no entity has, of the alert, the rule and the Prometheus.
COPIED = (Matcher('alertname', '=', 'PromlstmAnomaly'), Matcher('severity', '=', 'warning'), Matcher('cluster', '=', 'eu'), Matcher('detector', '=', 'cpu'))


def silence(number, host, *, state='active', early=False, comment='false alarm: a deploy', operator='='):
    return Silence(str(number), state, early, comment, (*COPIED, Matcher('instance', operator, host)))


def test_what_a_silence_is_about_becomes_normal(watched):
    """At the next step, for its entity alone; it stays so when the silence runs out, and a new deviation is one."""
    watched.silences(silence(1, 'a'))
    scores = watched.run(30)
    assert max(scores['a']) < 1 and min(scores['b']) >= 1
    assert watched.counts == {'accepted_alarms': 1} and watched.said == [('info', 1), ('info', 1)]
    assert (watched.detector.memory.latch.held == [False, True, False]).all()
    watched.silences(silence(1, 'a', state='expired'))
    assert max(watched.run(10)['a']) < 1 and watched.counts == {'accepted_alarms': 1}
    watched.detector.source.series[raw(instance='a')] = lambda time: 500.0
    assert watched.run(3)['a'][0] >= 1


def test_other_silences_accept_nothing(watched):
    """Without the words, not begun yet, over already, or of another host or detector."""
    other = Silence('5', 'active', False, 'false alarm', (Matcher('detector', '=', 'disk'), Matcher('instance', '=', 'a')))
    watched.silences(
        silence(1, 'a', comment='a deploy, no false alarm'), silence(2, 'a', state='pending'), silence(3, 'a', state='expired'), silence(4, 'x'), other
    )
    assert min(watched.run(5)['a']) >= 1 and watched.counts == {} and watched.said == []


def test_what_is_expired_early_is_an_anomaly_again(watched):
    """Compared with what was expected before it began, and learnt no more; its alarm is held."""
    watched.silences(silence(1, 'a'))
    watched.run(5)
    watched.silences(silence(1, 'a', state='expired', early=True))
    scores = watched.run(5)
    assert min(scores['a']) >= 1 and watched.counts == {'accepted_alarms': 1, 'restored_alarms': 1}
    assert watched.detector.memory.latch.held.tolist() == [True, True, False]


def test_editing_is_no_early_end(watched):
    """The new silence covers the same entity; when that one is expired early, it is taken back."""
    watched.silences(silence(1, 'a'))
    watched.run(5)
    watched.silences(silence(1, 'a', state='expired', early=True), silence(2, 'a|z', operator='=~'))
    assert max(watched.run(5)['a']) < 1 and watched.counts == {'accepted_alarms': 1}
    watched.silences(silence(1, 'a', state='expired', early=True), silence(2, 'a|z', operator='=~', state='expired', early=True))
    assert min(watched.run(5)['a']) >= 1 and watched.counts['restored_alarms'] == 1


def test_who_is_dropped_by_an_edit_is_taken_back(watched):
    """Of two hosts one stays."""
    watched.silences(silence(1, 'a|b', operator='=~'))
    scores = watched.run(5)
    assert max(scores['a']) < 1 and max(scores['b']) < 1 and watched.counts == {'accepted_alarms': 2}
    watched.silences(silence(1, 'a|b', operator='=~', state='expired', early=True), silence(2, 'b'))
    scores = watched.run(5)
    assert min(scores['a']) >= 1 and max(scores['b']) < 1 and watched.counts['restored_alarms'] == 1


def test_what_is_taken_back_is_what_was_before_the_first_time(watched):
    """An entity that is accepted twice, for it has shifted again, goes back to where it was before both."""
    watched.silences(silence(1, 'a'))
    watched.run(5)
    watched.detector.source.series[raw(instance='a')] = noisy(0, level=500.0)
    assert max(watched.run(10)['a'][3:]) < 1 and watched.counts['accepted_alarms'] == 2
    watched.detector.source.series[raw(instance='a')] = noisy(0)
    watched.silences(silence(1, 'a', state='expired', early=True))
    scores = watched.run(5)
    assert max(scores['a']) < 1 and watched.counts['restored_alarms'] == 1  # the level from before both is normal
    assert watched.detector.memory.latch.expected[0, 0] == pytest.approx(10.0, abs=5.0)


def test_another_model_has_nothing_to_take_back(watched, tmp_path):
    """It remembers other things; the detector goes on."""
    watched.silences(silence(1, 'a'))
    watched.run(5)
    watched.detector = watched.detector.with_session(sessions.load(tiny_model.write(tmp_path / 'tiny.onnx')))
    watched.silences(silence(1, 'a', state='expired', early=True))
    watched.run(5)
    assert 'restored_alarms' not in watched.counts


@pytest.mark.parametrize('matcher', [Matcher('instance', '=~', '.+'), Matcher('instance', '!=', 'nobody'), Matcher('instance', '=~', '.*')])
def test_a_silence_over_everything_is_refused(watched, matcher):
    """And told with the number of entities; with the detector it is one about that detector, and told as well."""
    watched.silences(Silence('1', 'active', False, 'false alarm', (Matcher('severity', '=', 'warning'), matcher)))
    assert min(watched.run(3)['a']) >= 1 and watched.counts == {} and watched.said == [('warn', 3)]
    watched.silences(Silence('2', 'active', False, 'false alarm', (Matcher('detector', '=', 'cpu'), matcher)))
    assert max(watched.run(3)['a']) < 1 and watched.counts == {'accepted_alarms': 2} and ('info', 3) in watched.said


def test_entities_are_compared_when_silences_change_or_they_are_new(watched, monkeypatch):
    """Not at each step."""
    compared = []
    original = Silence.concerns
    monkeypatch.setattr(Silence, 'concerns', lambda self, labels: compared.append(labels['instance']) or original(self, labels))
    watched.silences(silence(1, 'z'))
    watched.run(1)
    once = len(compared)
    assert set(compared) == set(HOSTS)
    watched.run(5)
    assert len(compared) == once
    watched.detector.source.series[raw(instance='z')] = noisy(9)
    watched.run(2)
    assert set(compared[once:]) == {'z'} and ('info', 1) in watched.said
    rows = np.array([1, 2, 3])
    watched.detector.entities, watched.detector.memory = watched.detector.entities.keep(rows), watched.detector.memory.take(rows)
    watched.detector.source.series.pop(raw(instance='a'))
    watched.acceptance.heed(watched.detector, watched.known)
    assert [mask.tolist() for _, mask in watched.acceptance._covered] == [[False, False, True]]


# -- what an Alertmanager says


def answer(**keys):
    """As version 0.25 answers."""
    one = {
        'id': 'd132', 'status': {'state': 'active'}, 'updatedAt': '2026-11-29T04:03:11.290Z', 'comment': 'false alarm', 'createdBy': 'me',
        'endsAt': '2026-11-29T04:03:14.288Z', 'startsAt': '2026-11-29T04:03:11.290Z',
        'matchers': [{'isEqual': True, 'isRegex': False, 'name': 'instance', 'value': 'b'}],
    }  # fmt: skip
    return one | keys


def test_an_early_end_is_told_from_a_natural_one():
    """By the time of the last change; a matcher without isEqual is of an old Alertmanager; one that Python cannot read costs itself alone."""
    early = {'status': {'state': 'expired'}, 'updatedAt': '2026-11-29T04:03:10.259Z', 'endsAt': '2026-11-29T04:03:10.259Z'}
    odd = {'matchers': [{'isRegex': True, 'name': 'instance', 'value': '(?P<a'}], 'id': 'odd'}
    old = {'matchers': [{'isRegex': True, 'name': 'instance', 'value': 'a.*'}]}
    body = json.dumps([answer(), answer(**early), answer(status={'state': 'expired'}), answer(**odd), answer(**old)]).encode()
    found, problems = silences.parse(body)
    assert [(each.state, each.ended_early) for each in found] == [('active', False), ('expired', True), ('expired', False), ('active', False)]
    assert found[-1].matchers == (Matcher('instance', '=~', 'a.*'),) and len(problems) == 1 and problems[0].startswith('silence odd: ')


def test_what_is_known_stays_in_force_while_the_alertmanager_is_away():
    """A gauge says so; silences of another Alertmanager, or of none, replace it."""
    said = [(200, json.dumps([answer()]).encode()), (503, b'no'), (200, b'{}'), (200, json.dumps([answer(), answer(comment='other')]).encode()), (200, b'[]')]
    telemetry, clock = Telemetry(process=False), Clock()
    feedback = Feedback(telemetry, clock.stopping)
    seen = []
    with Wire(replying(lambda request: said.pop(0))) as wire:
        good = lambda: telemetry.registry.get_sample_value(  # noqa: E731
            'promlstm_alertmanager_last_read_successful', {'alertmanager': wire.url + '/prefix'}
        )
        feedback.use(configuration.Alertmanager(url=wire.url + '/prefix', headers={'X-Scope-OrgID': 'a'}), '.')
        for _ in range(5):
            feedback.look()
            seen.append((feedback.known.number, len(feedback.known.active), good()))
        assert wire.requests[0].target == '/prefix/api/v2/silences' and wire.requests[0].headers['X-Scope-OrgID'] == 'a'
    assert seen == [(1, 1, 1), (1, 1, 0), (1, 1, 0), (1, 1, 1), (2, 0, 1)]
    feedback.use(None, '.')
    assert feedback.known == Known(3) and good() is None
