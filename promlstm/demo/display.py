"""What a demo shows: one line per event, or a live table on a terminal, and the summary at its end.

Who calls it: demo. What flows through: a Demo to look at, a stream to write to. It changes nothing and decides nothing: `scoring` knows
what was found and what was missed.
"""

import shutil
import sys
import textwrap
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TextIO

from promlstm import logs, terminal
from promlstm.demo import fleet, shop
from promlstm.demo.estate import Fault
from promlstm.demo.exporter import Exporter
from promlstm.demo.scoring import Alarm, Finding, Reading, Scoring, Watched
from promlstm.demo.spreading import Told
from promlstm.live.clock import Clock

EVENTS = 8  # the newest ones, below the live table
REASONS = 3  # lines of them, below the live table
OPEN_SECONDS = 60.0  # an incident of which nothing was said for so long is over


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo.

    speed                  seconds of the fleet in a second
    seed                   of the fleet and its faults
    hosts, services        how many there are
    begin                  unix seconds: when the clock began
    log_level, log_format  as logs.setup takes them
    """

    clock: Clock
    scoring: Scoring
    exporter: Exporter
    speed: float
    seed: int
    hosts: int
    services: int
    begin: float
    log_level: str
    log_format: str

    @property
    def url(self) -> str:
        """Where the pages are; the metrics are at `metrics` below it."""
        return f'{self.exporter.server.url}/'

    def findings(self) -> list[Finding]:
        """As Scoring.findings, at this moment."""
        return self.scoring.findings(self.clock.now())

    def spread(self) -> list[tuple[shop.Fault, Told | None]]:
        """The faults that spread, and what the newest incident with one of their alarms says; None = it ended with no such incident."""
        told, now, found = self.exporter.spreading.latest()[::-1], self.clock.now(), list[tuple[shop.Fault, Told | None]]()
        for fault, state, alarms in self.findings():
            if isinstance(fault, shop.Fault):
                incident = next((each for each in told for alarm in alarms if each.has(alarm.entity.pairs, alarm.reading.time)), None)
                if incident or (state != 'open' and fault.end < now):
                    found.append((fault, incident))
        return found

    def reasons(self) -> list[str]:
        """Why the demo failed, in words; empty = it did not."""
        unscored, statuses = self.scoring.unscored(), self.exporter.scheduler.statuses()
        detectors = dict.fromkeys(entity.detector for entity in unscored)
        return [
            *(f'{name}: {sum(e.detector == name for e in unscored)} entities were never scored ({statuses[name]})' for name in detectors),
            *(f'{fault_text(fault)} was missed' for fault, state, _ in self.findings() if state == 'missed'),
            *(
                f'{fault_text(fault)} was not reached in time: this machine is too slow for a speed of {self.speed:g}, take a lower --speed'
                for fault, state, _ in self.findings() if state == 'skipped'
            ),
            *(
                f'{name}: stage {stage} failed {count} time{"s" * (count != 1)}'
                for (name, stage), count in self.exporter.failures().items()
            ),
        ]


class Display(Protocol):
    """What shows a demo while it runs."""

    def begin(self) -> None:
        """The exporter has started; nothing is known yet."""

    def warm(self, seconds: float) -> None:
        """The warm-up took so long; the clock starts."""

    def refresh(self) -> None:
        """Show what is new."""

    def end(self) -> None:
        """The demo is over; give the terminal back."""


Event = tuple[float, str, str]  # time, kind, text


def fault_text(fault: Fault) -> str:
    """An injected fault in words: `cpu_burn on host-03:9100`."""
    return f'{fault.kind} on {fault.labels["instance"] if isinstance(fault, fleet.Fault) else fault.cause[1]}'


def reading_text(reading: Reading) -> str:
    """A reading in words, with the observed value, the expected one and its band."""
    observed, expected, lower, upper = (
        terminal.quantity(value, reading.metric) for value in (reading.observed, reading.expected, reading.lower, reading.upper)
    )
    return f'score {reading.score:.1f}, {observed} observed, {expected} expected ({lower} … {upper})'


def clock_text(seconds: float) -> str:
    """The time of day of the demo's clock."""
    return f'{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}'


def events(demo: Demo, shown: set[object]) -> list[Event]:
    """What happened since the last call. `shown` holds what was returned before, and is updated."""
    found: dict[object, Event] = {}
    for fault, state, alarms in demo.findings():
        found['injected', fault.start] = (fault.start, 'injected', fault_text(fault))
        if state in ('missed', 'skipped'):
            found['missed', fault.start] = (fault.end, 'MISSED' if state == 'missed' else 'NOT REACHED', fault_text(fault))
        if alarms:
            text = f'{fault_text(fault)} {delay_text(demo, alarms[0])}: {reading_text(alarms[0].reading)}'
            found['found', fault.start] = (alarms[0].reading.time, 'found', text)
    for alarm in demo.scoring.false_alarms():
        text = f'{alarm.entity.detector} on {alarm.entity}: {reading_text(alarm.reading)}'
        found['false', alarm] = (alarm.reading.time, 'FALSE ALARM', text)
    for told in demo.exporter.spreading.told():
        found['incident', told.incident, told.time] = (told.time, 'incident', f'{told}: {told.reasons}'.removesuffix(': '))
    for told_of in demo.exporter.filling.told(demo.clock.now()):
        found['forecast', told_of] = (told_of.time, 'forecast', str(told_of))
    new = [event for key, event in found.items() if key not in shown]
    shown.update(found)
    return sorted(new)


