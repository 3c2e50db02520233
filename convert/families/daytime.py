"""What is usual at this time of the day: how surprising a series is, how noisy, and what came on the days before.

Tables of the time of day (promlstm.engine.tables) hold it; the state `r` keeps what belongs to the slot and the day that are going on. Called by
views, in this order: places, begin, louder, reserve, usual, missing_event, learn. Columns are series, [n, M].
"""

import math
from typing import NamedTuple

import tensorflow as tf

from convert.families import steps
from convert.families.choices import f32, f64, first, if_, is_
from promlstm.engine.manifest import Table

DAY, SLOTS = 86400.0, 96
DAYS = 1024.0                   # number of a day, modulo
ORDINARY = 1.6                  # surprise that is nothing special at any time
DAILY = 0.35                    # how much of the usual surprise of this time of day is taken off
DAILY_MOST = 4.0                # surprise that the tables of what is usual can hold
NOISE, NOISE_MOST = 0.7, 1.5    # the scale grows with the usual noise of this time of day
HEAVY, HEAVY_FROM, HEAVY_MOST = 0.5, 2.2, 0.2       # of the median over days of the day's largest surprise
TAIL, TAIL_FROM, TAIL_MOST, TAIL_OVER = 0.5, 0.018, 0.6, 1.82       # of the share of samples that begin an excursion
# of the same median, beyond OFTEN_FROM, where so large a share of the quarters of an hour has an event: nothing of it, all of it
OFTEN, OFTEN_FROM, OFTEN_MOST, OFTEN_SHARE = 1.5, 2.6, 1.5, (0.10, 0.16)
WARY, WARY_DAYS = 0.4, 4.0      # of a series that has just begun, less from sample to sample until it has been seen for so many days
EVENT_LEVEL, EVENT_DAYS, EVENT_SURPRISE = 3, 6, 3.0       # an event of that many HABIT_STEPs on six of seven days is missed when it does not come
HABIT_FROM, HABIT_STEP, HABIT_MARGIN = 2.3, 0.25, 0.4       # an event that came on two of seven days before recurs
CROWDED, CROWDED_DAYS = 0.03, 4     # share of slots with an event from which on it has to have come on three of seven days; days that are known then
YOUNG = 2                       # days for which a series is so new that an event recurs that came twice before, at any time
ECHO = 30                       # samples after which a wild one of the warm-up is in no comparison any more
EVENTFUL, EVENTFUL_RATE = 0.12, 0.01        # share of slots with an event from which on one that does not come says nothing

TABLES = {
    table.name: table
    for table in (
        # for each of seven days: the largest surprise of the slot, in 4 bits
        Table(name='habit', bits=32, period_seconds=int(DAY), slots=SLOTS, reads=(-3, -2, -1, 0, 1)),
        # the usual largest surprise of the slot; the usual size of a change
        Table(name='daily', bits=8, period_seconds=int(DAY), slots=SLOTS, reads=(0,), coarse=False),
        Table(name='noise', bits=8, period_seconds=int(DAY), slots=SLOTS, reads=(0,), coarse=False),
    )
}
RATIO = {                       # of the state, float32
    'slot': 1, 'daily': 1, 'largest': 1, 'daily_mean': 1, 'noise': 1, 'noise_sum': 1, 'noise_count': 1, 'noise_mean': 1, 'n_noise': 1, 'habit': 1, 'peak': 1,
    'day': 1, 'top': 1, 'usual_top': 1, 'tops': 1, 'largest_yet': 1, 'second_yet': 1, 'eventful': 1, 'born': 1,
}  # fmt: skip


class Now(NamedTuple):
    """Places in the tables."""

    slot: tf.Tensor             # float32 []    quarter of an hour of the day
    day: tf.Tensor              # float64 []    number of the day


def places(local_seconds):
    """The Now of an instant; local_seconds float64 []: local wall-clock time."""
    day = tf.floor(local_seconds / DAY)
    slot = tf.floor((local_seconds - day * DAY) / (DAY / SLOTS))
    return Now(f32(slot), day)


