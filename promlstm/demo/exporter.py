"""The exporter as `promlstm run` puts it together, for a demo: it runs while it is entered.

Who calls it: run, display. What flows through: a Config and a clock; out come gauges on an HTTP port, and counts of what failed.
"""

from functools import partial

from prometheus_client.samples import Sample

from promlstm.backtest import together
from promlstm.config import Config
from promlstm.demo.filling import FAMILY, Filling
from promlstm.demo.scraped import Scraped
from promlstm.demo.spreading import Spreading
from promlstm.live.clock import Clock
from promlstm.live.dependencies import Dependencies
from promlstm.live.incidents import Gathering
from promlstm.live.runner import Watch
from promlstm.live.scheduler import Scheduler
from promlstm.query.sources import Sources
from promlstm.serve.page import OF_INCIDENTS, Page
from promlstm.serve.server import Server
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry
from promlstm.ui.board import Board
from promlstm.ui.context import Context
from promlstm.ui.site import Ui
from promlstm.ui.templates import Templates

STOP_SECONDS = 5.0
FAILURES = tuple(f'promlstm_{what}_failures_total' for what in ('detector', 'incident', 'dependency', 'forecast'))


class Exporter:
    """Scheduler, incidents, page, telemetry and server.

    spreading  what the incidents say
    filling    what the forecasts say of volumes
    scraped    what a Prometheus would have that scrapes it

    listen  HOST:PORT to serve on
    watch   called with each step
    """

    def __init__(self, config: Config, clock: Clock, listen: str, watch: Watch) -> None:
        self.telemetry, page = Telemetry(), Page(clock.now)
        sources = Sources(config.named_sources)
        self._page = page
        self.filling, self.scraped = Filling(self._times_to_limit), Scraped()
        self.spreading = Spreading(config.root_cause, [detector.name for detector in config.detectors])
        self.incidents = Gathering(config.root_cause, clock, self.telemetry, partial(page.publish, OF_INCIDENTS), self.spreading)
        self._dependencies = Dependencies(self.incidents, self.telemetry, clock)
        self._dependencies.use(config, sources)
        board = Board(clock.now)
        self.scheduler = Scheduler(
            config, sources, clock=clock, telemetry=self.telemetry, publish=page.publish, withdraw=board.beside(page.withdraw),
            watch=together([board.observe, self.scraped.observe, watch]),
            incidents=self.incidents,
        )  # fmt: skip
        ready, statuses = self.scheduler.ready, self.scheduler.statuses
        pages = Ui(
            Context(
                board=board, statuses=statuses, in_force=self.scheduler.in_force, incidents=self.incidents, now=clock.now, templates=Templates(),
            )
        )  # fmt: skip
        site = Site(
            page=page, telemetry=self.telemetry, statuses=statuses, ready=ready, incidents=self.incidents.listing, pages=pages.answer,
        )  # fmt: skip
        self.server = Server(listen, site)

    def __enter__(self) -> 'Exporter':
        self.server.start()
        self.scheduler.start()
        self._dependencies.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.stop(STOP_SECONDS)
        self.server.stop()

    def failures(self) -> dict[tuple[str, str], int]:
        """Stages that failed: {(detector, stage): how often}; those of incidents and of the queries for edges, too."""
        failed = (sample for name in FAILURES for sample in self._samples(name) if sample.value)
        return {
            (sample.labels.get('detector', 'incidents'), sample.labels.get('stage') or sample.labels.get('edges', 'forecast')): int(sample.value)
            for sample in failed
        }

    def missed_steps(self) -> int:
        """Steps that were skipped because this machine is too slow for the speed."""
        return int(sum(sample.value for sample in self._samples('promlstm_detector_missed_steps_total')))

    def _times_to_limit(self) -> str:
        lines = b''.join(self._page.parts()).decode().splitlines(keepends=True)
        return ''.join(line for line in lines if line.startswith(FAMILY))

    def _samples(self, name: str) -> list[Sample]:
        return [sample for family in self.telemetry.registry.collect() for sample in family.samples if sample.name == name]
