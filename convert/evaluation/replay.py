"""A model file replayed over recorded telemetry by the code that serves it, many entities at once.

Who calls it: calibrate and the evaluation. Nothing else scores with a model, so what they measure is what an operator gets.
"""

from dataclasses import replace
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from promlstm.engine import advance
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank

UTC = ZoneInfo('UTC')


class Forgetful:
    """A sessions.Session that reads 0, "nothing is stored", from one table of the time of day, whatever was stored in it."""

    def __init__(self, session, table):
        self._session, tables = session, session.bundle.manifest.tables
        self._columns = [spec.name == table for spec in tables for _ in spec.reads]

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, inputs, state):
        """As Session.run."""
        return self._session.run({**inputs, 'table': np.where(self._columns, np.uint32(0), inputs['table'])}, state)

    def run_together(self, inputs, state, _wait_seconds):
        """As Session.run_together, alone."""
        return self.run(inputs, state)


class Seen(NamedTuple):
    """What an operator sees beside a score, to be filled in by a replay: float32 [T, N, F] each, NaN = nothing."""

    expected: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def blank(cls, shape):
        """Nothing seen so far."""
        return cls(*(np.full(shape, np.nan, np.float32) for _ in cls._fields))


def surprises(session, times, values, *, step_seconds, history=None, contributions=False, progress=iter):
    """Surprise of every sample, in time order; no alarm is latched, so one incident does not hide the next.

    times     float64 [T] unix seconds, one clock for all
    values    float64 [T, N, F], NaN = none
    history   (times [H], values [H, N, F]) to fill the seasonal memory with at the start, or None
    progress  function of an iterable of T steps that yields them and shows how many are done
    returns   float32 [T, N], NaN = not judged; with contributions also float32 [T, N, F]
    """
    out = np.full(values.shape[:2], np.nan, np.float32)
    shares = np.full(values.shape, np.nan, np.float32) if contributions else None
    for t, verdicts, _ in steps(session, times, values, step_seconds, history, progress):
        out[t] = verdicts.surprise
        if contributions:
            shares[t] = verdicts.contribution
    return (out, shares) if contributions else out


def surprises_and_classes(session, times, values, *, step_seconds, history=None, progress=iter, seen=None):
    """As `surprises`; returns (float32 [T, N], int64 [N]: which calibration rows hold for each entity at the end).

    seen  a blank Seen, which is filled in, or None
    """
    out = np.full(values.shape[:2], np.nan, np.float32)
    for t, verdicts, after in steps(session, times, values, step_seconds, history, progress):
        out[t], memory = verdicts.surprise, after
        for name, column in seen._asdict().items() if seen else ():
            column[t] = getattr(verdicts, name)
    return out, memory.klass


def steps(session, times, values, step_seconds, history=None, progress=iter, alarms_per_week=None):
    """(number of the step, its promlstm.engine.columns.Verdicts, the memory after it) of all steps; arguments as of `surprises`.

    Without a budget there are no scores, and the band of the verdicts is that of the nominal threshold.
    """
    settings = advance.Settings(step_seconds=step_seconds, zone=UTC, alarms_per_week=alarms_per_week)
    memory = blank(session, UTC, values.shape[1], values.shape[2])
    if history is not None and len(history[0]):
        memory = replace(memory, season=memory.season.fill(*history))
    frames = (Frame(float(time), row) for time, row in zip(times, values, strict=True))
    for t, (verdicts, after) in progress(enumerate(advance.replay(session, settings, memory, frames))):
        yield t, verdicts, after