def begin(r, tables, now):
    """Begin a new slot or day, in the state `r`: (1 where a slot begins, 1 where a day with surprises has ended), float32 [1, M].

    Places are stored plus one: 0 = never seen.
    """
    slot, day = now
    same = is_(tf.abs(r['slot'] - slot - 1) < 0.5)
    slot_begins = 1 - same
    r['eventful'] += slot_begins * EVENTFUL_RATE * (is_(r['peak'] >= HABIT_FROM) - r['eventful'])
    largest = slot_begins * r['largest'] * is_(r['n_tail'] > ECHO)
    r['second_yet'] = tf.maximum(r['second_yet'], tf.minimum(r['largest_yet'], largest))
    r['largest_yet'] = tf.maximum(r['largest_yet'], largest)
    begins = {'daily': f32(tables['daily']), 'noise': _decoded_noise(tables['noise']), 'habit': _digit(tables['habit'][3:4], day)}
    for name, stored in begins.items():
        r[name] = if_(same, r[name], stored)
    for name in ('largest', 'noise_sum', 'noise_count', 'peak'):
        r[name] = same * r[name]
    r['slot'] = slot + 1 + 0 * r['slot']
    today = f32(tf.math.floormod(day, DAYS))
    day_begins = 1 - is_(tf.abs(r['day'] - today - 1) < 0.5)
    ended = day_begins * is_(r['top'] > 0)
    r['usual_top'] = if_(ended, usual_top(r['usual_top'], r['top'], r['tops']), r['usual_top'])
    r['tops'] = tf.minimum(r['tops'] + ended, 1e6)
    r['top'] = (1 - ended) * r['top']
    r['day'] = today + 1 + 0 * r['day']
    r['born'] = if_(tf.minimum(r['born'], 1.0), r['born'], today + 1)
    r['n_season'] = (1 - day_begins * turns_weekly(r)) * r['n_season']      # a trend is much further from last week than from yesterday
    return slot_begins, ended


def turns_weekly(r):
    """1 on the day on which the seasonal memory turns from the days before to the week before, for a series that began without: float32 [1, M].

    All of that day teaches the scale of the season anew, which is not compared with until the day is over: a night says nothing about a morning.
    """
    return is_(tf.abs(tf.math.floormod(r['day'] - r['born'], DAYS) - 7) < 0.5)


def usual_top(usual, top, days, most=1.0):
    """The median over days of a day's largest value, after one more day: float32 [1, M].

    The mean in the first five days, in which no day moves it by more than `most`: the first one may be an hour long.
    """
    near = if_(is_(tf.abs(top - usual) > 0.5), 1.0, 0.3)
    mean = usual + tf.clip_by_value(top - usual, -most, most) / (days + 1)
    median = usual + 0.3 * if_(is_(top > usual), 0.5, -0.5) * near
    return if_(tf.minimum(days, 1.0), if_(is_(days > 5), median, mean), top)


def louder(r):
    """By how much the scales of changes grow, as it is usually noisy now; float32 [1, M], 1 to NOISE_MOST."""
    noisier = r['noise'] / tf.maximum(r['noise_mean'], 1e-6)
    known = is_(r['noise'] > 0) * is_(r['noise_mean'] > 0)
    return if_(known, tf.clip_by_value(tf.pow(tf.maximum(noisier, 1e-3), NOISE), 1.0, NOISE_MOST), 1.0)


def _coded(x):
    """A surprise up to DAILY_MOST as a code of 8 bits, rounded when it is stored; 0 stays free for "not known"."""
    return 1 + tf.clip_by_value(x, 0.0, DAILY_MOST) * (254 / DAILY_MOST)


def decoded(code):
    """The surprise of a code."""
    return (code - 1) * (DAILY_MOST / 254)


def _coded_noise(x):
    """A size of changes, 1/64 to 64 in scales, as a code of 8 bits, likewise."""
    return 1 + (tf.math.log(tf.clip_by_value(x, 1 / 64, 64.0)) + math.log(64)) * (254 / (2 * math.log(64)))


def _decoded_noise(code):
    """0 where nothing is known."""
    code = f32(code)
    return tf.minimum(code, 1.0) * tf.exp((code - 1) * (2 * math.log(64) / 254) - math.log(64))


