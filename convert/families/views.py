"""One step of a series' statistical views: several simple questions about the newest sample, each answered in the series' own scale.

    difference  the sample against that of 1, 5 and 15 steps ago        a step, a fast ramp
    shift       a short running level against a longer one              a small shift that lasts, a restart
    ramp        likewise, over hours                                    a ramp, a hump
    spike       the sample against a level that outliers hardly move    a spike, a dip
    flat        the run of equal values against the usual run           a value that stands still
    season      the sample against what is usual at this time           at steps of half an hour and more

Part of the ensemble's graph (ensemble calls `observe`), and run alone over synthetic series to make the training inputs, so that training
and serving cannot drift apart. Columns are series, M = entities × features: ONNX Runtime then applies a number to all of them in one go, where
it would loop over the rows of [M, 1] (four times slower).

scales.py has the scales. Three tables of the time of day (daytime.py) say what is usual then: how surprising the series is, how noisy, what came on the
days before.

Arithmetic about values is float64 (a terabyte in bytes has a float32 resolution of 64 KiB); ratios are float32. Everything stays finite for
every finite input: NaN is replaced first, in the one form that the ONNX converter keeps as `Where`; what must have no effect is multiplied
by a gate of 0. Source of scales, floors, weights: measured, see docs/explanation/accuracy.md.
"""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from convert.families import daytime, scales, steps
from convert.families.choices import f32, f64, first, if_, is_

LAGS = (1, 5, 15)
RING = max(LAGS)
HALF_LIVES = (5.0, 40.0, 2.5, 20.0, 160.0)      # of the running levels, in steps
LOCAL = 4.0                     # half-life of the level that outliers hardly move
EARLY, WILD = 12, 30.0         # after so many samples, one that is so many spreads of the others away is taken for a wild one
# weights of the views against that of a difference, and the samples after which they judge
WEIGHTS = {'shift': (1.1, 80), 'restart': (1.05, 80), 'spike': (1.0, 40), 'ramp': (1.2, 320)}
FLAT = 1.5
SINGLE = 0.85                   # what one sample alone counts for, against the mean of three
SUSPICIOUS = 3.0                # from this surprise on a sample is not trusted as a reference
QUIET = 30              # steps after an event that recurs in which the LSTM is not asked
# the usual range: between the quantiles of what has been seen, in scales; each sample beyond moves its border outwards by USUAL_RATE, each other one a
# little inwards, so that the share beyond comes to USUAL_SHARE for any series (Gibbs and Candès 2021, Adaptive conformal inference)
USUAL_SHARE, USUAL_RATE, USUAL_START, USUAL_MOST = 0.005, 0.4, 2.6, 30.0
AWAY = 100.0            # the largest distance from the slow level, in scales

VALUE = {'level': 1, 'levels': len(HALF_LIVES), 'local': 1, 'change': 1, 'once': 1, 'last': 1, 'ring': RING - 1}       # float64, user's unit
RATIO = {                       # float32
    'root': scales.K, 'root_long': scales.K, 'n': 1, 'n_change': 1, 'n_season': 1, 'still': 1, 'run': 1, 'longest': 1, 'restarts': 1, 'held': 1, 'quiet': 1,
    'signed': 1, 'above_one': 1, 'trust': 1, 'usual': 2, 'earlier': 2, 'before': 1, 'tail': 1, 'n_tail': 1, 'recent': 1, 'n_recent': 1,
    **daytime.RATIO,
}  # fmt: skip
STATES = {'values': ('float64', sum(VALUE.values())), 'ratios': ('float32', sum(RATIO.values()))}


class Observation(NamedTuple):
    """What one step makes of M samples; float32 [1, M] unless said otherwise."""

    x: tf.Tensor                # float64 [1, M]    the sample, or the last one where there is none
    judged: tf.Tensor           # 1 = there was a sample, warm, with a trusted reference
    surprise: tf.Tensor         # >= 0
    parts: tf.Tensor            # float32 [len(VIEWS), M]   the surprise of each view
    seasonal: tf.Tensor         # the part of the season in it, at slow steps
    absent: tf.Tensor           # daytime.EVENT_SURPRISE where an event that comes every day has not come
    centre: tf.Tensor           # float64 [1, M]    of the band
    reach: tf.Tensor            # float64 [1, M]    half of its width: a deviation that lasts comes to `threshold` there
    expected: tf.Tensor         # float64 [1, M]    inside the band
    usual: tf.Tensor            # float64 [2, M]    the range of the central 99 % of healthy samples
    recurring: tf.Tensor        # 1 = it would be an anomaly, if the like had not come at this time on other days
    inputs: tf.Tensor           # float32 [INPUTS, M]       what the LSTM sees
    season_next: tf.Tensor      # float64 [1, M]    NaN where neither known nor learnt
    tables: dict                # {name of daytime.TABLES: float64 [1, M]}  what to remember for this slot
    away: tf.Tensor             # distance from the slow level, in its scale
    stirred: tf.Tensor          # the largest of the difference and level deviations, in scales without the floors of nearly constant series
    reserved: tf.Tensor         # what is taken off any surprise now
    quiet: tf.Tensor            # above 0 = an event that recurs is not long ago
    slot_begins: tf.Tensor      # 1 = this is the first step of a slot of the day
    day_ended: tf.Tensor        # 1 = this is the first step after a day with surprises
    blank: tf.Tensor            # 0 = the series begins here
    state: dict                 # {name of STATES: [columns, M]}


