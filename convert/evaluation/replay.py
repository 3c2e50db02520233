"""A model file replayed over recorded telemetry by the code that serves it, many entities at once.

Who calls it: calibrate and evaluate, and nothing else judges a model: what they measure is what an operator gets.
"""

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np

from promlstm.engine import detector
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank

UTC = ZoneInfo('UTC')


def surprises(session, times, values, *, step_seconds, history=None, contributions=False):
    """Surprise of every sample, in time order; no alarm is latched, so one incident does not hide the next.

    times    float64 [T] unix seconds, one clock for all
    values   float64 [T, N, F], NaN = none
    history  (times [H], values [H, N, F]) to fill the seasonal memory with at the start, or None
    returns  float32 [T, N], NaN = not judged; with contributions also float32 [T, N, F]
    """
    settings = detector.Settings(step_seconds=step_seconds, zone=UTC, alarms_per_week=None)
    memory = _memory(session, values, history)
    out = np.full(values.shape[:2], np.nan, np.float32)
    shares = np.full(values.shape, np.nan, np.float32) if contributions else None
    frames = (Frame(float(time), row) for time, row in zip(times, values, strict=True))
    for t, (verdicts, _) in enumerate(detector.replay(session, settings, memory, frames)):
        out[t] = verdicts.surprise
        if contributions:
            shares[t] = verdicts.contribution
    return (out, shares) if contributions else out


def _memory(session, values, history):
    """Blank, but for the seasons of a history."""
    memory = blank(session, UTC, values.shape[1], values.shape[2])
    return replace(memory, season=memory.season.fill(*history)) if history is not None and len(history[0]) else memory


def judged(session, times, values, *, step_seconds, history=None):
    """As surprises; returns (float32 [T, N], int64 [N]: which calibration rows hold for each entity at the end)."""
    settings = detector.Settings(step_seconds=step_seconds, zone=UTC, alarms_per_week=None)
    memory = _memory(session, values, history)
    out = np.full(values.shape[:2], np.nan, np.float32)
    frames = (Frame(float(time), row) for time, row in zip(times, values, strict=True))
    for t, (verdicts, after) in enumerate(detector.replay(session, settings, memory, frames)):
        out[t], memory = verdicts.surprise, after
    return out, memory.klass
