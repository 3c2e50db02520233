"""What pages and the API read: made once by `run` and `demo`, and handed to each group of pages.

Whatever may be replaced while the exporter runs (the configuration by a reload, its sources with it) is a function, asked at each request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from promlstm.config import Config
from promlstm.engine.interfaces import Sources
from promlstm.live.incidents import Gathering
from promlstm.live.status import Status
from promlstm.ui.actions import Actions
from promlstm.ui.board import Board
from promlstm.ui.shapes import Shapes
from promlstm.ui.templates import Templates


@dataclass(frozen=True, slots=True)
class Context:
    """What there is to show.

    board         the newest step of each detector
    statuses      gives {detector: Status} of the configured detectors
    in_force      gives the configuration and its sources
    incidents     of all detectors
    now           gives unix seconds, of the clock of the steps
    actions       what people may change by way of the pages
    shapes        which label names the entities have
    external_url  under which promlstm is reached from outside; '' = not known
    grafana_url, runbook_url  of pages elsewhere; '' = not known
    """

    board: Board
    statuses: Callable[[], Mapping[str, Status]]
    in_force: Callable[[], tuple[Config, Sources]]
    incidents: Gathering
    now: Callable[[], float]
    templates: Templates
    external_url: str = ''
    grafana_url: str = ''
    runbook_url: str = ''
    actions: Actions = field(default_factory=Actions)
    shapes: Shapes = field(default_factory=Shapes)