CANDIDATES = ('difference1', 'difference5', 'difference15', 'spike', 'shift', 'restart', 'ramp', 'flat')
LOCAL_ONLY = np.float32([[name == 'spike'] for name in CANDIDATES])
WON_WEIGHTS = [[WEIGHTS.get(name, (1.0,))[0]] for name in CANDIDATES]
VIEWS = {                       # name for the user: what it is made of
    'spike': ('difference1', 'spike'),
    'level_shift': ('difference5', 'difference15', 'shift', 'restart'),
    'ramp': ('ramp',),
    'flat_line': ('flat',),
}
INPUTS = 24


def at(name):
    """The first column of a part of the state `ratios`."""
    return sum(itertools.islice(RATIO.values(), list(RATIO).index(name)))


SIGNED, ABOVE_ONE, STILL, JUDGED = at('signed'), at('above_one'), at('still'), at('n_tail')


class _Columns(dict):
    """Parts of a state by name, each [width, M]."""

    @classmethod
    def split(cls, state, widths):
        return cls(zip(widths, tf.split(state, list(widths.values()), axis=0), strict=True))

    def joined(self, widths, dtype):
        return tf.concat([tf.cast(self[name], dtype) for name in widths], 0)


def observe(value, season, tables, local_seconds, step_seconds, learn, threshold, state):
    """Judge, then learn, then describe.

    value          float64 [1, M]   NaN = no sample
    season         float64 [1, M]   the seasonal memory for now; NaN = not known
    tables         {name of daytime.TABLES: float64 [slots read, M]}    0 = not known
    local_seconds  float64 []       local wall-clock time
    step_seconds   float32 []
    learn          float32 [1, M]   0 = scales, slow level and tables keep their values, but see `scales.teaches_slopes`; 2 = a new normal
    threshold      float32 [1, M]   for `reach` only
    state          {name of STATES: [columns, M]}   zeros = never seen
    """
    v, r = _Columns.split(state['values'], VALUE), _Columns.split(state['ratios'], RATIO)
    step = f32(step_seconds)
    missing = tf.math.is_nan(value)
    x = tf.clip_by_value(tf.where(missing, v['last'], value), -scales.HUGE, scales.HUGE)
    present = 1 - is_(missing)
    renewed = tf.clip_by_value(learn - 1, 0.0, 1.0) * present
    gate = present * tf.minimum(learn, 1.0)

    again = present * _begins_again(x, v, r)
    restarts = r['restarts'] + again
    keep = 1 - again
    for name in ('root', 'root_long', 'n', 'n_change', 'n_season', 'still', 'run', 'longest', 'trust', 'earlier'):
        r[name] = keep * r[name]
    for name in ('change', 'once'):
        v[name] = f64(keep) * v[name]
    n = r['n']
    new = f64(1 - tf.minimum(n, 1.0))
    for name in ('level', 'levels', 'local', 'last', 'ring'):
        v[name] = if_(new, x, v[name])

    # what is compared with what
    unknown = tf.math.is_nan(season)
    memory = tf.clip_by_value(tf.where(unknown, x, season), -scales.HUGE, scales.HUGE)
    floor = scales.floor(v, r, tf.abs(x - v['last']))
    around = scales.of(r['root'][3:4], r['root_long'][3:4], floor)
    known = (1 - is_(unknown)) * (1 - is_(n >= scales.WARMUP) * is_(tf.abs(memory - v['level']) > 50 * around))
    level = v['level'] + f64(renewed) * (x - v['level'] - f64(known) * (memory - v['level']))      # the rhythm around the new level stays
    stored = memory + f64(1 - is_(unknown)) * (level - v['level'])
    memory = if_(f64(known), stored, x)
    v['level'] = level
    r['root'] = scales.noisier(r, renewed)
    scale = scales.of(r['root'], r['root_long'], floor)
    fresh = f64(tf.maximum(renewed, r['held'] * gate))        # after an incident, or an event that recurs, the levels of before say nothing
    for name in ('levels', 'local'):
        v[name] = if_(fresh, x, v[name])
    moved = if_(f64(is_(n > scales.SETTLED)), tf.clip_by_value(x, v['levels'][:1] - 8 * scale[:1], v['levels'][:1] + 8 * scale[:1]), x)
    rates = tf.maximum(tf.constant([[scales.share(half)] for half in HALF_LIVES], tf.float64), f64(1 / (n + 1)))
    levels = v['levels'] + f64(present) * rates * (moved - v['levels'])
    past = tf.concat([v['last'], v['ring'][3:4], v['ring'][13:14]], 0)
    deviation = tf.concat(
        [x - past, x - level, f64(known) * (x - memory), levels[:1] - levels[1:2], x - v['local'], levels[2:3] - levels[3:4],
         levels[3:4] - levels[4:5]], 0,
    )  # fmt: skip

    # time of day
    now = daytime.places(local_seconds)
    slot_begins, day_ended = daytime.begin(r, tables, now)
    louder = daytime.louder(r)

    sharp = scales.of(r['root'][:4], r['root_long'][:4], 0.25 * v['change'] + 1e-6 * tf.abs(v['level']) + scales.TINY)
    stirred = tf.reduce_max(scales.far(deviation[:4], sharp), 0, keepdims=True)

    # judge
    far = tf.concat([scales.far(deviation[:3], scale[:3] * f64(louder)), scales.far(deviation[3:5], scale[3:5]),
                     scales.far(deviation[5:8], scale[5:8] * f64(louder)), scales.far(deviation[8:], scale[8:])], 0)  # fmt: skip
    usable = steps.usable(tf.concat([trust(r['trust'], lag) for lag in LAGS], 0), axis=0)
    reference = tf.reduce_max(usable, 0, keepdims=True)
    learning = tf.minimum(learn, 1.0)               # levels that an incident has moved say nothing until it is over
    warm = lambda name: WEIGHTS[name][0] * is_(n >= WEIGHTS[name][1])               # noqa: E731
    weights = tf.concat([usable, warm('spike'), learning * warm('shift'), learning * warm('restart'), learning * warm('ramp')], 0)
    answers = weights * tf.concat([far[:3], far[6:7], far[5:6], far[7:]], 0)      # in the order of CANDIDATES
    run, longest = _run(x, v['last'], r, present, steps.half_life(step_seconds))
    flat = tf.minimum(4.0, FLAT * tf.math.log(tf.maximum(run, 1.0) / tf.maximum(longest, 1.0)))
    flat = tf.maximum(flat, 0.0) * is_(n >= scales.WARMUP) * is_(r['still'] < 0.5)
    answers = tf.concat([answers, flat], 0)
    raw = tf.reduce_max(answers, 0, keepdims=True)
    largest = lambda names: tf.reduce_max(tf.gather(answers, [CANDIDATES.index(name) for name in names], axis=0), 0, keepdims=True)     # noqa: E731
    parts = tf.concat([largest(names) for names in VIEWS.values()], 0)
    judged = present * is_(n >= scales.WARMUP) * reference
    reserved = daytime.reserve(r, step)
    off, off_known, bar, recurs = daytime.usual(raw, r, reserved, tables, now, step)
    came_daily = judged * recurs * is_(r['tops'] >= daytime.YOUNG)
    m = tf.maximum(raw - off, 0.0)
    slow = steps.slowness(step)
    compared = known * is_(r['n_season'] >= scales.WARMUP) * (1 - daytime.turns_weekly(r))
    apart = 0.3 * (far[3:4] + compared * far[4:5])
    whole = lambda m: (1 - slow) * tf.maximum((m + tf.reduce_sum(r['earlier'], 0, keepdims=True)) / 3, SINGLE * m) + slow * (0.6 * m + apart)      # noqa: E731
    absent = judged * daytime.missing_event(r, tables, now, step) * is_(n > scales.WARMUP + 10)
    surprise = tf.maximum(whole(m), daytime.EVENT_SURPRISE * absent)

    reach = tf.maximum(threshold - slow * apart, 0.3) / (1 - 0.4 * slow)
    reach = tf.maximum(reach + off_known, bar)
    near = is_(whole(m) < 0.8 * threshold)           # the band of one view as long as nothing is near it: a band that jumps is hard to read
    won = first(near * LOCAL_ONLY + (1 - near) * answers)
    centres = tf.concat([past, v['local'], levels[1:2], levels[3:4], levels[4:5], v['local']], 0)
    widths = tf.concat([scale[:3], scale[6:7], scale[5:6], scale[7:], scale[6:7]], 0)
    weight = tf.reduce_sum(won * tf.constant(WON_WEIGHTS), 0, keepdims=True)
    width = tf.reduce_sum(f64(won) * widths, 0, keepdims=True) * f64(if_(won[6:7], 1.0, louder))
    centre = tf.reduce_sum(f64(won) * centres, 0, keepdims=True)
    reach = f64(steps.sinh(tf.minimum(reach / weight, scales.LARGEST))) * width

    # learn
    trusted = present * (1 - 0.5 * judged * is_(whole(m) >= SUSPICIOUS))
    after = _Columns(r)
    ordinary = is_(trusted > 0.75)      # one wild sample says nothing about what the series can be
    after |= {'signed': tf.maximum(r['signed'], ordinary * is_(x < 0)), 'above_one': tf.maximum(r['above_one'], ordinary * is_(x > 1))}
    after |= {'restarts': restarts, 'run': run, 'longest': longest}
    after['held'] = if_(present, tf.maximum(1 - learning, came_daily), r['held'])
    newest = tf.maximum(trusted, renewed * tf.math.ceil(trusted))
    after['trust'] = f32(tf.floor((f64((1 - renewed) * r['trust']) + 0.5) / 3)) + 2 * newest * 3.0 ** (RING - 1)
    after['earlier'] = r['earlier'] + judged * (tf.concat([m, r['earlier'][:1]], 0) - r['earlier'])
    after['earlier'] = (1 - renewed) * after['earlier']
    after['quiet'] = tf.maximum(tf.maximum(r['quiet'] - 1, QUIET * came_daily), 0.0)
    out = daytime.learn(after, tables, raw, judged, learning, tf.abs(deviation[:1]) / scale[:1], gate * is_(n >= scales.WARMUP), now, step)
    after['n_recent'], after['recent'] = scales.recent(r, deviation, scale, learning, present)
    scales.learn(v, after, x, deviation, scale, gate, scales.teaches_slopes(r, gate, present), known, r['run'], step_seconds)
    inputs = _inputs(x, level, memory, compared, deviation, scale, floor, after, run, longest, whole(m), parts)
    season_next = _season_next(x, level, stored, is_(unknown), known, gate, n, scale, step_seconds)
    cut = tf.clip_by_value(x, v['local'] - 4 * scale[6:7], v['local'] + 4 * scale[6:7])
    cut = if_(f64(is_(n > scales.SETTLED)), cut, x)
    local = v['local'] + f64(present) * f64(tf.maximum(scales.share(LOCAL), 1 / (n + 1))) * (cut - v['local'])
    blank = is_(after['n'] > 0)
    value_next = _Columns(
        level=v['level_next'], levels=levels, local=local, change=v['change_next'], once=v['once_next'], last=x, ring=tf.concat([v['last'], v['ring'][:-1]], 0)
    )
    seasonal = slow * is_(apart > 0.6 * m) * surprise
    expected = if_(f64(slow * known * near), tf.clip_by_value(memory, centre - reach, centre + reach), centre)
    seasonally = f64(slow * known)
    middle = v['local'] + seasonally * (memory - v['local'])
    wide = (scale[6:7] + seasonally * (scale[4:5] - scale[6:7])) * f64(louder)
    usual, after['usual'] = _usual_range(r['usual'], x - middle, wide, judged * learning)
    return Observation(
        x=x, judged=judged, surprise=surprise, parts=parts, seasonal=seasonal, absent=daytime.EVENT_SURPRISE * absent, quiet=after['quiet'], reserved=reserved,
        away=f32(tf.minimum(tf.abs(deviation[3:4]) / scale[3:4], AWAY)), stirred=stirred,
        centre=centre, reach=reach, expected=expected, usual=middle + usual, recurring=judged * recurs,
        inputs=inputs, season_next=season_next, tables=out,
        slot_begins=slot_begins, day_ended=day_ended, blank=blank,
        state={'values': value_next.joined(VALUE, tf.float64) * f64(blank), 'ratios': after.joined(RATIO, tf.float32) * blank},
    )  # fmt: skip


