"""What a demo shows: one line per event, or a live table on a terminal, and the summary at its end.

Who calls it: demo. What flows through: a Demo to look at, a stream to write to. It changes nothing and decides nothing: what was found
and what was missed is in `scoring`.
"""

import shutil
from collections import deque
from datetime import UTC, datetime

from promlstm import logs, terminal
from promlstm.demo.fleet import SERVICES


def fault_text(fault):
    """A planted fault in words: `cpu_burn on host-03:9100`."""
    return f'{fault.kind} on {fault.labels["instance"]}'


def reading_text(reading):
    """A reading in words, with observed against expected and its band."""
    observed, expected, lower, upper = (
        terminal.quantity(value, reading.metric) for value in (reading.observed, reading.expected, reading.lower, reading.upper)
    )
    return f'score {reading.score:.1f}, {observed} observed, {expected} expected ({lower} … {upper})'


def clock_text(seconds):
    """The time of day of the demo's clock."""
    return f'{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}'


def events(demo, shown):
    """What happened since the last call, as (time, kind, words); `shown` is a set that remembers."""
    found = {}
    for fault, verdict, alarms in demo.findings():
        found['planted', fault.start] = (fault.start, fault_text(fault))
        if verdict == 'missed':
            found['MISSED', fault.start] = (fault.end, fault_text(fault))
        if alarms:
            found['found', fault.start] = (alarms[0].reading.time, _found_text(demo, fault, alarms[0]))
    for alarm in demo.scoring.false_alarms():
        words = f'{alarm.entity.detector} on {alarm.entity}: {reading_text(alarm.reading)}'
        found['FALSE ALARM', alarm] = (alarm.reading.time, words)
    new = [(when, key[0], words) for key, (when, words) in found.items() if key not in shown]
    shown.update(found)
    return sorted(new)


def _found_text(demo, fault, alarm):
    return f'{fault_text(fault)} {delay_text(demo, alarm)}: {reading_text(alarm.reading)}'


def delay_text(demo, alarm):
    """How fast a fault was found, and by whom."""
    steps = demo.scoring.steps_until(alarm)
    return f'after {steps} step{"s" * (steps != 1)} by {alarm.entity.detector}'


def summary(demo, reasons):
    """What a demo says at its end, list of lines."""
    scoring, args, findings = demo.scoring, demo.args, demo.findings()
    counts = {verdict: sum(found == verdict for _, found, _ in findings) for verdict in ('found', 'missed', 'on')}
    watched = demo.clock.now() - demo.begin
    rows = [
        ('entities scored', f'{len(scoring.scored)} of {len(scoring.entities)}'),
        ('faults', f'{len(findings)} planted, {counts["found"]} found, {counts["missed"]} missed, {counts["on"]} too young to tell'),
        *(('', _fault_line(demo, *finding)) for finding in findings),
        ('false alarms', f'{len(scoring.false_alarms())} in {len(scoring.entities) * watched / 3600:.0f} entity-hours'),
        ('stages failed', ', '.join(f'{name} {stage} × {n}' for (name, stage), n in demo.exporter.failures().items()) or 'none'),
        ('steps given up', f'{demo.exporter.missed_steps()}'),
    ]
    what = (
        f'{watched / 60:.0f} minutes of {demo.hosts} hosts and {len(SERVICES)} services in {watched / args.speed:.0f} s, seed {args.seed}'
    )
    return ['', f'promlstm demo: {what}', *('  ' + line for line in terminal.columns(rows)), '', *_verdict(demo, reasons), '', *_next(demo)]


def _fault_line(demo, fault, verdict, alarms):
    """One fault of the summary."""
    words = {'on': 'too young to tell', 'missed': 'MISSED'}
    said = f'found {delay_text(demo, alarms[0])}' if alarms else words[verdict]
    return f'{clock_text(fault.start)} {fault_text(fault)}: {said}'


def _verdict(demo, reasons):
    if reasons:
        return ['NOT in order:', *(f'  {reason}' for reason in reasons)]
    false = len(demo.scoring.false_alarms())
    return [f'In order{f", but for {false} false alarm" + "s" * (false != 1) if false else ""}.']


def _next(demo):
    """What to try next."""
    return [
        f'While it ran, Prometheus could scrape {demo.exporter.server.url}/metrics. Next:',
        '  promlstm demo                                   until Ctrl-C, with time to look at that page',
        '  promlstm demo --print-config > promlstm.yml     a configuration to begin with: put in your url and expressions',
        '  promlstm check-config promlstm.yml              what it costs, and whether Prometheus answers',
        '  promlstm run --config.file=promlstm.yml',
    ]