def delay_text(demo: Demo, alarm: Alarm) -> str:
    """How fast a fault was found, and by which detector."""
    steps = demo.scoring.steps_until(alarm)
    return f'after {steps} step{"s" * (steps != 1)} by {alarm.entity.detector}'


def summary(demo: Demo, reasons: Sequence[str], *, stopped: bool = False) -> list[str]:
    """The lines at the end of a demo; reasons = why it was no success; stopped = by its user."""
    scoring, findings = demo.scoring, demo.findings()
    states, spread = [state for _, state, _ in findings], demo.spread()
    counts = f'{states.count("found")} found, {states.count("missed")} missed, {states.count("open")} not over yet'
    counts += f', {states.count("skipped")} not reached in time' * ('skipped' in states)
    seconds = demo.clock.now() - demo.begin
    rows = [
        ('entities scored', f'{len(scoring.scored)} of {len(scoring.entities)}'),
        ('faults', f'{len(findings)} injected, {counts}'),
        *(('', _fault_line(demo, *finding)) for finding in findings),
        ('faults that spread', f'{len(spread)}, the culprit is on top in {len(spread) - _mistaken(spread)}' if spread else 'none yet'),
        *(('', f'{clock_text(fault.start)} {fault_text(fault)}: {told or "in no incident that spread"}') for fault, told in spread),
        *(('' if place else 'will be full', str(told)) for place, told in enumerate(demo.exporter.filling.told(demo.clock.now()))),
        ('false alarms', f'{len(scoring.false_alarms())} in {len(scoring.entities) * seconds / 3600:.0f} entity-hours'),
        ('failed stages', ', '.join(f'{name} {stage} × {n}' for (name, stage), n in demo.exporter.failures().items()) or 'none'),
        ('skipped steps', f'{demo.exporter.missed_steps()}'),
    ]
    what = f'{seconds / 60:.0f} minutes of {demo.hosts} hosts and {demo.services} services in {seconds / demo.speed:.0f} s, seed {demo.seed}'
    return ['', f'promlstm demo: {what}', *('  ' + line for line in terminal.columns(rows)), '', *_result(demo, reasons, stopped), '', *_next(demo)]


def _fault_line(demo: Demo, fault: Fault, state: str, alarms: Sequence[Alarm]) -> str:
    """One fault of the summary."""
    result = {'open': 'not over yet', 'missed': 'MISSED', 'skipped': 'not reached in time', 'found': 'found'}[state]
    delay = f' {delay_text(demo, alarms[0])}' if alarms else ''
    return f'{clock_text(fault.start)} {fault_text(fault)}: {result}{delay}'


def _result(demo: Demo, reasons: Sequence[str], stopped: bool) -> list[str]:
    if reasons:
        return ['Stopped. Until then:' if stopped else 'FAILED:', *(f'  {reason}' for reason in reasons)]
    counts = {'false alarm': len(demo.scoring.false_alarms()), 'wrong cause': _mistaken(demo.spread())}
    words = [f'{count} {what}{"s" * (count != 1)}' for what, count in counts.items() if count]
    return [f'OK{", with " + " and ".join(words) if words else ""}.']


def _mistaken(spread: Sequence[tuple[shop.Fault, Told | None]]) -> int:
    """How many faults spread whose cause is not on top."""
    return sum(told is None or not told.blames(fault.cause) for fault, told in spread)


def _next(demo: Demo) -> list[str]:
    """What to try next."""
    called = Path(sys.argv[0])
    program = str(called) if called.name == 'promlstm' and not shutil.which('promlstm') else 'promlstm'  # as `make demo` calls it
    rows = [
        (f'{program} demo', 'until Ctrl-C, with time to look at that page'),
        (f'{program} demo --print-config > promlstm.yml', 'a configuration to start from: put in your url and expressions'),
        (f'{program} check-config promlstm.yml', 'what it costs, and whether Prometheus answers'),
        (f'{program} run --config.file=promlstm.yml', ''),
    ]
    return [f'While the demo ran, Prometheus could scrape {demo.url}metrics. Next:', *('  ' + line for line in terminal.columns(rows))]