def _begins_again(x, v, r):
    """1 where one of the first dozen samples is far from all others: all is forgotten, so that it does not spoil what follows; float32 [1, M]."""
    past = tf.concat([v['last'], v['ring'][: EARLY - 1]], 0)
    high, low = tf.reduce_max(past, 0, keepdims=True), tf.reduce_min(past, 0, keepdims=True)
    others = f64((1 - first(past)) * (1 - first(-past)))           # sums less the extremes would be lost in their rounding
    count = tf.reduce_sum(others, 0, keepdims=True)
    centre = tf.reduce_sum(others * past, 0, keepdims=True) / count
    gap = others * (past - centre)
    spread = tf.sqrt(tf.reduce_sum(gap * gap, 0, keepdims=True) / count)
    usual = WILD * (spread + 1e-3 * tf.abs(centre))
    wild = is_(tf.maximum(high - centre, centre - low) > usual) * is_(tf.abs(x - centre) <= usual)
    return wild * is_(r['n'] >= EARLY) * is_(r['n'] <= EARLY + 2) * is_(r['restarts'] < 1)


def _usual_range(beyond, deviation, scale, gate):
    """The usual range around its middle before the sample, float64 [2, M], and how far it is beyond USUAL_START after it, float32 [2, M]."""
    border = USUAL_START + beyond                   # of the lower and the upper side, in scales, 0 or more
    seen = f32(tf.clip_by_value(deviation / scale, -USUAL_MOST, USUAL_MOST))
    outside = is_(tf.concat([-seen, seen], 0) > border)
    moved = tf.maximum(border + USUAL_RATE * gate * (outside - USUAL_SHARE), 0.0)
    return tf.constant([[-1.0], [1.0]], tf.float64) * f64(border) * scale, moved - USUAL_START


