"""`promlstm demo`: the whole exporter over an embedded source, many times faster than life, with planted faults to find.

    source      a little fleet behind a Prometheus-compatible API on a free loopback port
    scheduler   the real one, with the real HTTP client, server and gauges, by the configuration that --print-config shows
    scoring      which faults were found, and which alarms were false
    display     what is shown meanwhile: a live table on a terminal, else one line per event

The demo's clock stands still until every detector has warmed up from the fleet's past, so the same seed gives the same demo on a slow
machine and on a fast one. Who calls it: __main__. It never touches what it watches: nothing that the exporter sees is made easier.
"""

import argparse
import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from promlstm import config as configuration
from promlstm import logs
from promlstm.demo import display
from promlstm.demo.fleet import Fleet
from promlstm.demo.scoring import Scoring
from promlstm.demo.source import Source
from promlstm.live.clock import Clock
from promlstm.live.scheduler import Scheduler
from promlstm.query.prometheus import Prometheus
from promlstm.serve.page import Page
from promlstm.serve.server import Server
from promlstm.serve.telemetry import Telemetry

LISTEN = '127.0.0.1:19855'
BEGIN = datetime(2026, 3, 3, 10, tzinfo=UTC).timestamp()  # a Tuesday in the rush of the morning; fixed, so that a seed says it all
WITHIN_STEP_SECONDS = 10  # so far into a step does the clock begin: a detector may wait a little for its turn, and the clock stands still
HOSTS = 12
FIRST_FAULT_SECONDS, FAULT_SECONDS, QUIET_SECONDS = 90, 150, 150  # at a step of 15 s: ten samples of each fault, ten of quiet
GRACE_SECONDS = 60  # after the end of a fault in which alarms are still put down to it
WARM_LIMIT_SECONDS = 60.0  # then the clock starts, whoever is not warm yet
LOOK_SECONDS = 0.25
STOP_SECONDS = 5.0

CONFIG = """\
prometheus:
  url: {url}

detectors:
  # One number per entity: the series of an expression.
  - name: cpu
    expr: node_cpu_busy_ratio
    step: 15s
    model: {model}
    direction: above
    min_deviation: 0.05         # of the CPU, whatever was expected
    range: [0, 1]
  - name: memory
    expr: node_memory_used_bytes
    step: 15s
    model: {model}
    direction: above
    min_relative_deviation: 0.05
  - name: disk_io
    expr: node_disk_io_busy_ratio
    step: 15s
    model: {model}
    direction: above
    min_deviation: 0.1
  - name: disk_free
    expr: node_filesystem_free_bytes
    step: 15s
    model: {model}
    direction: below
    min_relative_deviation: 0.02
  - name: network
    expr: node_network_receive_bytes_per_second
    step: 15s
    model: {model}
  - name: requests
    expr: web_requests_per_second
    step: 15s
    model: {model}
    direction: below
  - name: errors
    expr: web_error_ratio
    step: 15s
    model: {model}
    direction: above
    min_deviation: 0.01
  - name: latency
    expr: web_latency_seconds
    step: 15s
    model: {model}
    direction: above

  # Several numbers per entity: one expression per feature, joined by labels.
  - name: host
    by: [instance]
    features:
      cpu: node_cpu_busy_ratio
      memory: node_memory_used_bytes
      disk_io: node_disk_io_busy_ratio
      network: node_network_receive_bytes_per_second
    step: 15s
    model: {model}
"""


def arguments(parser):
    """Add the demo's flags to a parser."""
    parser.add_argument(
        '--for', dest='seconds', type=_duration, metavar='DURATION', help='end after this, such as 30s, counted from the first scores'
    )
    parser.add_argument('--speed', type=_speed, default=60.0, help='seconds of the fleet in a second (default: 60)')
    parser.add_argument('--seed', type=int, default=1, help='another fleet, other faults (default: 1)')
    parser.add_argument('--model', default='builtin:default', help='builtin:NAME, or a file (default: builtin:default)')
    parser.add_argument(
        '--web.listen-address', dest='listen', default=LISTEN, metavar='HOST:PORT', help=f'where to serve (default: {LISTEN})'
    )
    parser.add_argument('--plain', action='store_true', help='one line per event, as where the output is no terminal')
    parser.add_argument('--print-config', action='store_true', help='print the configuration that the demo runs, and end')


def _duration(text):
    try:
        return configuration.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _speed(text):
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed <= 1000:
        raise argparse.ArgumentTypeError(f'expected 1 to 1000, got {text!r}')
    return speed