class Lines:
    """One line per event."""

    def __init__(self, demo: Demo, out: TextIO) -> None:
        self._demo, self._out = demo, out
        self._shown: set[object] = set()

    def begin(self) -> None:
        """Before anything is known."""
        entities = len(self._demo.scoring.entities)
        self._print(f'promlstm demo: {entities} entities, warming up from days of history; pages: {self._demo.url} metrics: {self._demo.url}metrics')

    def warm(self, seconds: float) -> None:
        """The clock starts."""
        scored, entities = len(self._demo.scoring.scored), len(self._demo.scoring.entities)
        self._print(f'{scored} of {entities} entities scored after {seconds:.1f} s; the clock starts, {self._demo.speed:g} times as fast as real time')

    def refresh(self) -> None:
        """Print what is new."""
        for when, kind, text in events(self._demo, self._shown):
            self._print(f'{clock_text(when)}  {kind:11}  {text}')

    def end(self) -> None:
        """Nothing to clear away."""

    def _print(self, line: str) -> None:
        self._out.write(line + '\n')
        self._out.flush()


class Screen:
    """A live table on the alternate screen of a terminal, so that what was there before comes back."""

    def __init__(self, demo: Demo, out: TextIO) -> None:
        self._demo, self._out = demo, out
        self._shown: set[object] = set()
        self._recent: deque[str] = deque(maxlen=EVENTS)

    def begin(self) -> None:
        """Take the terminal; log lines are shown among the events."""
        logs.setup(self._demo.log_level, self._demo.log_format, stream=self)
        self._out.write('\x1b[?1049h\x1b[?25l')
        self.refresh()

    def write(self, text: str, /) -> None:
        """A line of the log."""
        self._recent.extend(terminal.YELLOW + line + terminal.PLAIN for line in text.splitlines() if line.strip())

    def flush(self) -> None:
        """For the log: lines are shown at the next refresh."""

    def warm(self, seconds: float) -> None:
        """The clock starts."""
        self._recent.append(f'first scores after {seconds:.1f} s')

    def refresh(self) -> None:
        """Draw the whole screen."""
        colours = {'found': terminal.GREEN, 'injected': terminal.BOLD} | dict.fromkeys(('MISSED', 'FALSE ALARM'), terminal.RED)
        colours |= dict.fromkeys(('incident', 'forecast', 'NOT REACHED'), terminal.YELLOW)
        for when, kind, text in events(self._demo, self._shown):
            self._recent.append(f'{clock_text(when)}  {colours[kind]}{kind:11}{terminal.PLAIN}  {text}')
        size = shutil.get_terminal_size()
        incident = self._incident(size.columns)
        lines = [*self._head(), '', *self._rows(size.lines - 6 - len(incident) - EVENTS), '', *incident, *self._recent]
        self._out.write('\x1b[H' + ''.join(terminal.clipped(line, size.columns) + '\x1b[K\n' for line in lines[: size.lines - 1]) + '\x1b[J')
        self._out.flush()

    def _head(self) -> list[str]:
        demo, scoring = self._demo, self._demo.scoring
        states = [state for _, state, _ in demo.findings()]
        counts = f'{len(states)} faults: {states.count("found")} found, {states.count("missed")} missed, {len(scoring.false_alarms())} false alarms'
        return [  # within 80 columns
            f'{terminal.BOLD}promlstm demo{terminal.PLAIN}   {clock_text(demo.clock.now())} × {demo.speed:g}   '
            f'{len(scoring.scored)} of {len(scoring.entities)} entities scored   {terminal.DIM}Ctrl-C ends{terminal.PLAIN}',
            f'{counts}   {terminal.DIM}{demo.url}{terminal.PLAIN}',
        ]

    def _incident(self, width: int) -> list[str]:
        """The newest incident that spread, while it is open, and why its cause is blamed."""
        now = self._demo.clock.now()
        told = [each for each in self._demo.exporter.spreading.latest() if now - each.time < OPEN_SECONDS]
        if not told:
            return []
        return [f'{terminal.BOLD}{told[-1]}{terminal.PLAIN}', *('  ' + line for line in textwrap.wrap(told[-1].reasons, width - 2)[:REASONS]), '']

    def _rows(self, room: int) -> list[str]:
        """The entities with the highest scores."""
        readings = sorted(self._demo.scoring.newest().items(), key=lambda item: -item[1].score if item[1].score == item[1].score else 0)
        rows = [('detector', 'entity', 'score', '', 'observed', 'expected', 'band', 'metric')]
        rows += [self._row(entity, reading) for entity, reading in readings[: max(0, room)]]
        return terminal.columns(rows)

    def _row(self, entity: Watched, reading: Reading) -> tuple[str, str, str, str, str, str, str, str]:
        observed, expected, lower, upper = (
            terminal.quantity(value, reading.metric) for value in (reading.observed, reading.expected, reading.lower, reading.upper)
        )
        colour = terminal.RED if reading.score >= 1 else terminal.GREEN
        bar = colour + terminal.bar(reading.score) + terminal.PLAIN
        return entity.detector, str(entity), f'{reading.score:.2f}', bar, observed, expected, f'{lower} … {upper}', reading.metric

    def end(self) -> None:
        """Give the terminal back."""
        self._out.write('\x1b[?25h\x1b[?1049l')
        self._out.flush()
        logs.setup(self._demo.log_level, self._demo.log_format)
