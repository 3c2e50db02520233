"""`promlstm demo`: the whole exporter against an embedded source, many times faster than real time, with injected faults to find.

    source      a small fleet and a shop of services behind a Prometheus-compatible API on a free loopback port
    exporter    scheduler, HTTP client, server and gauges as in production, with the configuration that --print-config shows
    scoring     which faults were found, and which alarms were false
    spreading   what the incidents say of a fault that spreads
    scraped     what a Prometheus would have that scrapes the exporter, for its pages
    display     a live table on a terminal, else one line per event

The demo's clock stands still until every detector has warmed up from the fleet's history, so the same seed gives the same demo on a slow
machine and on a fast one. Who calls it: __main__. It does not make detection easier: the exporter sees what Prometheus would return.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from promlstm import config as configuration
from promlstm import logs
from promlstm.demo.display import Demo, Display, Lines, Screen, summary
from promlstm.demo.estate import CALLS, CAUSES, KINDS, Estate
from promlstm.demo.exporter import Exporter
from promlstm.demo.fleet import SERVICES, Fleet
from promlstm.demo.scoring import Scoring
from promlstm.demo.shop import Shop
from promlstm.demo.source import Source
from promlstm.live.clock import Clock

LISTEN = '127.0.0.1:19855'
MODEL = 'builtin:forecaster'  # it replays a few hundred steps of history, the default model two days: a demo is to begin at once
BEGIN = datetime(2026, 3, 3, 10, tzinfo=UTC).timestamp()  # a busy Tuesday morning; fixed, so that the seed alone decides what happens
WITHIN_STEP_SECONDS = 10  # the clock begins this far into a step: detectors start a little apart, and the clock stands still meanwhile
HOSTS = 12
FIRST_FAULT_SECONDS, FAULT_SECONDS, QUIET_SECONDS = 90, 150, 150  # at a step of 15 s: ten samples of each fault, ten of quiet
FIRST_SPREADING_SECONDS, SPREADING_SECONDS, APART_SECONDS = 150, 180, 720  # in the shop; a new incident begins when the one before is over
GRACE_SECONDS = 60  # an alarm this long after the end of a fault still counts as finding it
WARM_LIMIT_SECONDS = 60.0  # then the clock starts, even if a detector has not warmed up
REFRESH_SECONDS = 0.25

CONFIG = """\
prometheus:
  url: {url}

detectors:
  # One number per entity: the series of an expression.
  - name: cpu
    expr: node_cpu_busy_ratio
    step: 15s
    model: {model}   # starts at once; without this key it is builtin:default, which finds more and replays two days
    direction: above
    min_deviation: 0.05         # 5 % of the CPU: smaller deviations never count
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
    forecast:                   # what comes, and when the disk is full
      horizons: [5m, 1h, 1d]
      limit: 0
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

  # A shop of services that call each other. What breaks in one slows those that call it.
  - name: service_latency
    expr: service_latency_seconds
    step: 15s
    model: {model}
    direction: above
  - name: service_pool
    expr: service_pool_busy_ratio
    step: 15s
    model: {model}
    direction: above
    min_deviation: 0.1

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

# Alarms that began within five minutes and can reach each other are one incident, whose likeliest cause promlstm names.
root_cause:
  window: 5m
  within: [namespace]           # never compared across these
  edges:
    # Who calls whom, from a service graph. With traces in your Prometheus, `preset: tempo` asks for the same.
    - expr: traces_service_graph_request_total
      from: client
      to: server
      label: service            # the label of entities that has these names
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's flags to a parser."""
    parser.add_argument(
        '--for', dest='seconds', type=_duration, metavar='DURATION', help='end after this time, such as 30s, counted from the first scores'
    )
    parser.add_argument('--speed', type=_speed, default=60.0, help='how much faster than real time (default: 60)')
    parser.add_argument('--seed', type=int, default=1, help='another number gives another fleet and other faults (default: 1)')
    parser.add_argument('--model', default=MODEL, help=f'builtin:NAME, or a model file (default: {MODEL}, which starts at once)')
    parser.add_argument(
        '--web.listen-address', dest='listen', default=LISTEN, metavar='HOST:PORT', help=f'address to serve on (default: {LISTEN})'
    )
    parser.add_argument('--plain', action='store_true', help='print one line per event even on a terminal')
    parser.add_argument('--print-config', action='store_true', help='print the configuration that the demo runs with, and exit')


