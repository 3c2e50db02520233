"""Which volumes are forecast to be full soon, as a scrape of the demo's own page says it.

Who calls it: exporter, display. What flows through: the text of one family; out come lines of text.
"""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from promlstm.terminal import duration

FAMILY = 'promlstm_time_to_limit_seconds'
SOON_SECONDS = 86400.0  # what is further away is not told


@dataclass(frozen=True, slots=True)
class Told:
    """A volume that is forecast to be full: by the middle of the forecast, and by its pessimistic bound; seconds from `time` on."""

    time: float
    detector: str
    volume: str
    middle: float
    pessimistic: float

    def __str__(self) -> str:
        """In words.

        >>> str(Told(0.0, 'disk_free', 'host-01:9100 /data', 10000.0, 9000.0))
        'disk_free on host-01:9100 /data: full in 2h46m, at the earliest in 2h30m'
        """
        return f'{self.detector} on {self.volume}: full in {duration(self.middle, units=2)}, at the earliest in {duration(self.pessimistic, units=2)}'


class Filling:
    """What was forecast of each volume when it was first told.

    text  gives the lines of FAMILY that a scrape would get now
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self._text, self._told = text, dict[tuple[str, str], Told]()

    def told(self, now: float) -> list[Told]:
        """The volumes that are, or were, forecast to be full soon."""
        for (detector, volume), bounds in self._newest().items():
            middle = bounds.get('middle', SOON_SECONDS)
            if middle < SOON_SECONDS:
                self._told.setdefault((detector, volume), Told(now, detector, volume, middle, bounds.get('pessimistic', middle)))
        return list(self._told.values())

    def _newest(self) -> dict[tuple[str, str], dict[str, float]]:
        """{(detector, volume): {bound: seconds}}."""
        found: dict[tuple[str, str], dict[str, float]] = {}
        for family in text_string_to_metric_families(self._text()):
            for sample in family.samples:
                labels = sample.labels
                volume = ' '.join(filter(None, (labels.get('instance'), labels.get('mountpoint'))))
                found.setdefault((labels['detector'], volume), {})[labels['bound']] = sample.value
        return found
