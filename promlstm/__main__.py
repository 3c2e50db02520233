"""The command line: run · demo · presets · check-config · check-model · backtest. Each command's `--help` teaches it.

Flags are written as Prometheus writes them (`--config.file=…`). Exit status: 0 in order, 1 something is wrong and said what, 2 usage.
"""

import argparse
import os
import signal
import socket
import sys
import time

from promlstm import __version__, logs
from promlstm.errors import ConfigError, PromlstmError

STOP_SECONDS = 10.0
LISTEN = ':19855'  # outside 9100-9999, which is allocated to other exporters in full


def main(argv=None):
    """Run one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(demo='demo' in argv[:1])
    args = parser.parse_args(argv)
    if not args.command:
        parser.print_help()
        return 2
    logs.setup(args.log_level, args.log_format)
    try:
        return args.command(args)
    except PromlstmError as error:
        print(f'promlstm: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('promlstm: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _parser(*, demo):
    parser = argparse.ArgumentParser(
        'promlstm', description='LSTM anomaly detection for people who run Prometheus.', epilog='promlstm COMMAND --help teaches one.'
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


def _add(commands, name, command, summary, description):
    parser = commands.add_parser(name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--log.level', dest='log_level', choices=list(logs.LEVELS), default='info', help='least level that is logged (default: info)'
    )
    parser.add_argument(
        '--log.format', dest='log_format', choices=('logfmt', 'json'), default='logfmt', help='style of log lines (default: logfmt)'
    )
    parser.set_defaults(command=command)
    return parser


def _add_config_file(parser):
    parser.add_argument(
        '--config.file', dest='config_file', default='promlstm.yml', metavar='FILE', help='configuration (default: promlstm.yml)'
    )
    _add_preset(parser)


def _add_preset(parser):
    parser.add_argument(
        '--preset', action='append', metavar='NAME', help='instead of a file: ready detectors, see `promlstm presets`; may be given several times'
    )
    parser.add_argument(
        '--prometheus.url', dest='prometheus_url', default='http://localhost:9090', metavar='URL',
        help='the Prometheus of the presets (default: http://localhost:9090)',
    )  # fmt: skip


def _add_run(commands):
    parser = _add(
        commands, 'run', run, 'poll Prometheus, score every entity, serve the gauges',
        'Run the detectors of a configuration against Prometheus and serve their gauges on /metrics.\n\n'
        'A configuration of six lines:\n\n'
        '  prometheus:\n    url: http://localhost:9090\n  detectors:\n    - name: node_cpu\n'
        '      expr: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))\n      direction: above\n\n'
        'Scrape it with honor_labels: true, or entities lose their own job and instance.',
    )  # fmt: skip
    _add_config_file(parser)
    parser.add_argument(
        '--web.listen-address', dest='listen', default=LISTEN, metavar='HOST:PORT', help=f'where to serve (default: {LISTEN})'
    )


def _add_demo(commands, wanted):
    parser = _add(
        commands,
        'demo',
        demo,
        'the whole job on an embedded source, nothing needed',
        'Run the exporter against an embedded source: hours of telemetry of a little fleet, in minutes, with planted faults.',
    )
    if wanted:  # what only the demo needs is not loaded where an exporter runs
        from promlstm.demo.run import arguments

        arguments(parser)


def _add_presets(commands):
    _add(
        commands, 'presets', presets, 'list the ready detectors, and how each was tested',
        'List the presets: what each watches, what it needs, and what it was tested on.\n\n'
        'To use some:\n\n  promlstm run --preset=node --preset=prometheus --prometheus.url=http://localhost:9090',
    )  # fmt: skip


def _add_check_config(commands):
    parser = _add(
        commands, 'check-config', check_config, 'validate a configuration and say what it costs',
        'Read a configuration, load its models and say what it costs; where Prometheus can be reached, its expressions are tried.\n'
        'Exit status 1 where the exporter could not run with it; an unreachable Prometheus is only reported.',
    )  # fmt: skip
    parser.add_argument(
        'config_file', nargs='?', default='promlstm.yml', metavar='FILE', help='configuration (default: promlstm.yml)'
    )
    _add_preset(parser)
    parser.add_argument('--offline', action='store_true', help='do not ask Prometheus')


def _add_check_model(commands):
    parser = _add(
        commands,
        'check-model',
        check_model,
        "print a model's card and verify its proof",
        'Read a model file strictly, verify its proof on this machine, and print its card.',
    )
    parser.add_argument('model', metavar='FILE', help='a file, or builtin:default')
    parser.add_argument('--sha256', help='the digest that the file must have')


def _add_backtest(commands):
    parser = _add(
        commands, 'backtest', backtest, 'what the detectors would have raised over the past',
        'Replay the past of Prometheus through the detectors of a configuration and list the anomalies.\n\n'
        'To look at past scores in Prometheus itself:\n\n'
        '  promlstm backtest --from=-2d --format=openmetrics --output=scores.om\n'
        '  promtool tsdb create-blocks-from openmetrics scores.om DATA_DIR',
    )  # fmt: skip
    _add_config_file(parser)
    parser.add_argument(
        '--from', dest='start', default='-1d', metavar='TIME', help='-2d, unix seconds, or 2026-01-31T12:00:00Z (default: -1d)'
    )
    parser.add_argument('--to', dest='end', default='now', metavar='TIME', help='the same, or now (default: now)')
    parser.add_argument('--detector', action='append', metavar='NAME', help='only this one; may be given several times')
    parser.add_argument('--format', choices=('table', 'json', 'openmetrics'), default='table', help='(default: table)')
    parser.add_argument('--output', metavar='FILE', help='write here instead of standard output')


def run(args):
    """`promlstm run`: until SIGTERM or SIGINT, which end it between two chunks of work with status 0. SIGHUP looks at the file again."""
    from promlstm.live.clock import Clock
    from promlstm.live.scheduler import Scheduler
    from promlstm.query.prometheus import Prometheus
    from promlstm.serve.page import Page
    from promlstm.serve.server import Server
    from promlstm.serve.telemetry import Telemetry

    log = logs.logging.getLogger('promlstm.main')
    config, name = _configuration(args)
    clock, telemetry = Clock(), Telemetry()
    page = Page(clock.now)
    source = Prometheus(config.prometheus, root=config.root)
    scheduler = Scheduler(config, source, clock=clock, telemetry=telemetry, publish=page.publish, withdraw=page.withdraw)
    server = Server(args.listen, page=page, telemetry=telemetry, statuses=scheduler.statuses, ready=scheduler.ready)
    telemetry.set('promlstm_config_last_reload_successful', 1)
    telemetry.set('promlstm_config_last_reload_success_timestamp_seconds', time.time())
    signals = _signals()
    server.start()
    logs.event(log, 'info', 'serving', version=__version__, url=server.url, config=name, detectors=len(config.detectors))
    scheduler.start()
    while (number := signals()) == signal.SIGHUP:
        _compare(args, config, telemetry, log)
    logs.event(log, 'info', 'stopping', signal=number.name)
    clean = scheduler.stop(STOP_SECONDS)
    server.stop()
    if not clean:
        logs.event(log, 'warn', 'a detector did not stop in time, its query is abandoned')
        os._exit(0)  # the interpreter would wait for the query's thread
    return 0


def _compare(args, config, telemetry, log):
    """Read the configuration again and say whether it is the one in force; nothing of it is taken into force without a restart."""
    from promlstm import config as configuration

    if args.preset:
        logs.event(log, 'info', 'the configuration is of presets, there is no file to read again')
        return
    try:
        changes = ', '.join(configuration.changes(config, configuration.load(args.config_file)))
    except ConfigError as error:
        telemetry.set('promlstm_config_last_reload_successful', 0)
        logs.event(log, 'error', 'configuration file is not valid, the one from before stays in force', err=str(error))
        return
    telemetry.set('promlstm_config_last_reload_successful', int(not changes))
    if changes:
        logs.event(log, 'warn', 'configuration file was changed, a restart takes it into force', config=args.config_file, changed=changes)
    else:
        logs.event(log, 'info', 'configuration file is the one in force', config=args.config_file)


def _signals():
    """A function that waits for SIGTERM, SIGINT or SIGHUP and returns which; signals that come before it is called count.

    The handlers do nothing, the number comes through a socket: a handler that sets an event may wait for ever for the lock
    that its own thread holds.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return lambda _keep=writer: signal.Signals(reader.recv(1)[0])