def _duration(text: str) -> float:
    try:
        return configuration.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed <= 1000:
        raise argparse.ArgumentTypeError(f'expected 1 to 1000, got {text!r}')
    return speed


def main(args: argparse.Namespace, *, out: TextIO | None = None, prepare: Callable[[Source], None] = lambda source: None) -> int:
    """Run the demo; returns the exit status: 0 only if every entity was scored, all faults were reached, none missed, and no stage failed.

    Where Ctrl-C ends it the status is 0, as that of `run`.

    args     what `arguments` added to a parser
    prepare  called with the Source before its first request; tests order faults there
    """
    out = out or sys.stdout
    if args.print_config:
        out.write(CONFIG.format(url='http://localhost:9090', model=args.model))
        return 0
    log_level = 'warn' if args.log_level == 'info' else args.log_level  # what is news for `run` would hide the events of a demo
    logs.setup(log_level, args.log_format)
    stopwatch = Stopwatch()
    clock = Clock(start=BEGIN + WITHIN_STEP_SECONDS, speed=args.speed, monotonic=stopwatch)
    with Source(telemetry := estate(args.seed), clock.now) as source:
        prepare(source)
        config = configuration.parse(CONFIG.format(url=source.url, model=args.model), source='demo')
        scoring = Scoring(config, telemetry, BEGIN, grace_seconds=GRACE_SECONDS)
        with Exporter(config, clock, args.listen, scoring.record) as exporter:
            source.scraped = exporter.scraped.select
            demo = Demo(clock, scoring, exporter, args.speed, args.seed, HOSTS, len(SERVICES) + len(CALLS), BEGIN, log_level, args.log_format)
            screen: Display = Lines(demo, out) if args.plain or not out.isatty() else Screen(demo, out)
            stopped = _show(demo, screen, stopwatch, args.seconds)
    reasons = demo.reasons()
    out.write('\n'.join(summary(demo, reasons, stopped=stopped)) + '\n')
    out.flush()
    return 1 if reasons and not stopped else 0


def estate(seed: int) -> Estate:
    """What a demo with this seed watches."""
    return Estate(
        Fleet(seed, BEGIN, hosts=HOSTS, first_fault_seconds=FIRST_FAULT_SECONDS, fault_seconds=FAULT_SECONDS, quiet_seconds=QUIET_SECONDS),
        Shop(
            seed, BEGIN, first_fault_seconds=FIRST_SPREADING_SECONDS, fault_seconds=SPREADING_SECONDS, quiet_seconds=APART_SECONDS,
            calls=CALLS, kinds=KINDS, causes=CAUSES,
        ),
    )  # fmt: skip


class Stopwatch:
    """A monotonic time that stands still until it is started, and after it is stopped; the demo's clock runs on it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._started: float | None = None
        self._stopped: float | None = None

    def __call__(self) -> float:
        """Seconds since the start, 0 before; after the stop no more than at the stop."""
        if self._started is None:
            return 0.0
        return (self._monotonic() if self._stopped is None else self._stopped) - self._started

    def start(self) -> None:
        """Run from now on."""
        self._started = self._monotonic()

    def stop(self) -> None:
        """Stand still for good: the shutdown is no part of the demo."""
        self._stopped = self._monotonic()


def _show(demo: Demo, screen: Display, stopwatch: Stopwatch, limit_seconds: float | None) -> bool:
    """Keep the display up to date until the time is over, or the user presses Ctrl-C: then True."""
    stop, began = threading.Event(), time.monotonic()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    warm, ready = False, demo.exporter.scheduler.ready
    try:
        screen.begin()
        while not stop.wait(REFRESH_SECONDS):
            if not warm and (ready() or time.monotonic() - began > WARM_LIMIT_SECONDS):
                warm = True
                screen.warm(time.monotonic() - began)
                stopwatch.start()
            screen.refresh()
            if limit_seconds is not None and stopwatch() >= limit_seconds:
                break
        stopwatch.stop()
        screen.refresh()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        screen.end()
    return stop.is_set()