def main(args, *, out=None, prepare=lambda source: None):
    """Run the demo; returns the exit status: 0 only if every entity was scored, no fault missed, and no stage failed.

    args     what `arguments` added to a parser
    prepare  called with the Source before anything is asked of it: where tests order faults
    """
    out = out or sys.stdout
    if args.print_config:
        out.write(CONFIG.format(url='http://localhost:9090', model=args.model))
        return 0
    logs.setup(log_level(args), args.log_format)
    stopwatch = Stopwatch()
    clock = Clock(start=BEGIN + WITHIN_STEP_SECONDS, speed=args.speed, monotonic=stopwatch)
    fleet = Fleet(
        args.seed, BEGIN, hosts=HOSTS, first_fault_seconds=FIRST_FAULT_SECONDS, fault_seconds=FAULT_SECONDS, quiet_seconds=QUIET_SECONDS
    )
    with Source(fleet, clock.now) as source:
        prepare(source)
        config = configuration.parse(CONFIG.format(url=source.url, model=args.model), source='demo')
        scoring = Scoring(config, fleet, BEGIN, grace_seconds=GRACE_SECONDS)
        with Exporter(config, clock, args.listen, scoring.note) as exporter:
            demo = Demo(args, clock, scoring, exporter)
            follower = display.Lines if args.plain or not out.isatty() else display.Screen
            _follow(demo, follower(demo, out), stopwatch)
    reasons = demo.reasons()
    out.write('\n'.join(display.summary(demo, reasons)) + '\n')
    out.flush()
    return 1 if reasons else 0


def log_level(args):
    """What a user of `run` reads as news would hide the events here."""
    return 'warn' if args.log_level == 'info' else args.log_level


class Stopwatch:
    """A monotonic time that stands still until it is started, and after it is stopped; what the demo's clock runs on."""

    def __init__(self, monotonic=time.monotonic):
        self._monotonic, self._started, self._stopped = monotonic, None, None

    def __call__(self):
        """Seconds since the start, 0 before; after the stop no more than at the stop."""
        if self._started is None:
            return 0.0
        return (self._monotonic() if self._stopped is None else self._stopped) - self._started

    def start(self):
        """Run from now on."""
        self._started = self._monotonic()

    def stop(self):
        """Stand still for good: what happens while all is put away is no part of the demo."""
        self._stopped = self._monotonic()


class Exporter:
    """The exporter as `promlstm run` puts it together, while it is entered."""

    def __init__(self, config, clock, listen, watch):
        self.telemetry, page = Telemetry(), Page(clock.now)
        source = Prometheus(config.prometheus)
        self.scheduler = Scheduler(
            config, source, clock=clock, telemetry=self.telemetry, publish=page.publish, withdraw=page.withdraw, watch=watch
        )
        ready, statuses = self.scheduler.ready, self.scheduler.statuses
        self.server = Server(listen, page=page, telemetry=self.telemetry, statuses=statuses, ready=ready)

    def __enter__(self):
        self.server.start()
        self.scheduler.start()
        return self

    def __exit__(self, *_):
        self.scheduler.stop(STOP_SECONDS)
        self.server.stop()

    def failures(self):
        """Stages that failed: {(detector, stage): how often}."""
        samples = (sample for family in self.telemetry.registry.collect() for sample in family.samples)
        failed = (sample for sample in samples if sample.name == 'promlstm_detector_failures_total' and sample.value)
        return {(sample.labels['detector'], sample.labels['stage']): int(sample.value) for sample in failed}

    def missed_steps(self):
        """Steps that were given up because this machine is too slow for the speed."""
        samples = (sample for family in self.telemetry.registry.collect() for sample in family.samples)
        return int(sum(sample.value for sample in samples if sample.name == 'promlstm_detector_missed_steps_total'))


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo, as display sees it."""

    args: object
    clock: Clock
    scoring: Scoring
    exporter: Exporter
    begin: float = BEGIN
    hosts: int = HOSTS

    @property
    def log_level(self):
        """The least level that is worth a line."""
        return log_level(self.args)

    def findings(self):
        """As Scoring.findings, at this moment."""
        return self.scoring.findings(self.clock.now())

    def reasons(self):
        """Why the demo was no success, in words; empty = it was."""
        unscored, statuses = self.scoring.unscored(), self.exporter.scheduler.statuses()
        detectors = dict.fromkeys(entity.detector for entity in unscored)
        return [
            *(f'{name}: {sum(e.detector == name for e in unscored)} entities were never scored ({statuses[name]})' for name in detectors),
            *(f'{display.fault_text(fault)} was missed' for fault, verdict, _ in self.findings() if verdict == 'missed'),
            *(
                f'{name}: stage {stage} failed {count} time{"s" * (count != 1)}'
                for (name, stage), count in self.exporter.failures().items()
            ),
        ]


def _follow(demo, follower, stopwatch):
    """Keep the follower informed until the time is over or somebody presses Ctrl-C."""
    stop, began = threading.Event(), time.monotonic()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    warm, ready, limit = False, demo.exporter.scheduler.ready, demo.args.seconds
    try:
        follower.begin()
        while not stop.wait(LOOK_SECONDS):
            if not warm and (ready() or time.monotonic() - began > WARM_LIMIT_SECONDS):
                warm = True
                follower.warm(time.monotonic() - began)
                stopwatch.start()
            follower.look()
            if limit is not None and stopwatch() >= limit:
                break
        stopwatch.stop()
        follower.look()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        follower.end()