def reserve(r, step):
    """What is taken off any surprise of a series that has an event at most times of a day, or is hardly known; float32 [1, M]."""
    low, high = OFTEN_SHARE
    often = tf.clip_by_value((r['eventful'] - low) / (high - low), 0.0, 1.0) * is_(r['tops'] >= 2)
    known = r['n_tail'] * step / f32(WARY_DAYS * DAY)
    return often * tf.clip_by_value(OFTEN * (r['usual_top'] - OFTEN_FROM), 0.0, OFTEN_MOST) + WARY * tf.maximum(1 - known, 0.0)


def usual(raw, r, reserved, tables, now, step):
    """(what is taken off the surprise, the part of it that does not depend on the sample, surprise below which an event recurs, 1 = it does).

    reserved  float32 [1, M]  see `reserve`
    """
    daily = DAILY * tf.maximum(0.0, decoded(r['daily']) - tf.maximum(r['daily_mean'], ORDINARY)) * tf.minimum(r['daily'], 1.0)
    known = reserved + daily
    known += tf.minimum(HEAVY_MOST, HEAVY * tf.maximum(0.0, r['usual_top'] - HEAVY_FROM)) * is_(r['tops'] >= 2)
    tail = tf.minimum(TAIL_MOST, TAIL * tf.maximum(0.0, tf.math.log(tf.maximum(r['tail'], 1e-9) / TAIL_FROM)))
    known += (1 - steps.slowness(step)) * tail * is_(r['n_tail'] > 300)
    came = _came(r, tables, now)
    others = came * (1 - first(came))
    second, third = (tf.reduce_max(each, 0, keepdims=True) for each in (others, others * (1 - first(others))))
    crowded = is_(r['eventful'] >= CROWDED) * is_(r['tops'] >= CROWDED_DAYS)
    second = if_(crowded, third, second)
    second = tf.maximum(second, r['second_yet'] * is_(r['tops'] < YOUNG))
    bar = tf.maximum(second + HABIT_MARGIN, 0.0) * is_(second >= HABIT_FROM) * is_(step < DAY)
    capped = tf.minimum(raw, HABIT_FROM + 14 * HABIT_STEP)
    recurs = is_(capped <= bar) * is_(raw > ORDINARY)
    return tf.maximum(known, recurs * (raw - ORDINARY)), known, bar, recurs * is_(raw >= HABIT_FROM)


def _came(r, tables, now):
    """The largest surprise at this time of each of the seven days before, a slot more or less; float32 [7, M], 0 = none."""
    slot, day = now
    back = tf.range(1, 8, dtype=tf.float64)[:, None]
    morning, night = f64(is_(slot < 0.5)), f64(is_(slot > SLOTS - 1.5))      # the slot before, or after, is of another day
    before, exact, after = (tables['habit'][k : k + 1] for k in (2, 3, 4))
    of = lambda code, shift: _digit(code, day - back + shift)       # noqa: E731
    week = tf.cast(back > 6.5, tf.float32)      # what came a week ago is written over as today comes: the state keeps it
    levels = tf.maximum(if_(week, r['habit'], of(exact, 0.0)), tf.maximum(
        of(before, -morning) * f32(tf.cast(back < 6.5, tf.float64)),
        of(after, night) * f32(1 - night * tf.cast(back < 1.5, tf.float64)),
    ))  # fmt: skip
    return tf.minimum(levels, 1.0) * (HABIT_FROM + HABIT_STEP * (levels - 1))


def missing_event(r, tables, now, step):
    """1 where an event that came at this time on nearly every day has not come today, a quarter of an hour before; float32 [1, M]."""
    slot, day = now
    back = tf.range(1, 8, dtype=tf.float64)[:, None]
    of = lambda k, days: _digit(tables['habit'][k : k + 1], days - f64(is_(slot + k - 3 < -0.5)))       # noqa: E731
    today = [tf.minimum(of(k, day), 1.0) for k in range(3)]
    usual = [is_(tf.reduce_sum(is_(of(k, day - back) >= EVENT_LEVEL), 0, keepdims=True) >= EVENT_DAYS) for k in range(2)]
    moved = today[0] * (1 - usual[0])       # a little earlier than usual is not missing
    return usual[1] * (1 - today[1]) * (1 - today[2]) * (1 - moved) * is_(r['eventful'] < EVENTFUL) * is_(step <= DAY / SLOTS)