def demo(args):
    """`promlstm demo`: status 0 only if every entity was scored, the planted faults were found and no stage failed."""
    from promlstm.demo.run import main

    return main(args)


def _configuration(args):
    """The Config of the presets asked for, else of the file; and what to call it."""
    from promlstm import config as configuration
    from promlstm import presets

    if args.preset:
        return presets.config(args.preset, args.prometheus_url), ' '.join(f'--preset={name}' for name in args.preset)
    return configuration.load(args.config_file), args.config_file


def presets(_args):
    """`promlstm presets`: what there is, and how each was tested."""
    from promlstm.presets import table

    print(table())
    return 0


def check_config(args):
    """`promlstm check-config`: status 1 where the exporter could not run with it."""
    from promlstm.check import check

    config, name = _configuration(args)
    good = check(config, online=not args.offline, say=print)
    print(f'{name}: {"in order" if good else "NOT in order, see above"}')
    return 0 if good else 1


def check_model(args):
    """`promlstm check-model`: prints the card, or why the file is refused."""
    from promlstm.check import card
    from promlstm.engine import session

    print(card(session.load(session.resolve(args.model), sha256=args.sha256)))
    return 0


def backtest(args):
    """`promlstm backtest`: the reports of the detectors asked for, one after the other."""
    from promlstm import backtest as replaying
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
    out = _output(args.output)  # before the work: a path that cannot be written is told at once
    source, sink, reports = Prometheus(config.prometheus, root=config.root), replaying.OpenMetrics(), []
    for detector in config.detectors:
        if not args.detector or detector.name in args.detector:
            session = load(resolve(detector.model, config.root), sha256=detector.sha256)
            progress = Progress(detector.name)
            replayed = Detector(detector, session, source)
            reports.append(replaying.run(replayed, start, end, progress=progress, sink=sink if args.format == 'openmetrics' else None))
            progress.end()
    with out:
        if args.format == 'openmetrics':
            sink.write(out)
        else:
            out.write((replaying.table(reports) if args.format == 'table' else replaying.as_json(reports) + '\n').encode())
    return 0


def _output(path):
    """A binary stream: standard output, or a file."""
    try:
        return open(path, 'wb') if path else open(sys.stdout.fileno(), 'wb', closefd=False)
    except OSError as error:
        raise ConfigError(f'--output={path}: cannot be written: {error.strerror}') from error


def instant(text, now, flag):
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
    """One line on standard error that tells how far a long work is; silent where nobody looks."""

    def __init__(self, name):
        self._name, self._told, self._shown = name, time.monotonic(), sys.stderr.isatty()

    def __call__(self, done, total):
        """Steps done of all; below 0 while warming up."""
        if self._shown and time.monotonic() - self._told > 0.5:
            self._told = time.monotonic()
            where = f'{done}/{total} steps' if done > 0 else 'warming up'
            print(f'\r{self._name}: {where} \x1b[K', end='', file=sys.stderr, flush=True)

    def end(self):
        """Clear the line."""
        if self._shown:
            print('\r\x1b[K', end='', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