def trust(code, lag):
    """Trust in the sample of that many steps ago: 1, 0.5 (suspicious) or 0 (none). The state holds RING of them as digits of base 3, the newest first."""
    digits = tf.floor((f64(code) + 0.5) / 3.0 ** (RING - lag))
    return f32(digits - 3 * tf.floor((digits + 0.5) / 3)) / 2


def _run(x, last, r, present, half):
    """Length of the run of equal values, and the longest that is usual; float32 [1, M] each."""
    n = r['n']
    equal = is_(x - last >= 0) * is_(x - last <= 0)
    counted = present * tf.minimum(n, 1.0)
    before = tf.maximum(r['longest'], 4.0)
    ended = counted * (1 - equal)
    longer = if_(is_(n < 200), r['run'], tf.minimum(r['run'], 3 * before))
    grown = if_(is_(r['run'] > before), longer, before)
    shrunk = tf.maximum(4.0, grown * f32(1 - (1 - tf.exp(-0.6931471805599453 / half)) / 3))
    return if_(ended, tf.zeros_like(n), r['run'] + counted * equal), if_(ended, shrunk, before)


def _season_next(x, level, stored, unknown, known, gate, n, scale, step_seconds):
    """Half of the way to the sample for each visit of a slot, outliers winsorised; a bounded sample where nothing, or nonsense, was known."""
    visits = tf.maximum(1800.0 / f64(step_seconds), 1)
    rate = 1 - tf.exp(-0.6931471805599453 / visits)
    gap = rate * tf.clip_by_value(x - stored, -6 * scale[4:5], 6 * scale[4:5])
    first = tf.clip_by_value(x, level - 20 * scale[3:4], level + 20 * scale[3:4])
    target = if_(f64(known), stored + gap, first)
    learnt = gate * tf.maximum(1 - unknown, is_(n >= scales.WARMUP))
    return if_(f64(learnt), target, stored) + f64(steps.nan_unless(tf.maximum(1 - unknown, learnt)))


def _inputs(x, level, memory, known, deviation, scale, floor, r, run, longest, whole, parts):
    """What the LSTM sees, float32 [INPUTS, M]."""
    far = steps.ratio(deviation, scale)
    far = tf.concat([far[:4], known * far[4:5], far[5:]], 0)
    seasonal = if_(f64(known), scale[4:5], floor)
    spread = tf.concat([scale[:1] / scale[3:4], seasonal / scale[3:4], scale[6:7] / scale[:1], scale[5:6] / scale[:1]], 0)
    spread = tf.math.log(f32(tf.clip_by_value(spread, 1e-4, 1e4)))
    rest = [
        scales.WARMUP / (r['n'] + scales.WARMUP), r['still'], tf.math.log((1 + run) / (1 + longest)), known, 20 * r['tail'],
        daytime.decoded(tf.maximum(r['daily'], 1.0)),
    ]  # fmt: skip
    return tf.concat([far, parts, whole, spread, *rest], 0)