class Lines:
    """One line per event."""

    def __init__(self, demo, out):
        self._demo, self._out, self._shown = demo, out, set()

    def begin(self):
        """Before anything is known."""
        entities, server = len(self._demo.scoring.entities), self._demo.exporter.server
        self._say(f'promlstm demo: {entities} entities, warming up from days of history; metrics: {server.url}/metrics')

    def warm(self, seconds):
        """The clock starts."""
        scored, entities = len(self._demo.scoring.scored), len(self._demo.scoring.entities)
        self._say(
            f'{scored} of {entities} entities scored after {seconds:.1f} s; the clock starts, {self._demo.args.speed:g} times faster than life'
        )

    def look(self):
        """Tell what is new."""
        for when, kind, words in events(self._demo, self._shown):
            self._say(f'{clock_text(when)}  {kind:11}  {words}')

    def end(self):
        """Nothing to clear away."""

    def _say(self, line):
        self._out.write(line + '\n')
        self._out.flush()


class Screen:
    """A live table on the terminal's other page, so that what was there before comes back."""

    def __init__(self, demo, out):
        self._demo, self._out, self._shown, self._recent = demo, out, set(), deque(maxlen=8)

    def begin(self):
        """Take the terminal; log lines join the events."""
        logs.setup(self._demo.log_level, self._demo.args.log_format, stream=self)
        self._out.write('\x1b[?1049h\x1b[?25l')
        self.look()

    def write(self, text):
        """A line of the log."""
        self._recent.extend(terminal.YELLOW + line + terminal.PLAIN for line in text.splitlines() if line.strip())

    def flush(self):
        """For the log: all is shown at the next look."""

    def warm(self, seconds):
        """The clock starts."""
        self._recent.append(f'first scores after {seconds:.1f} s')

    def look(self):
        """Draw all of it."""
        colours = {'found': terminal.GREEN, 'MISSED': terminal.RED, 'FALSE ALARM': terminal.RED, 'planted': terminal.BOLD}
        for when, kind, words in events(self._demo, self._shown):
            self._recent.append(f'{clock_text(when)}  {colours[kind]}{kind:11}{terminal.PLAIN}  {words}')
        size = shutil.get_terminal_size()
        lines = [*self._head(), '', *self._rows(size.lines - 6 - self._recent.maxlen), '', *self._recent]
        self._out.write('\x1b[H' + ''.join(terminal.clipped(line, size.columns) + '\x1b[K\n' for line in lines[: size.lines - 1]) + '\x1b[J')
        self._out.flush()

    def _head(self):
        demo, scoring = self._demo, self._demo.scoring
        verdicts = [verdict for _, verdict, _ in demo.findings()]
        counts = f'{len(verdicts)} faults planted, {verdicts.count("found")} found, {verdicts.count("missed")} missed'
        return [
            f'{terminal.BOLD}promlstm demo{terminal.PLAIN}   {clock_text(demo.clock.now())} × {demo.args.speed:g}   '
            f'{len(scoring.scored)} of {len(scoring.entities)} entities scored   {counts}, {len(scoring.false_alarms())} false alarms',
            f'{terminal.DIM}metrics: {demo.exporter.server.url}/metrics   Ctrl-C ends{terminal.PLAIN}',
        ]

    def _rows(self, room):
        """The entities with the highest scores."""
        readings = sorted(self._demo.scoring.newest().items(), key=lambda item: -item[1].score if item[1].score == item[1].score else 0)
        rows = [('detector', 'entity', 'score', '', 'observed', 'expected', 'band', 'of')]
        rows += [self._row(entity, reading) for entity, reading in readings[: max(0, room)]]
        return terminal.columns(rows)

    def _row(self, entity, reading):
        observed, expected, lower, upper = (
            terminal.quantity(value, reading.metric) for value in (reading.observed, reading.expected, reading.lower, reading.upper)
        )
        colour = terminal.RED if reading.score >= 1 else terminal.GREEN
        bar = colour + terminal.bar(reading.score) + terminal.PLAIN
        return entity.detector, str(entity), f'{reading.score:.2f}', bar, observed, expected, f'{lower} … {upper}', reading.metric

    def end(self):
        """Give the terminal back."""
        self._out.write('\x1b[?25h\x1b[?1049l')
        self._out.flush()
        logs.setup(self._demo.log_level, self._demo.args.log_format)