def _digit(code, day):
    """Four bits of a code: those of a day."""
    place = tf.pow(tf.constant(16.0, tf.float64), tf.math.floormod(day, 7.0))
    shifted = tf.floor(code / place)
    return f32(shifted - 16 * tf.floor(shifted / 16))


def learn(r, tables, raw, judged, learning, change, learnt, now, step):
    """Learn what is usual at this time, in the state `r`; returns {name of TABLES: float64 [1, M]} to remember for this slot.

    raw               float32 [1, M]    the surprise before anything is taken off
    judged, learning  float32 [1, M]    1 = it was judged; 1 = it may teach
    change            float64 [1, M]    size of the newest change, in its scale
    learnt            float32 [1, M]    1 = the change teaches how noisy it is
    """
    taught = judged * learning
    seen = tf.minimum(raw, DAILY_MOST)
    r['peak'] = tf.maximum(r['peak'], judged * raw)     # while an alarm is held too: its end comes every night as well
    r['largest'] = tf.maximum(r['largest'], taught * seen)
    r['top'] = tf.maximum(r['top'], taught * seen)
    per_slot = tf.maximum(1.0, f32(DAY / SLOTS) / step)
    r['daily_mean'] = _running(r['daily_mean'], r['largest'], 0.05 / per_slot, taught, r['n_tail'])
    over = is_(raw > TAIL_OVER) * is_(r['before'] <= TAIL_OVER)
    rate = f32(1 - tf.exp(-0.6931471805599453 / steps.half_life(step))) / 3
    r['n_tail'] = tf.minimum(r['n_tail'] + taught, 1e6)
    r['tail'] += taught * tf.maximum(rate, 1 / tf.maximum(r['n_tail'], 1.0)) * (over - r['tail'])
    r['before'] = if_(judged, raw, r['before'])
    size = tf.minimum(f32(tf.minimum(change, 1e9)), 4.0)
    r['noise_mean'] = _running(r['noise_mean'], size, 0.001, learnt, r['n_noise'])
    r['n_noise'] = tf.minimum(r['n_noise'] + learnt, 1e6)
    r['noise_sum'] += learnt * size
    r['noise_count'] += learnt
    mean = r['noise_sum'] / tf.maximum(r['noise_count'], 1.0)
    known = is_(r['noise'] > 0)
    noise = if_(known, r['noise'] + 0.2 * tf.minimum(1.0, r['noise_count'] / per_slot) * (mean - r['noise']), mean)
    noise = tf.maximum(known, tf.minimum(r['noise_count'], 1.0)) * _coded_noise(tf.maximum(noise, 1e-3))
    usual = decoded(r['daily'])
    moved = usual + 0.5 * if_(is_(r['largest'] > usual), 0.7, -0.3) * if_(is_(tf.abs(r['largest'] - usual) > 0.5), 1.0, 0.3)
    daily = if_(is_(r['largest'] > 0), _coded(if_(tf.minimum(r['daily'], 1.0), moved, r['largest'])), r['daily'])
    place = tf.pow(tf.constant(16.0, tf.float64), tf.math.floormod(now.day, 7.0))
    base = tables['habit'][3:4]
    level = is_(r['peak'] >= HABIT_FROM - HABIT_STEP / 2) * (1 + tf.clip_by_value(tf.round((r['peak'] - HABIT_FROM) / HABIT_STEP), 0.0, 14.0))
    old = tf.floor(base / place)
    old = old - 16 * tf.floor(old / 16)
    return {'habit': base + place * (f64(level) - old), 'daily': f64(daily), 'noise': f64(noise)}


def _running(mean, x, rate, gate, count):
    """A running mean: of all samples at first, exponential later; float32 [1, M]."""
    return mean + gate * tf.maximum(rate, 1 / (count + 1)) * (x - mean)
