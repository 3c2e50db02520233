"""The command line: run · demo · presets · check-config · check-model · backtest. Each command explains itself with `--help`.

Flags are written as Prometheus writes them (`--config.file=…`). Exit status: 0 success, 1 a problem that was reported, 2 wrong usage.
What a command needs is imported when it runs, so that `--help` and a usage error are quick.
"""

import argparse
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO

from promlstm import __version__, logs
from promlstm.errors import ConfigError, PromlstmError

if TYPE_CHECKING:
    from promlstm.config import Config
    from promlstm.serve.telemetry import Telemetry

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STOP_SECONDS = 10.0
LISTEN = ':19855'  # outside 9100-9999, which is allocated to other exporters in full
PROGRESS_SECONDS = 0.5  # between two updates of the progress line


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(demo='demo' in argv[:1])
    args = parser.parse_args(argv)
    if not args.command:
        parser.print_help()
        return 2
    if 'preset' in args:
        _check_sources(parser, args)
    logs.setup(args.log_level, args.log_format)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except PromlstmError as error:
        print(f'promlstm: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('promlstm: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _check_sources(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Presets and a file exclude each other, and so do flags of the one beside the other; none of them may be without effect."""
    if args.preset and args.config_file:
        parser.error(f'--preset and the configuration file {args.config_file}: give one of them; a preset is used instead of a file')
    for flag, value in (('--prometheus.url', args.prometheus_url), ('--preset.without', args.preset_without)):
        if value and not args.preset:
            parser.error(f'{flag} is for --preset only: a configuration file says itself what Prometheus and which detectors it is about')
    args.config_file = args.config_file or 'promlstm.yml'


def _parser(*, demo: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        'promlstm',
        description='LSTM anomaly detection for people who run Prometheus.',
        epilog='examples:\n  promlstm demo\n  promlstm run --preset=node --prometheus.url=http://localhost:9090\n'
        '  promlstm COMMAND --help\n',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'promlstm {__version__}')
    parser.set_defaults(command=None, log_level='info', log_format='logfmt')
    commands = parser.add_subparsers(metavar='COMMAND')
    _add_run(commands)
    _add_demo(commands, demo)
    _add_presets(commands)
    _add_check_config(commands)
    _add_check_model(commands)
    _add_backtest(commands)
    return parser


def _add(
    commands: 'Commands', name: str, command: Callable[[argparse.Namespace], int], *, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add a command to the parser, with the flags that all commands have."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog='\n  '.join(['examples:', *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--log.level', dest='log_level', choices=list(logs.LEVELS), default='info', help='lowest level to log (default: info)')
    parser.add_argument(
        '--log.format', dest='log_format', choices=('logfmt', 'json'), default='logfmt', help='format of log lines (default: logfmt)'
    )
    parser.set_defaults(command=command)
    return parser


def _add_config_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--config.file', dest='config_file', metavar='FILE', help='configuration file (default: promlstm.yml)'
    )
    _add_preset(parser)


def _add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--preset', action='append', metavar='NAME', help='use ready-made detectors instead of a file, see `promlstm presets`; repeatable'
    )
    parser.add_argument(
        '--preset.without', dest='preset_without', action='append', metavar='DETECTOR', help='a detector of the presets to leave out; repeatable'
    )
    parser.add_argument(
        '--prometheus.url', dest='prometheus_url', metavar='URL', help='the Prometheus that presets query (default: http://localhost:9090)'
    )


def _add_run(commands: 'Commands') -> None:
    parser = _add(
        commands,
        'run',
        run,
        summary='query Prometheus, score every entity, serve the scores as metrics',
        description='Run the detectors of a configuration against Prometheus and serve the results on /metrics.\n\n'
        'A minimal configuration:\n\n'
        '  prometheus:\n    url: http://localhost:9090\n  detectors:\n    - name: node_cpu\n'
        '      expr: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))\n      direction: above\n\n'
        'Scrape it with honor_labels: true. Otherwise entities lose their own job and instance labels.',
        examples=['promlstm run --config.file=promlstm.yml', 'promlstm run --preset=node --preset=prometheus --prometheus.url=http://prometheus:9090'],
    )
    _add_config_file(parser)
    parser.add_argument(
        '--web.listen-address', dest='listen', default=LISTEN, metavar='HOST:PORT', help=f'address to serve on (default: {LISTEN})'
    )


def _add_demo(commands: 'Commands', wanted: bool) -> None:
    parser = _add(
        commands,
        'demo',
        demo,
        summary='see it work on built-in telemetry, without a Prometheus',
        description='Run the exporter against built-in telemetry of a small fleet: hours pass in minutes, and injected faults have to be found.',
        examples=['promlstm demo', 'promlstm demo --for=20s --plain', 'promlstm demo --print-config > promlstm.yml'],
    )
    if wanted:  # an exporter does not load what only the demo needs
        from promlstm.demo.run import arguments

        arguments(parser)


def _add_presets(commands: 'Commands') -> None:
    _add(
        commands,
        'presets',
        presets,
        summary='list the ready-made detectors and how each was tested',
        description='List the presets: what each watches, which exporter it needs, and what it was tested on.',
        examples=['promlstm presets', 'promlstm run --preset=node --preset=prometheus --prometheus.url=http://localhost:9090'],
    )


def _add_check_config(commands: 'Commands') -> None:
    parser = _add(
        commands,
        'check-config',
        check_config,
        summary='validate a configuration and show what it costs',
        description='Read a configuration, load its models and show what it costs. If Prometheus can be reached, its expressions are tried.\n'
        'Exit status 1 if the exporter could not run with it. That Prometheus cannot be reached is only reported.\n\n'
        'Columns:\n\n'
        '  QUERIES     expressions that each step sends to Prometheus\n'
        '  STEP        time between two steps\n'
        '  MODEL       name of the model, from its manifest\n'
        '  PER ENTITY  memory of one entity\n'
        '  BUDGET      false alarms that are acceptable, `each` entity or `in all`\n'
        '  FLOOR       lowest budget that the model is calibrated for, false alarms per entity-week\n'
        '  ENTITIES    entities that the expressions return now (with Prometheus)\n'
        '  MEMORY      memory of all these entities (with Prometheus)\n'
        '  FIRST SCORE AFTER      how long an entity without history waits for its first score\n'
        '  HISTORY READ AT START  what a start asks Prometheus for; the seasonal memory is filled from coarse samples',
        examples=['promlstm check-config promlstm.yml', 'promlstm check-config --preset=node --prometheus.url=http://prometheus:9090'],
    )
    parser.add_argument('config_file', nargs='?', metavar='FILE', help='configuration file (default: promlstm.yml)')
    _add_preset(parser)
    parser.add_argument('--offline', action='store_true', help='do not query Prometheus')


def _add_check_model(commands: 'Commands') -> None:
    parser = _add(
        commands,
        'check-model',
        check_model,
        summary="verify a model file and print its model card",
        description='Read a model file, verify on this machine that it computes the numbers it was made with, and print its card:\n'
        'what it is, the surprise that each budget of false alarms allows, and its measures beside a model without LSTM and the best baseline.',
        examples=['promlstm check-model builtin:default', 'promlstm check-model models/own.onnx --sha256=DIGEST'],
    )
    parser.add_argument('model', metavar='FILE', help='a model file, or builtin:default')
    parser.add_argument('--sha256', help='the digest that the file must have')


def _add_backtest(commands: 'Commands') -> None:
    parser = _add(
        commands,
        'backtest',
        backtest,
        summary='list the alarms that the detectors would have raised in the past',
        description='Replay history from Prometheus through the detectors of a configuration and list the anomalies.\n\n'
        'To see past scores in Prometheus itself:\n\n'
        '  promlstm backtest --from=-2d --format=openmetrics --output=scores.om\n'
        '  promtool tsdb create-blocks-from openmetrics scores.om DATA_DIR',
        examples=['promlstm backtest --from=-2d', 'promlstm backtest --from=2026-01-30T00:00:00Z --to=2026-01-31T00:00:00Z --detector=node_cpu --format=json'],
    )
    _add_config_file(parser)
    parser.add_argument(
        '--from', dest='start', default='-1d', metavar='TIME', help='begin: -2d, unix seconds, or 2026-01-31T12:00:00Z (default: -1d)'
    )
    parser.add_argument('--to', dest='end', default='now', metavar='TIME', help='end, written the same way, or now (default: now)')
    parser.add_argument('--detector', action='append', metavar='NAME', help='replay only this detector; repeatable')
    parser.add_argument('--format', choices=('table', 'json', 'openmetrics'), default='table', help='output format (default: table)')
    parser.add_argument('--output', metavar='FILE', help='write to a file instead of standard output')


def run(args: argparse.Namespace) -> int:
    """`promlstm run`: until SIGTERM or SIGINT, then status 0. SIGHUP compares the file with the configuration in force."""
    from promlstm.live.clock import Clock
    from promlstm.live.scheduler import Scheduler
    from promlstm.query.prometheus import Prometheus
    from promlstm.serve.page import Page
    from promlstm.serve.server import Server
    from promlstm.serve.telemetry import Telemetry

    log = logging.getLogger('promlstm.main')
    config, name = _configuration(args)
    clock, telemetry = Clock(), Telemetry()
    page = Page(clock.now, clock.steady)
    source = Prometheus(config.prometheus, root=config.root)
    scheduler = Scheduler(config, source, clock=clock, telemetry=telemetry, publish=page.publish, withdraw=page.withdraw, facts=source)
    server = Server(args.listen, page=page, telemetry=telemetry, statuses=scheduler.statuses, ready=scheduler.ready)
    telemetry.set('promlstm_config_last_reload_successful', 1)
    telemetry.set('promlstm_config_last_reload_success_timestamp_seconds', time.time())
    wait_for_signal = _signals()
    server.start()
    logs.event(log, 'info', 'serving', version=__version__, url=server.url, config=name, detectors=len(config.detectors))
    scheduler.start()
    while (number := wait_for_signal()) == signal.SIGHUP:
        _compare(args, config, telemetry, log)
    logs.event(log, 'info', 'stopping', signal=number.name)
    clean = scheduler.stop(STOP_SECONDS)
    server.stop()
    if not clean:
        logs.event(log, 'warn', 'a detector did not stop in time, its query is abandoned')
        os._exit(0)  # the interpreter would wait for the query's thread
    return 0


def _compare(args: argparse.Namespace, config: 'Config', telemetry: 'Telemetry', log: logging.Logger) -> None:
    """Read the file again and report whether it equals the configuration in force. A change needs a restart."""
    from promlstm import config as configuration

    if args.preset:
        logs.event(log, 'info', 'the configuration consists of presets, there is no file to read again')
        return
    try:
        changes = ', '.join(configuration.changes(config, configuration.load(args.config_file)))
    except ConfigError as error:
        telemetry.set('promlstm_config_last_reload_successful', 0)
        logs.event(log, 'error', 'configuration file is not valid, the configuration in force is kept', err=str(error))
        return
    telemetry.set('promlstm_config_last_reload_successful', int(not changes))
    if changes:
        logs.event(log, 'warn', 'configuration file has changed, restart to apply it', config=args.config_file, changed=changes)
    else:
        logs.event(log, 'info', 'configuration file equals the configuration in force', config=args.config_file)


def _signals() -> Callable[[], signal.Signals]:
    """A function that waits for SIGTERM, SIGINT or SIGHUP and returns it; signals that arrive before the call count too.

    The handlers do nothing; the number comes through a socket. A handler that sets an event may wait for ever for a lock that its own
    thread holds.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)

    def wait(_keep: socket.socket = writer) -> signal.Signals:
        return signal.Signals(reader.recv(1)[0])

    return wait


def demo(args: argparse.Namespace) -> int:
    """`promlstm demo`: status 0 only if every entity was scored, all injected faults were found and no stage failed."""
    from promlstm.demo.run import main

    return main(args)


def _configuration(args: argparse.Namespace) -> 'tuple[Config, str]':
    """The Config of the presets that were given, else of the file; and its name for messages."""
    from promlstm import config as configuration
    from promlstm import presets

    if args.preset:
        config = presets.config(args.preset, args.prometheus_url or presets.URL, args.preset_without or ())
        return config, ' '.join(f'--preset={name}' for name in args.preset)
    return configuration.load(args.config_file), args.config_file


def presets(_args: argparse.Namespace) -> int:
    """`promlstm presets`: the list, and how each was tested."""
    from promlstm.presets import table

    print(table())
    return 0


def check_config(args: argparse.Namespace) -> int:
    """`promlstm check-config`: status 1 if the exporter could not run with the configuration."""
    from promlstm import limits
    from promlstm.check import check

    config, name = _configuration(args)
    progress = Progress()
    good = check(
        config, online=not args.offline, say=print, width=_width(), memory_limit_bytes=limits.memory_bytes(),
        progress=lambda detector: progress.show(detector and f'checking {detector}'),
    )  # fmt: skip
    print(f'{name}: {"OK" if good else "FAILED, see the errors above"}')
    return 0 if good else 1


def check_model(args: argparse.Namespace) -> int:
    """`promlstm check-model`: prints the card, or why the file cannot be used."""
    from promlstm.card import card
    from promlstm.engine import session

    print('\n'.join(card(session.load(session.resolve(args.model), sha256=args.sha256).bundle, _width())))
    return 0


def _width() -> int | None:
    """Columns of the terminal that standard output goes to, or what COLUMNS says; None = no terminal, so lines of any length."""
    if not sys.stdout.isatty() and 'COLUMNS' not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def backtest(args: argparse.Namespace) -> int:
    """`promlstm backtest`: a report for each detector that was asked for."""
    from promlstm import backtest as replay
    from promlstm.engine.detector import Detector
    from promlstm.engine.session import load, resolve
    from promlstm.query.prometheus import Prometheus

    (config, name), now = _configuration(args), time.time()
    start, end = instant(args.start, now, '--from'), instant(args.end, now, '--to')
    if not start < end:
        raise ConfigError(f'--from={args.start} is not before --to={args.end}')
    if end > now:
        raise ConfigError(f'--to={args.end} is in the future')
    known = [detector.name for detector in config.detectors]
    if unknown := next((name for name in args.detector or () if name not in known), None):
        raise ConfigError(f'--detector={unknown}: no such detector; {name} has {", ".join(known)}')
    out = _output(args.output)  # before the work, so that a path that cannot be written is reported at once
    source, sink, progress = Prometheus(config.prometheus, root=config.root), replay.OpenMetrics(), Progress()
    reports, failed = [], []
    for detector in config.detectors:
        if not args.detector or detector.name in args.detector:
            try:
                session = load(resolve(detector.model, config.root), sha256=detector.sha256)
                subject, show_step = Detector(detector, session, source), progress.steps(detector.name)
                reports.append(replay.run(subject, start, end, progress=show_step, sink=sink if args.format == 'openmetrics' else None))
            except PromlstmError as error:  # the others have their report all the same
                failed.append(f'promlstm: detector {detector.name}: {error}')
            progress.show('')
    with out:
        if args.format == 'openmetrics':
            sink.write(out)
        else:
            out.write((replay.table(reports) if args.format == 'table' else replay.as_json(reports) + '\n').encode())
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def _output(path: str | None) -> BinaryIO:
    """A binary stream: standard output, or a file."""
    try:
        return open(path, 'wb') if path else open(sys.stdout.fileno(), 'wb', closefd=False)
    except OSError as error:
        raise ConfigError(f'--output={path}: cannot be written: {error.strerror}') from error


def instant(text: str, now: float, flag: str) -> float:
    """Unix seconds of a time on the command line.

    >>> instant('-2d', 200_000, '--from'), instant('now', 5.0, '--to'), instant('1970-01-01T00:01:00Z', 0, '--to')
    (27200.0, 5.0, 60.0)
    """
    from datetime import UTC, datetime

    from promlstm.config import seconds

    try:
        if text == 'now':
            return float(now)
        if text.startswith('-'):
            return now - seconds(text[1:])
        if text.replace('.', '', 1).isdigit():
            return float(text)
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except ValueError as error:
        raise ConfigError(f'{flag}={text}: expected -2d, now, unix seconds or 2026-01-31T12:00:00Z') from error


class Progress:
    """One line on standard error that shows how far a long job is; nothing where standard error is no terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace the line; an empty text removes it."""
        if self._terminal:
            print(f'\r{text}\x1b[K', end='', file=sys.stderr, flush=True)

    def steps(self, name: str) -> Callable[[int, int], None]:
        """A function that is called with the steps done, below 0 during warm-up, and the steps to do."""
        shown = time.monotonic()

        def update(done: int, total: int) -> None:
            nonlocal shown
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                self.show(f'{name}: {f"{done}/{total} steps" if done > 0 else "warming up"}')

        return update


if __name__ == '__main__':
    sys.exit(main())
