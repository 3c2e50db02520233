"""The forecasts of one detector: when they are due, what limits they have, how good they were.

Who calls it: runner, after each committed step. What flows through: the memory of a detector in, blocks of
text for the page out. Whatever fails here is the runner's to report: the forecasts go off the page, the scores go on.

A forecast is made anew after a fifth of the shortest horizon, but at least every ten minutes, so that a series that ends has none for long.
"""

import time as clock
from collections.abc import Callable

import numpy as np

from promlstm.config import Detector as DetectorConfig
from promlstm.config import Forecast
from promlstm.engine import labels
from promlstm.engine.columns import Floats, Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.interfaces import Source
from promlstm.errors import BundleError
from promlstm.forecasts import limit as limits
from promlstm.forecasts.model import Model
from promlstm.forecasts.predict import Prediction, predict
from promlstm.forecasts.quality import Quality
from promlstm.live.relay import Blocks, Relay
from promlstm.serve.exposition import Labels, render_forecasts
from promlstm.terminal import duration

PART = 'forecast'  # of the page
METRIC = 'promlstm_forecast_'  # begins the name of each metric about forecasts themselves
SHARE, LONGEST_SECONDS = 5.0, 600.0  # a forecast is used for this share of the shortest horizon, and no longer than this
COMPARED = 256  # entities whose forecasts are compared with what came


class Forecasts:
    """Those of one detector.

    settings  of the detector
    source    that `limit_expr` is asked of
    """

    def __init__(self, config: DetectorConfig, settings: Forecast, source: Source, relay: Relay) -> None:
        self._config, self._settings, self._source, self._relay = config, settings, source, relay
        self._horizons = [float(seconds) for seconds in settings.horizons]
        self._names = [duration(seconds) for seconds in self._horizons]
        self._ahead = sorted({*self._horizons, *(limits.looks(max(self._horizons)) if settings.limited else ())})
        self._places = [self._ahead.index(seconds) for seconds in self._horizons]  # of the horizons among them
        self._every = max(config.step, min(min(self._horizons) / SHARE, LONGEST_SECONDS))
        self._model: Model | None = None  # in use
        self._refused = ''  # why the present model file is not the one in use
        self._made = -np.inf  # the step of the last forecast
        self._compared: list[bytes] = []  # identities
        self._qualities = [Quality(seconds) for seconds in self._horizons]
        self.expires_after = self._every + 2 * config.step  # seconds from a step on that its forecast is on the page

    def forget(self) -> None:
        """Make a forecast at the next step, whatever was made before."""
        self._made = -np.inf

    def use(self, newest: Callable[[], Model]) -> tuple[Model, str]:
        """(the model to forecast with, why that is not the one of the file now, if that is news).

        newest  gives the model of the file as it is now, or raises BundleError; a model that works stays in use
        raises  BundleError where there was none before
        """
        try:
            model = newest()
            model.check(self._config.step, self._horizons)
        except BundleError as error:
            if self._model is None:
                raise
            news, self._refused = str(error) if str(error) != self._refused else '', str(error)
            return self._model, news
        if self._model is None or model.sha256 != self._model.sha256:
            self._relay.drop('promlstm_forecast_model_info', self._config.name)
            self._relay.set('promlstm_forecast_model_info', 1, self._config.name, model.about.name, model.sha256)
        self._model, self._refused = model, ''
        return model, ''

    def step(self, model: Model, detector: Detector, verdicts: Verdicts, text: Labels) -> Blocks | None:
        """The blocks of a new forecast from the memory after a step; None = the one before is still good.

        text    the labels of the entities that the verdicts are of
        raises  SourceError of `limit_expr`, and whatever a model may raise
        """
        self._compare(detector, verdicts)
        memory = detector.memory
        if verdicts.time - self._made < self._every - self._config.step / 2 or memory.recent is None:
            return None
        began = clock.monotonic()
        found = predict(model, memory.recent, memory.season, verdicts.time, self._ahead, self._config.step)
        self._note(detector, found)
        quantiles = np.where(np.isnan(verdicts.observed)[..., None, None], np.nan, found.shown(self._config.range))
        limit = seconds_to = None
        if self._settings.limited:
            limit = self._limit(detector, verdicts)
            rising = self._settings.approach == 'rising'
            seconds_to = limits.seconds_to(limit, verdicts.observed[:, 0], found.quantiles[:, 0], self._ahead, rising=rising)
        blocks = render_forecasts(text, self._names, quantiles[:, :, self._places], limit, seconds_to)
        self._made = verdicts.time
        self._relay.set('promlstm_forecast_last_success_timestamp_seconds', verdicts.time, self._config.name)
        self._relay.set('promlstm_forecast_duration_seconds', clock.monotonic() - began, self._config.name)
        return blocks

    def _limit(self, detector: Detector, verdicts: Verdicts) -> Floats:
        """float64 [N]: the limit of each entity; NaN = none is known."""
        rows = len(verdicts.observed)
        if self._settings.limit is not None:
            return np.full(rows, self._settings.limit)
        assert self._settings.limit_expr is not None
        answer = self._source.instant(self._settings.limit_expr, verdicts.time - self._config.delay)
        by = self._config.by or None
        out = limits.of_entities(detector.entities.identities[:rows], [labels.identity(key, by) for key in answer.keys], answer.values)
        without = int((np.isnan(out) & ~np.isnan(verdicts.observed[:, 0])).sum())
        self._relay.set('promlstm_forecast_unlimited_entities', without, self._config.name)
        return out

    def _note(self, detector: Detector, found: Prediction) -> None:
        """Remember what is forecast of some entities; those that are gone make room for others."""
        identities = detector.entities.identities[: len(found.unit)]
        before = self._compared
        kept = [identity for identity, row in zip(before, detector.entities.rows_of(before), strict=True) if 0 <= row < len(found.unit)]
        known = set(kept)
        for identity in identities:
            if len(kept) >= COMPARED:
                break
            if identity not in known:
                kept.append(identity)
        if kept != before:
            places = {identity: place for place, identity in enumerate(before)}
            for quality in self._qualities:
                quality.keep([places.get(identity, -1) for identity in kept])
            self._compared = kept
        rows = detector.entities.rows_of(kept)
        for place, quality in zip(self._places, self._qualities, strict=True):
            quality.made(found.time, found.quantiles[rows, 0, place], found.simple[rows, 0, place], found.unit[rows, 0])

    def _compare(self, detector: Detector, verdicts: Verdicts) -> None:
        """Compare the samples of a step with what was forecast of them."""
        rows = np.array(detector.entities.rows_of(self._compared), np.int64)
        there = (rows >= 0) & (rows < len(verdicts.observed))
        observed = np.full(len(rows), np.nan)
        observed[there] = verdicts.observed[rows[there], 0]
        for name, quality in zip(self._names, self._qualities, strict=True):
            quality.came(verdicts.time, observed, self._config.step)
            if figures := quality.figures():
                self._relay.set('promlstm_forecast_error_ratio', figures[0], self._config.name, name)
                self._relay.set('promlstm_forecast_coverage_ratio', figures[1], self._config.name, name)
