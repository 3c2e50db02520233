"""What `check-config` says of forecasts: whether the model file suits, what they cost, and which entities have a limit.

Who calls it: check, with each detector that has `forecast`. It asks for `limit_expr` once and computes no forecast.
"""

import time
from pathlib import Path

import numpy as np

from promlstm.config import Detector as DetectorConfig
from promlstm.config import Forecast
from promlstm.contact import Api
from promlstm.engine import labels
from promlstm.engine import session as sessions
from promlstm.engine.recent import BYTES
from promlstm.engine.trial import Trials
from promlstm.errors import PromlstmError, SourceUnavailable
from promlstm.forecasts import model, trial
from promlstm.forecasts.limit import of_entities

LINES_WORTH_A_WORD = 1_000_000  # of one detector on the page
BOUNDS = 3  # lines for each horizon


class Models:
    """The forecast models of a configuration; each file is loaded once."""

    def __init__(self) -> None:
        self._trials = Trials(module=trial.MODULE)
        self._loaded: dict[tuple[Path, str | None], model.Model] = {}

    def check(self, config: DetectorConfig, settings: Forecast, root: str) -> None:
        """BundleError unless the file can be used for a detector."""
        key = sessions.resolve(settings.model, root), settings.sha256
        if key not in self._loaded:
            self._loaded[key] = model.load(key[0], sha256=key[1], trial=self._trials)
        self._loaded[key].check(config.step, settings.horizons)


def per_entity_bytes(config: DetectorConfig) -> int:
    """What forecasts add to the memory of an entity."""
    return BYTES * len(config.queries) if config.forecast else 0


def warnings(config: DetectorConfig, settings: Forecast, identities: list[bytes], source: Api) -> list[str]:
    """What is odd about the forecasts of the entities that there are.

    raises  PromlstmError  where `limit_expr` is refused
    """
    found, lines = [], len(identities) * len(settings.horizons) * BOUNDS * len(config.queries)
    if lines > LINES_WORTH_A_WORD:
        found.append(f'forecast.horizons: {lines} lines on the page at each scrape: fewer horizons, or a detector of what needs a forecast')
    if settings.limit_expr is None:
        return found
    try:
        answer = source.instant(settings.limit_expr, time.time() - config.delay)
    except SourceUnavailable as error:
        return [*found, f'forecast.limit_expr: not tried: {error}']
    except PromlstmError as error:
        raise type(error)(f'forecast.limit_expr: {error}') from error
    limits = of_entities(identities, [labels.identity(key, config.by or None) for key in answer.keys], answer.values)
    if without := int(np.isnan(limits).sum()):
        example = labels.selector(labels.pairs(identities[int(np.isnan(limits).argmax())]))
        found.append(
            f'forecast.limit_expr: its {len(answer.keys)} series give no limit to {without} of {len(identities)} entities, such as {example}: '
            'a limit is that of the entities that have all of its labels; aggregate others away'
        )
    return found
