"""Whose past is asked for: an entity, and what must be known of its detector to ask for it alone.

Who calls it: entity makes it; history, observed and sparklines ask about it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from promlstm.config import Config, Detector
from promlstm.engine.labels import Pairs
from promlstm.ui import promql


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose past is wanted.

    entity    its labels
    others    names of the labels of all entities of the detector
    entities  how many there are
    new       whether the detector has made steps for so short a while that no Prometheus need have our gauges
    """

    config: Config
    detector: Detector
    entity: Pairs
    others: Collection[str] = ()
    entities: int = 1
    new: bool = False

    @property
    def matchers(self) -> Pairs:
        """What our gauges of it have to match."""
        return promql.matchers(self.detector.name, self.entity, self.others)
