"""The views: scales, what is usual, and what the graph's arithmetic must hold to."""

import functools

import numpy as np
import pytest
from requirements import is_accept

pytestmark = pytest.mark.train


SHOWN = ('x', 'judged', 'surprise', 'parts', 'usual', 'inputs', 'slot_begins', 'day_ended')  # of an Observation


@functools.cache
def run():
    """All steps of a series as one graph, traced once for all tests: TensorFlow takes longer to call a graph than to run a step of it."""
    import tensorflow as tf

    from convert.families import daytime, views

    shown = {name: tf.float64 if name in ('x', 'usual') else tf.float32 for name in SHOWN}
    rows = tf.TensorSpec([None, None], tf.float64)
    spec = lambda *shape, dtype=tf.float32: tf.TensorSpec(shape, dtype)  # noqa: E731
    states = {name: spec(width, None, dtype=dtype) for name, (dtype, width) in views.STATES.items()}
    tables = {name: spec(len(table.reads), None, dtype=tf.float64) for name, table in daytime.TABLES.items()}

    signature = [rows, tables, spec(dtype=tf.float64), spec(), spec(None), spec(None, dtype=tf.int32), spec(dtype=tf.int32), states]

    @tf.function(autograph=False, input_signature=signature)
    def observed(values, tables, start, step_seconds, learn, places, kept, state):
        """places [T]: where in the ratios that are returned those of a step are kept; `kept` of them, and what is written behind them is lost."""
        steps, row = tf.shape(values)[0], tf.ones_like(values[:1])

        def step(t, state, seen, ratios):
            now = start + tf.cast(t, tf.float64) * tf.cast(step_seconds, tf.float64)
            learns = tf.ones_like(row, tf.float32) * learn[t]
            threshold = tf.fill(tf.shape(row), tf.constant(2.3))
            one = views.observe(values[t : t + 1], np.nan * row, tables, now, step_seconds, learns, threshold, state)
            seen = {name: array.write(t, getattr(one, name)) for name, array in seen.items()}
            after = {name: tf.ensure_shape(array, states[name].shape) for name, array in one.state.items()}
            return t + 1, after, seen, ratios.write(places[t], after['ratios'])

        seen = {name: tf.TensorArray(dtype, steps) for name, dtype in shown.items()}
        ratios = tf.TensorArray(tf.float32, kept + 1, element_shape=states['ratios'].shape)
        _, _, seen, ratios = tf.while_loop(lambda t, *_: t < steps, step, (0, state, seen, ratios))
        return {name: array.stack() for name, array in seen.items()}, ratios.stack()

    return observed


class Seen:
    """What is SHOWN of all steps, with a leading axis of steps; the ratios of the state, [columns, M], after those that were to be kept."""

    def __init__(self, seen, ratios):
        self.__dict__.update({name: array.numpy() for name, array in seen.items()})
        self.ratios = ratios


def observed(values, *, step_seconds=60.0, learn=1.0, start=0.0, keep=()):
    """Seen for values [T, M], without seasonal memory and with blank tables; learn: of all steps, or one for each; keep: steps, -1 is the last."""
    from convert.families import daytime, views

    steps, rows = values.shape
    state = {name: np.zeros((width, rows), dtype) for name, (dtype, width) in views.STATES.items()}
    tables = {name: np.zeros((len(table.reads), rows)) for name, table in daytime.TABLES.items()}
    at = {t % steps: place for place, t in enumerate(keep)}
    places = np.int32([at.get(t, len(at)) for t in range(steps)])
    learns = np.broadcast_to(learn, steps).astype(np.float32)
    seen, ratios = run()(values, tables, np.float64(start), np.float32(step_seconds), learns, places, np.int32(len(at)), state)
    return Seen(seen, {t: ratios[place].numpy() for place, t in enumerate(keep)})


def noise(steps, rows=1, seed=0):
    return np.random.default_rng(seed).standard_normal((steps, rows))


def test_each_view_answers_its_own_question():
    from convert.families import views

    x = 100 + noise(900, 3)
    x[800, 0] += 15
    x[800:, 1] += 15
    x[800:, 2] += np.linspace(0, 30, 100)
    parts = observed(x).parts.swapaxes(1, 2)
    names = list(views.VIEWS)
    assert names[parts[800, 0].argmax()] == 'spike'
    assert names[parts[812, 1].argmax()] == 'level_shift'
    assert parts[840:, 2, names.index('ramp')].max() > 2.3


def test_nothing_is_judged_before_the_warm_up_nor_without_a_sample():
    from convert.families import scales

    x = noise(60)
    x[50] = np.nan
    judged = observed(x).judged[:, 0, 0]
    assert not judged[: scales.WARMUP].any() and judged[41:50].all() and judged[50] == 0 and judged[52:].all()


def test_trust_is_kept_for_as_many_steps_as_are_looked_back():
    """The state holds it as digits of one number: a gap may be a reference for none of the lags, at any of its places."""
    from convert.families import views

    x = noise(120)
    x[80] = np.nan
    for t, ratios in observed(x, keep=range(120)).ratios.items():
        code = ratios[views.at('trust')]
        for lag in views.LAGS:
            trusted = float(views.trust(code[None], lag).numpy()[0, 0])
            assert trusted == float(t - lag + 1 >= 0 and t - lag + 1 != 80), (t, lag)


def test_a_scale_is_no_smaller_than_a_hundredth_of_a_constant():
    x = np.full((300, 2), 50.0)
    x[200:, 0], x[200:, 1] = 50.4, 55
    surprise = observed(x).surprise[200:203, 0].max(0)
    assert surprise[0] < 1 and surprise[1] > 2.3


