"""What coarse history tells of days: the season, the tables of the time of day, the recent means, before a replay of the last steps.

Who calls it: detector, at a warm start. What flows through: frames of samples that are minutes apart in, memories out; it asks nobody for samples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from promlstm.engine import season as seasonal
from promlstm.engine.advance import Settings, advance
from promlstm.engine.columns import Frame
from promlstm.engine.interfaces import DetectorConfig
from promlstm.engine.memory import Memory
from promlstm.engine.session import Session

SAMPLES_PER_SLOT = 6  # unless the fleet is too large
COARSE_STEP = 900.0  # at most, for the tables of the time of day
COARSE_POINTS = 4_000_000  # queried at a warm start, at most; but always one sample per slot


def interval(slot_seconds: float, config: DetectorConfig, series: int) -> float:
    """Seconds between samples of coarse history, for slots of the seasonal memory that last so long, and so many series."""
    affordable = COARSE_POINTS * slot_seconds // (config.history * max(1, series))  # samples per slot
    return max(config.step, slot_seconds / min(SAMPLES_PER_SLOT, max(1, affordable)))


def fill(
    session: Session, settings: Settings, memory: Memory, frames: Iterable[Frame], interval_seconds: float, seen: Callable[[Frame], Frame]
) -> Iterator[Memory]:
    """The memory with the season, tables of the time of day and recent means of coarse history, after each slot.

    frames   in time order, so far apart; one may have more entities than the one before
    seen     seen(frame) gives a frame as it is judged, called when all frames of its slot are there

    The tables come from the graph itself, which is run over the coarse samples with a state that is dropped afterwards.
    """
    season, recent, after = memory.season, memory.recent, replace(memory, recent=None)
    judged, coarsely = session.bundle.manifest.tables and interval_seconds <= COARSE_STEP, Settings(interval_seconds, settings.zone)
    for _, group in groupby(frames, key=lambda frame: season.slot(frame.time)):
        of_slot = list(group)
        rows = len(of_slot[-1].values)
        of_slot = [seen(frame) for frame in of_slot]
        values = np.stack([seasonal.padded(frame.values, rows) for frame in of_slot])
        valid = np.where(settings.policy.invalid(values), np.nan, values)
        season = season.grown(rows).fill([frame.time for frame in of_slot], valid)
        for frame, samples in zip(of_slot, valid, strict=True) if judged else ():
            _, after = advance(session, coarsely, after.grown(session, rows), replace(frame, values=samples))
        for frame, samples in zip(of_slot, valid, strict=True) if recent else ():
            recent = recent and recent.grown(rows).after(frame.time, samples)
        tables = after.tables if interval_seconds == settings.step_seconds else after.tables.of_coarse_history()
        yield replace(after, season=season, tables=tables, recent=recent)
