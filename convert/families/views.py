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

A scale is a running root mean square of the deviation itself. Outliers are winsorised, so that nothing that happens once is remembered for
long, whatever its size; the floors keep a nearly constant series, or one that is nearly always zero, from ruining a threshold that holds for
all of them. Four tables of the time of day say what is usual then: how surprising the series is, how noisy, what came on the days before.

Arithmetic about values is float64 (a terabyte in bytes has a float32 resolution of 64 KiB); ratios are float32. Everything stays finite for
every finite input: NaN is replaced first, in the one form that the ONNX converter keeps as `Where`; what must have no effect is multiplied
by a gate of 0. Source of scales, floors, weights: measured, see docs/explanation/accuracy.md.
"""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from convert.families import daytime, steps
from convert.families.choices import f32, f64, first, if_, is_

LAGS = (1, 5, 15)
RING = max(LAGS)
HALF_LIVES = (5.0, 40.0, 2.5, 20.0, 160.0)      # of the running levels, in steps
LOCAL = 4.0                     # half-life of the level that outliers hardly move
WARMUP = 40                     # samples before the first surprise
SETTLED = 8                     # samples before outliers are winsorised
EARLY, WILD = 12, 30.0         # after so many samples, one that is so many spreads of the others away is taken for a wild one
WINSOR, WINSOR_NEW, WINSOR_LONG = 6.0, 8.0, 100.0      # scales: of the moments; in the warm-up; of the moments that forget slowly
LARGEST = 8.0                   # of one surprise: a series that leaves its constant must not dominate all features of an entity
SPARSE, APART, LIKE = 0.9, 60, 30.0     # share of steps without change from which on a change counts when the like has come before, so many steps apart
HUGE = 1e37                     # values are clipped here, so that scales stay finite in float32
TINY = 1e-30
# weights of the views against that of a difference, and the samples after which they judge
WEIGHTS = {'shift': (1.1, 80), 'restart': (1.05, 80), 'spike': (1.0, 40), 'ramp': (1.2, 320)}
FLAT = 1.5
SINGLE = 0.85                   # what one sample alone counts for, against the mean of three
SUSPICIOUS = 3.0                # from this surprise on a sample is not trusted as a reference
# the size of changes while an alarm is held, in scales: half-life in steps, the most of one change, the usual value, changes that say enough
RECENT, RECENT_MOST, RECENT_USUAL, RECENT_FROM = 10.0, 30.0, 0.8, 8
QUIET = 30              # steps after an event that recurs in which the LSTM is not asked
# the usual range: between the quantiles of what has been seen, in scales; each sample beyond moves its border outwards by USUAL_RATE, each other one a
# little inwards, so that the share beyond comes to USUAL_SHARE for any series (Gibbs and Candès 2021, Adaptive conformal inference)
USUAL_SHARE, USUAL_RATE, USUAL_START, USUAL_MOST = 0.005, 0.4, 2.6, 30.0
AWAY = 100.0            # the largest distance from the slow level, in scales

DEVIATIONS = ('difference1', 'difference5', 'difference15', 'level', 'season', 'shift', 'spike', 'restart', 'ramp')
K = len(DEVIATIONS)
# the variance that white noise gives a deviation, against that of `difference1`
WHITE = np.float64([[1.0], [1.0], [1.0], [0.5], [0.5], [0.03], [0.54], [0.06], [0.008]])
VALUE = {'level': 1, 'levels': len(HALF_LIVES), 'local': 1, 'change': 1, 'once': 1, 'last': 1, 'ring': RING - 1}       # float64, user's unit
RATIO = {                       # float32
    'root': K, 'root_long': K, 'n': 1, 'n_change': 1, 'n_season': 1, 'still': 1, 'run': 1, 'longest': 1, 'restarts': 1, 'held': 1, 'quiet': 1,
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


def share(half_life):
    """Weight of the newest sample in an exponential mean."""
    return 1 - 0.5 ** (1 / half_life)


def _far(deviation, scale):
    """Distance in scales, linear below one and logarithmic above; float32, at most LARGEST."""
    return tf.minimum(tf.asinh(f32(tf.minimum(tf.abs(deviation) / scale, 1e9))), LARGEST)


def _scales(root, root_long, floor):
    return tf.maximum(f64(tf.maximum(root, 0.3 * root_long)), floor)


def observe(value, season, tables, local_seconds, step_seconds, learn, threshold, state):
    """Judge, then learn, then describe.

    value          float64 [1, M]   NaN = no sample
    season         float64 [1, M]   the seasonal memory for now; NaN = not known
    tables         {name of daytime.TABLES: float64 [slots read, M]}    0 = not known
    local_seconds  float64 []       local wall-clock time
    step_seconds   float32 []
    learn          float32 [1, M]   0 = scales, slow level and tables keep their values, but see `_teaches_slopes`; 2 = a new normal
    threshold      float32 [1, M]   for `reach` only
    state          {name of STATES: [columns, M]}   zeros = never seen
    """
    v, r = _Columns.split(state['values'], VALUE), _Columns.split(state['ratios'], RATIO)
    step = f32(step_seconds)
    missing = tf.math.is_nan(value)
    x = tf.clip_by_value(tf.where(missing, v['last'], value), -HUGE, HUGE)
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
    memory = tf.clip_by_value(tf.where(unknown, x, season), -HUGE, HUGE)
    floor = _floor(v, r, tf.abs(x - v['last']))
    scale = _scales(r['root'], r['root_long'], floor)
    known = (1 - is_(unknown)) * (1 - is_(n >= WARMUP) * is_(tf.abs(memory - v['level']) > 50 * scale[3:4]))
    level = v['level'] + f64(renewed) * (x - v['level'] - f64(known) * (memory - v['level']))      # the rhythm around the new level stays
    stored = memory + f64(1 - is_(unknown)) * (level - v['level'])
    memory = if_(f64(known), stored, x)
    v['level'] = level
    r['root'] = _noisier(r, renewed)
    scale = _scales(r['root'], r['root_long'], floor)
    fresh = f64(tf.maximum(renewed, r['held'] * gate))        # after an incident, or an event that recurs, the levels of before say nothing
    for name in ('levels', 'local'):
        v[name] = if_(fresh, x, v[name])
    moved = if_(f64(is_(n > SETTLED)), tf.clip_by_value(x, v['levels'][:1] - 8 * scale[:1], v['levels'][:1] + 8 * scale[:1]), x)
    rates = tf.maximum(tf.constant([[share(half)] for half in HALF_LIVES], tf.float64), f64(1 / (n + 1)))
    levels = v['levels'] + f64(present) * rates * (moved - v['levels'])
    past = tf.concat([v['last'], v['ring'][3:4], v['ring'][13:14]], 0)
    deviation = tf.concat(
        [x - past, x - level, f64(known) * (x - memory), levels[:1] - levels[1:2], x - v['local'], levels[2:3] - levels[3:4],
         levels[3:4] - levels[4:5]], 0,
    )  # fmt: skip

    # time of day
    now = daytime.places(local_seconds)
    slot_begins, day_ended = daytime.begin(r, tables, now, step)
    louder = daytime.louder(r)

    sharp = _scales(r['root'][:4], r['root_long'][:4], 0.25 * v['change'] + 1e-6 * tf.abs(v['level']) + TINY)
    stirred = tf.reduce_max(_far(deviation[:4], sharp), 0, keepdims=True)

    # judge
    far = tf.concat([_far(deviation[:3], scale[:3] * f64(louder)), _far(deviation[3:5], scale[3:5]),
                     _far(deviation[5:8], scale[5:8] * f64(louder)), _far(deviation[8:], scale[8:])], 0)  # fmt: skip
    usable = steps.usable(tf.concat([trust(r['trust'], lag) for lag in LAGS], 0), axis=0)
    reference = tf.reduce_max(usable, 0, keepdims=True)
    learning = tf.minimum(learn, 1.0)               # levels that an incident has moved say nothing until it is over
    warm = lambda name: WEIGHTS[name][0] * is_(n >= WEIGHTS[name][1])               # noqa: E731
    weights = tf.concat([usable, warm('spike'), learning * warm('shift'), learning * warm('restart'), learning * warm('ramp')], 0)
    answers = weights * tf.concat([far[:3], far[6:7], far[5:6], far[7:]], 0)      # in the order of CANDIDATES
    run, longest = _run(x, v['last'], r, present, steps.half_life(step_seconds))
    flat = tf.minimum(4.0, FLAT * tf.math.log(tf.maximum(run, 1.0) / tf.maximum(longest, 1.0)))
    flat = tf.maximum(flat, 0.0) * is_(n >= WARMUP) * is_(r['still'] < 0.5)
    answers = tf.concat([answers, flat], 0)
    raw = tf.reduce_max(answers, 0, keepdims=True)
    largest = lambda names: tf.reduce_max(tf.gather(answers, [CANDIDATES.index(name) for name in names], axis=0), 0, keepdims=True)     # noqa: E731
    parts = tf.concat([largest(names) for names in VIEWS.values()], 0)
    judged = present * is_(n >= WARMUP) * reference
    reserved = daytime.reserve(r, step)
    off, off_known, bar, recurs = daytime.usual(raw, r, reserved, tables, now, step)
    came_daily = judged * recurs * is_(r['tops'] >= daytime.YOUNG)
    m = tf.maximum(raw - off, 0.0)
    slow = steps.slowness(step)
    compared = known * is_(r['n_season'] >= WARMUP) * (1 - daytime.turns_weekly(r))
    apart = 0.3 * (far[3:4] + compared * far[4:5])
    whole = lambda m: (1 - slow) * tf.maximum((m + tf.reduce_sum(r['earlier'], 0, keepdims=True)) / 3, SINGLE * m) + slow * (0.6 * m + apart)      # noqa: E731
    absent = judged * daytime.missing_event(r, tables, now, step) * is_(n > WARMUP + 10)
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
    reach = f64(tf.sinh(tf.minimum(reach / weight, LARGEST))) * width

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
    out = daytime.learn(after, tables, raw, judged, learning, tf.abs(deviation[:1]) / scale[:1], gate * is_(n >= WARMUP), now, step)
    size = tf.minimum(f32(tf.abs(deviation[:1]) / scale[:1]), RECENT_MOST)
    after['n_recent'] = (1 - learning) * (r['n_recent'] + present)
    rate = tf.maximum(share(RECENT), 1 / (r['n_recent'] + 1))
    after['recent'] = (1 - learning) * (r['recent'] + present * rate * (size - r['recent']))
    _learn_scales(v, after, x, deviation, scale, gate, _teaches_slopes(r, gate, present), known, r['run'], step_seconds)
    inputs = _inputs(x, level, memory, compared, deviation, scale, floor, after, run, longest, whole(m), parts)
    season_next = _season_next(x, level, stored, is_(unknown), known, gate, n, scale, step_seconds)
    cut = tf.clip_by_value(x, v['local'] - 4 * scale[6:7], v['local'] + 4 * scale[6:7])
    cut = if_(f64(is_(n > SETTLED)), cut, x)
    local = v['local'] + f64(present) * f64(tf.maximum(share(LOCAL), 1 / (n + 1))) * (cut - v['local'])
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


def _noisier(r, renewed):
    """The moments with the noise that a new normal has brought, float32 [K, M]: while an alarm is held they are not learnt."""
    ratio, root = f64(tf.maximum(r['recent'] * is_(r['n_recent'] >= RECENT_FROM) / RECENT_USUAL, 1.0)), f64(r['root'])
    noisier = tf.sqrt(root * root + WHITE * (ratio * ratio - 1) * root[:1] * root[:1])
    return if_(renewed, f32(noisier), r['root'])


def _floor(v, r, size):
    """Of all scales, float64 [1, M]: the more steps change nothing, the more the usual size of a change counts, and a hundredth of the value.

    A change that came once is a yardstick only for those of its size: a glitch must not hide what is smaller.
    """
    usual = tf.maximum(v['change'], v['once'] * f64(is_(LIKE * size >= v['once'])))
    still = r['still'] * r['still']
    return tf.maximum(f64(0.25 + still) * usual, f64(tf.maximum(1e-6, 0.01 * still * still)) * tf.abs(v['level'])) + TINY


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


def _teaches_slopes(r, gate, present):
    """1 where the sample teaches the scales of the running levels, float32 [1, M]: in the first days of a series it does while an alarm is held too.

    A slope that comes every day is an alarm on the first of them. If it taught nothing then, all that follow would be alarms as well.
    """
    return tf.maximum(gate, present * is_(r['tops'] < daytime.YOUNG))


def _learn_scales(v, r, x, deviation, scale, gate, slopes, known, run, step_seconds):
    """Scales, level, mean change; adds `level_next`, `change_next` and `once_next` to `v`; run = steps without a change before this one.

    gate, slopes  float32 [1, M]  1 = the sample teaches; the same of the running levels
    """
    rate = f32(1 - tf.exp(-0.6931471805599453 / steps.half_life(step_seconds)))
    before = r['n']
    n = r['n'] = tf.minimum(before + gate, 1e6)
    r['n_season'] = tf.minimum(r['n_season'] + gate * known, 1e6)
    count = tf.concat([n - 1, n - 5, n - 15, n - 1, r['n_season'], n, n, n, n], 0)
    count = tf.maximum(count, 0.0)
    gates = f64(tf.concat([gate * tf.ones_like(count[:4]), gate * known, slopes, gate, slopes, slopes], 0))
    most = f64(if_(is_(n > WARMUP), WINSOR, WINSOR_NEW)) * scale
    most_long = f64(if_(is_(n > WARMUP), WINSOR_LONG, WINSOR_NEW)) * scale
    free = f64(is_(count <= SETTLED) * is_(n <= WARMUP)) * (HUGE * HUGE)
    square = deviation * deviation
    for name, bound, speed in (('root', most, rate), ('root_long', most_long, rate / 6)):
        old = f64(r[name]) * f64(r[name])
        new = old + gates * f64(steps.weight(speed, count)) * (tf.minimum(square, bound * bound + free) - old)
        r[name] = f32(tf.sqrt(tf.maximum(new, 0)))
    size = tf.abs(deviation[:1])
    moved = gate * is_(size > 0)
    sparse, apart = f64(is_(r['still'] > SPARSE)), f64(is_(run >= APART))
    known = tf.maximum(v['change'], apart * v['once'])
    v['once_next'] = v['once'] + f64(moved) * sparse * (tf.maximum(size, (1 - apart) * v['once']) - v['once'])
    counted = moved * if_(f32(sparse), is_(known > 0), 1.0)
    r['n_change'] = tf.minimum(r['n_change'] + counted, 1e6)
    cut = if_(sparse, tf.minimum(size, LIKE * known), if_(f64(is_(r['n_change'] > 1)), tf.minimum(size, 30 * v['change']), size))
    v['change_next'] = v['change'] + f64(counted * steps.weight(rate, r['n_change'])) * (cut - v['change'])
    r['still'] += gate * steps.weight(rate, n) * (1 - is_(size > 0) - r['still'])
    gap = x - v['level']
    gap = if_(f64(is_(n > SETTLED + 1)), tf.clip_by_value(gap, -30 * scale[3:4], 30 * scale[3:4]), gap)
    v['level_next'] = v['level'] + f64(gate * steps.weight(rate, n)) * gap


def _season_next(x, level, stored, unknown, known, gate, n, scale, step_seconds):
    """Half of the way to the sample for each visit of a slot, outliers winsorised; a bounded sample where nothing, or nonsense, was known."""
    visits = tf.maximum(1800.0 / f64(step_seconds), 1)
    rate = 1 - tf.exp(-0.6931471805599453 / visits)
    gap = rate * tf.clip_by_value(x - stored, -6 * scale[4:5], 6 * scale[4:5])
    first = tf.clip_by_value(x, level - 20 * scale[3:4], level + 20 * scale[3:4])
    target = if_(f64(known), stored + gap, first)
    learnt = gate * tf.maximum(1 - unknown, is_(n >= WARMUP))
    return if_(f64(learnt), target, stored) + f64(steps.nan_unless(tf.maximum(1 - unknown, learnt)))


def _inputs(x, level, memory, known, deviation, scale, floor, r, run, longest, whole, parts):
    """What the LSTM sees, float32 [INPUTS, M]."""
    far = tf.asinh(f32(tf.clip_by_value(deviation / scale, -1e9, 1e9)))
    far = tf.concat([far[:4], known * far[4:5], far[5:]], 0)
    seasonal = if_(f64(known), scale[4:5], floor)
    spread = tf.concat([scale[:1] / scale[3:4], seasonal / scale[3:4], scale[6:7] / scale[:1], scale[5:6] / scale[:1]], 0)
    spread = tf.math.log(f32(tf.clip_by_value(spread, 1e-4, 1e4)))
    rest = [WARMUP / (r['n'] + WARMUP), r['still'], tf.math.log((1 + run) / (1 + longest)), known, 20 * r['tail'], daytime.decoded(tf.maximum(r['daily'], 1.0))]
    return tf.concat([far, parts, whole, spread, *rest], 0)