def test_judging_alone_changes_no_scale():
    from convert.families import views

    x = noise(200)
    first = observed(x, keep=[-1]).ratios[-1]
    again = observed(np.concatenate([x, x + 50]), learn=0.0, keep=[-1]).ratios[-1]
    assert first[views.at('n'), 0] == 200
    assert again[views.at('n'), 0] == 0


@pytest.mark.parametrize(('days', 'grows'), [(1, True), (3, False)])
def test_a_slope_of_the_first_two_days_teaches_its_scale_while_it_is_an_alarm(days, grows):
    """It may well come every day: without that each of the next slopes is an alarm too, and none of them teaches anything."""
    from convert.families import scales

    steps = int(days * 96)
    x = 100 + noise(steps + 12)
    x[steps:, 0] += np.linspace(0, 60, 12)
    ratios = observed(x, step_seconds=900.0, learn=np.arange(len(x)) < steps, keep=(steps - 1, -1)).ratios
    before, after = (ratios[t][: scales.K, 0] for t in (steps - 1, -1))
    grown = dict(zip(scales.DEVIATIONS, after > before, strict=True))
    assert all(grown[name] == grows for name in ('shift', 'restart', 'ramp'))
    assert not any(grown[name] for name in ('difference1', 'difference5', 'difference15', 'level', 'spike'))


def usual(x):
    """Share of the samples [T, M] inside the usual range after a quarter of them, for each series."""
    low, high = np.moveaxis(observed(x).usual, 1, 0)
    inside = (x >= low) & (x <= high)
    return inside[len(x) // 4 :].mean(0)


def test_the_usual_range_holds_99_percent_of_what_comes_whatever_its_distribution():
    steps, rows = (8000, 8) if is_accept() else (2500, 26)  # as many samples
    rng = np.random.default_rng(0)
    draws = {
        'normal': rng.standard_normal((steps, rows)),
        'lognormal': np.exp(rng.standard_normal((steps, rows))),
        'Student t': rng.standard_t(2.2, (steps, rows)),
        'slow sine': 10 * np.sin(np.arange(steps)[:, None] / 200) + rng.standard_normal((steps, rows)),
        'random walk': np.cumsum(rng.standard_normal((steps, rows)), 0),
        'counts': rng.poisson(3, (steps, rows)).astype(float),
    }
    share = usual(np.concatenate(list(draws.values()), 1)).reshape(len(draws), -1).mean(1)
    assert ((share > 0.985) & (share < 0.995)).all(), dict(zip(draws, share.round(4), strict=True))


def test_a_constant_is_inside_its_usual_range_and_one_wild_sample_does_not_widen_it():
    x = np.full((2000, 2), 5.0)
    x[:, 1] += np.random.default_rng(0).standard_normal(2000)
    x[1000] = 1e12
    low, high = np.moveaxis(observed(x).usual, 1, 0)
    assert (np.abs(low - 5)[1500:, 0] < 0.05).all() and (np.abs(high - 5)[1500:, 0] < 0.05).all()
    assert np.median((high - low)[1100:, 1]) < 2 * np.median((high - low)[500:1000, 1])


def test_a_constant_sees_a_small_change_an_hour_after_a_wild_sample():
    """Constants of 0 and 5, each with a sample far away, farther than any counter, and near the end of the numbers."""
    constant, wild = np.repeat([0.0, 5.0], 3), np.tile([1e3, 2.0**63, 1e300], 2)
    x = np.tile(constant, (800, 1))
    x[300] = wild
    x[700:] += 5
    surprise = observed(x).surprise[:, 0]
    assert (surprise[300] > 2.3).all() and (surprise[400:700] < 1).all() and (surprise[700:705].max(0) > 2.3).all(), surprise[[300, 700]]


def test_a_rare_change_is_normal_when_the_like_has_come_before():
    steps = 4000 if is_accept() else 2500
    x = np.zeros((steps, 1))
    for k, at in enumerate(range(500, steps, 500)):
        x[at : at + 3] = 3 + k % 3
    surprise = observed(x).surprise[:, 0, 0]
    found = [surprise[at : at + 8].max() for at in range(500, steps, 500)]
    assert found[0] > 2.3 and max(found[1:]) < 2.3, found


def test_noise_alone_never_begins_again():
    """Forty samples are the warm-up of every series, whatever its first ones are."""
    x = np.random.default_rng(3).standard_normal((60, 2000))
    judged = observed(x).judged[:, 0]
    assert judged[41:].all()


def test_the_scale_of_the_season_begins_anew_once_on_the_day_that_turns_to_the_week_before():
    """Were it to begin anew at each step of that day, the night after it would be all that it knows of the next morning."""
    import tensorflow as tf

    from convert.families import daytime

    @tf.function(autograph=False)
    def begun(r, tables, seconds):
        daytime.begin(r := dict(r), tables, daytime.places(seconds))
        return r | {'n_season': r['n_season'] + 1}

    counts, r = [], {name: np.zeros((1, 1), np.float32) for name in {'n_season', *daytime.RATIO, 'tail', 'n_tail'}}
    tables = {name: np.zeros((len(table.reads), 1)) for name, table in daytime.TABLES.items()}
    for quarter in range(9 * daytime.SLOTS):
        r = begun(r, tables, np.float64(quarter * 900))
        counts.append(float(r['n_season'][0, 0]))
    turns = 7 * daytime.SLOTS
    assert counts == [*range(1, turns + 1), *range(1, 2 * daytime.SLOTS + 1)]
