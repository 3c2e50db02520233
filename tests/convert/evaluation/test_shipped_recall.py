"""What the shipped model finds of injected faults, beside its views alone and simple detectors: a model or a change of code that finds less is seen here.

The telemetry is that of `convert benchmark --sets injected_300s`, with half of its entities: 90 faults at a step of five minutes.
"""

import msgspec
import pytest

from promlstm.engine import session as sessions

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture(scope='module')
def cards(tmp_path_factory):
    """{method: scorecard.Card}; intervals of the gain are over each other method."""
    from convert import compare, without_lstm
    from convert.evaluation import scorecard, scoring

    (telemetry,) = (each for each in compare.TELEMETRY if each.step_seconds == 300)
    part = scoring.synthetic(msgspec.structs.replace(telemetry, entities=48))
    prepared, file = scoring.prepare(part), sessions.resolve('builtin:default')
    without = tmp_path_factory.mktemp('rule') / 'without.onnx'
    without_lstm.make(sessions.load(file, threads=1, prove=False).bundle, without)
    sources = [scoring.Source('model', 'model', str(file)), scoring.Source('without LSTM', 'without LSTM', str(without)), scoring.Source('', 'baseline')]
    found = [scoring.score(source, part, prepared) for source in sources]
    methods = [scorecard.Method(name, name, [of[s.name] for s in prepared.series]) for each in found for name, of in each.methods.items()]
    recurring = [found[-1].recurring[series.name] for series in prepared.series]
    _, out, _ = scorecard.cards(part.name, prepared.series, recurring, methods, standing_seconds=14_400.0)
    return {card.method: card for card in out}


def test_it_finds_four_fifths(cards):
    """It found 74 of 90 when it was released, at one false alarm per entity-week."""
    assert cards['model'].week.events == 90 and cards['model'].week.found >= 71


def test_the_lstm_earns_its_place(cards):
    """The views alone found 63; the gain is clear of zero, by a paired bootstrap over entities (90 %)."""
    assert cards['without LSTM'].gain[0] > 0.02


def test_no_simple_detector_comes_near(cards):
    """The best of twelve found 63."""
    gains = {name: card.gain[0] for name, card in cards.items() if name not in ('model', 'without LSTM')}
    assert len(gains) >= 12 and min(gains.values()) > 0.02, gains
