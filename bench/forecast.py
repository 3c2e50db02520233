"""The cost of forecasts: one of all entities at eight horizons, the longer step, memory, and lines on the page.

Entities with nine days of memory, half-hours of a daily rhythm. Medians of five; CPU time is that of all threads.
"""

import statistics
import time
from zoneinfo import ZoneInfo

import numpy as np

from promlstm.engine import session
from promlstm.engine.recent import BYTES, SLOT_SECONDS, Recent
from promlstm.engine.season import DAY, WEEK, Season
from promlstm.forecasts import model, predict
from promlstm.serve.exposition import Labels, render_forecasts
from promlstm.serve.page import compressed

SIZES = (1_000, 10_000, 100_000)
HORIZONS = {'5m': 300, '15m': 900, '1h': 3600, '3h': 10800, '6h': 21600, '1d': DAY, '3d': 3 * DAY, '7d': WEEK}
DAYS, TIMES, UTC = 9, 5, ZoneInfo('UTC')
START = 1_760_313_600.0  # a midnight


def main():
    """Print a row for each number of entities."""
    loaded = model.load(session.resolve('builtin:forecast'), prove=False)
    print(f'  {BYTES} bytes an entity, {len(HORIZONS) * 3} lines; seconds:')
    print('  entities   remember   forecast   its CPU   µs/entity   render   compress   page, MB')
    end, ahead = START + DAYS * DAY, list(HORIZONS.values())
    for entities in SIZES:
        recent, season = memory(entities)
        sample = np.random.default_rng(0).normal(10, 1, (entities, 1))
        remember, _ = timed(lambda recent=recent, sample=sample: recent.after(end + 60, sample))
        forecast, cpu = timed(lambda recent=recent, season=season: predict.predict(loaded, recent, season, end, ahead, 60.0))
        shown = predict.predict(loaded, recent, season, end, ahead, 60.0).shown(None)
        text = Labels('cpu', ('',)).of([b'{"instance":"host-%d:9100","job":"node"}' % k for k in range(entities)])
        render, _ = timed(lambda text=text, shown=shown: render_forecasts(text, list(HORIZONS), shown))
        page = b''.join(render_forecasts(text, list(HORIZONS), shown)['promlstm_forecast'])
        compress, _ = timed(lambda page=page: compressed(page))
        print(
            f'  {entities:8}   {remember:8.4f}   {forecast:8.3f}   {cpu:7.3f}   {1e6 * forecast / entities:9.1f}   {render:6.3f}   {compress:8.3f}'
            f'   {len(page) / 1e6:8.1f}', flush=True,
        )  # fmt: skip


def memory(entities):
    """(Recent, Season) of a number of entities after nine days."""
    rng = np.random.default_rng(1)
    recent = Recent.blank(entities, 1, UTC)
    season = Season.blank(entities, 1, period_seconds=WEEK, slots=WEEK // SLOT_SECONDS, zone=UTC)
    phase = rng.uniform(0, 2 * np.pi, (entities, 1))
    for instant in np.arange(START, START + DAYS * DAY + 1, SLOT_SECONDS):
        sample = 10 + 3 * np.sin(2 * np.pi * instant / DAY + phase) + rng.normal(size=(entities, 1))
        recent, season = recent.after(instant, sample), season.fill([instant], sample[None])
    return recent, season


def timed(run):
    """Medians of wall-clock seconds and of CPU seconds."""
    took = []
    for _ in range(TIMES):
        began, cpu = time.perf_counter(), time.process_time()
        run()
        took.append((time.perf_counter() - began, time.process_time() - cpu))
    return [statistics.median(each) for each in zip(*took, strict=True)]
