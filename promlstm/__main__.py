"""The command line: run · demo · presets · check-config · check-web-config · check-model · backtest. Each command explains itself with `--help`.

Flags are written as Prometheus writes them (`--config.file=…`). Exit status: 0 success, 1 a problem that was reported, 2 wrong usage.
What a command needs is imported when it runs, so that `--help` and a usage error are quick.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, BinaryIO

from promlstm import __version__, arguments, logs, signals
from promlstm.errors import ConfigError, PromlstmError

if TYPE_CHECKING:
    from promlstm.config import Config
    from promlstm.live.dependencies import Dependencies
    from promlstm.live.scheduler import Scheduler
    from promlstm.query.sources import Sources

STOP_SECONDS = 10.0
CHECKPOINT_SECONDS = 10.0  # for the last checkpoint, after that: both fit into the 30 s of a pod
PROGRESS_SECONDS = 0.5  # between two updates of the progress line


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    commands = {
        'run': run, 'demo': demo, 'presets': presets, 'check-config': check_config, 'check-web-config': check_web_config,
        'check-model': check_model, 'backtest': backtest,
    }  # fmt: skip
    args = arguments.parse(argv, commands)
    logs.setup(args.log_level, args.log_format)
    command: arguments.Command = args.command
    try:
        return command(args)
    except PromlstmError as error:
        for problem in error.problems if isinstance(error, ConfigError) else (error,):
            print(f'promlstm: {problem}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('promlstm: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def run(args: argparse.Namespace) -> int:
    """`promlstm run`: until SIGTERM or SIGINT, then status 0. SIGHUP, or a change of the file, makes it run what the file says then."""
    log = logging.getLogger('promlstm.main')
    with signals.ending_at_once() as kept:  # what is imported, read and parsed here may take long
        from promlstm import limits
        from promlstm.engine.session import stamp
        from promlstm.live.clock import Clock
        from promlstm.live.dependencies import Dependencies
        from promlstm.live.feedback import Feedback
        from promlstm.live.incidents import Gathering
        from promlstm.live.reload import Reload
        from promlstm.live.scheduler import Scheduler
        from promlstm.live.shards import Shard, part
        from promlstm.live.storage import Storage
        from promlstm.query.sources import Sources
        from promlstm.serve.page import OF_INCIDENTS, Page
        from promlstm.serve.server import Server, limits_of
        from promlstm.serve.site import Site, host_of, prefix_of
        from promlstm.serve.telemetry import Telemetry
        from promlstm.serve.web import Web
        from promlstm.ui.actions import Actions
        from promlstm.ui.board import Board
        from promlstm.ui.context import Context
        from promlstm.ui.site import Ui
        from promlstm.ui.templates import Templates

        seen = None if args.preset else stamp(args.config_file)
        whole, name = _configuration(args)
        shard = Shard.parse(args.shard, args.shard_replicas, args.shard_previous) if args.shard else Shard(0, 1)
        mine = partial(part, shard=shard)
        config = mine(whole)
        _advise(config, log)
        clock, telemetry = Clock(), Telemetry()
        telemetry.set('promlstm_shards', shard.of)
        if shard.number < shard.of:
            telemetry.set('promlstm_shard_info', 1, str(shard.number))
        page = Page(clock.now, clock.steady)
        sources = Sources(config.named_sources, root=config.root)
        storage = None
        if args.storage_path:
            storage = Storage(
                args.storage_path, args.checkpoint_interval, [detector.name for detector in config.detectors], telemetry, clock.stopping,
                limit_bytes=limits.memory_bytes(),
            )  # fmt: skip
        feedback = Feedback(telemetry, clock.stopping)
        feedback.use(config.alertmanager, config.root)
        incidents = Gathering(config.root_cause, clock, telemetry, partial(page.publish, OF_INCIDENTS))
        board = Board(clock.now) if args.ui else None
        scheduler = Scheduler(
            config, sources, clock=clock, telemetry=telemetry, publish=page.publish,
            withdraw=board.beside(page.withdraw) if board else page.withdraw, facts=sources.__getitem__, storage=storage, feedback=feedback,
            incidents=incidents, watch=board.observe if board else None,
        )  # fmt: skip
        dependencies = Dependencies(incidents, telemetry, clock)
        dependencies.use(config, sources)
        in_force = InForce(scheduler, sources, config, dependencies)
        prefix = prefix_of(args.external_url, args.route_prefix)
        reload = Reload(
            None if args.preset else args.config_file, lambda new: in_force.apply(mine(new)), telemetry, lambda new: _advise(mine(new), log), seen=seen
        )  # fmt: skip
        web = Web(args.web_config_file, telemetry)
        actions = Actions(args.enable_actions, host_of(args.external_url), lambda: web.users)
        pages = board and Ui(
            Context(
                board=board, statuses=scheduler.statuses, in_force=scheduler.in_force, incidents=incidents, now=clock.now, templates=Templates(),
                external_url=args.external_url or '', grafana_url=args.grafana_url or '', runbook_url=args.runbook_url or '', actions=actions,
            )
        )  # fmt: skip
        if pages and args.external_url:
            telemetry.set('promlstm_web_info', 1, args.external_url.rstrip('/'))
        site = Site(
            page=page, telemetry=telemetry, statuses=scheduler.statuses, ready=scheduler.ready, sources=scheduler.source_names, prefix=prefix,
            reload=reload.ask if args.enable_lifecycle else None, host=host_of(args.external_url), incidents=incidents.listing,
            pages=pages.answer if pages else None,
        )  # fmt: skip
        server = Server(args.listen, site, limits_of(args.max_connections, args.max_connections_per_client), web)
        wait_for_signal = signals.waiting(kept)
    server.start()
    which: dict[str, Any] = {'shard': f'{shard.number}/{shard.of}'} if args.shard else {}
    logs.event(log, 'info', 'serving', version=__version__, url=server.url + prefix, config=name, detectors=len(config.detectors), **which)
    if shard.number >= shard.of and not config.detectors:
        logs.event(log, 'warn', f'there are {shard.of} shards, and this is number {shard.number}, counted from 0: it has nothing to do')
    feedback.start()
    scheduler.start()
    dependencies.start()
    reload.start()
    while (number := wait_for_signal()) == signal.SIGHUP:
        web.reread()
        reload.ask()
    logs.event(log, 'info', 'stopping', signal=number.name)
    actions.jobs.stop()
    clean = scheduler.stop(STOP_SECONDS)
    if storage and not storage.stop(CHECKPOINT_SECONDS):
        logs.event(log, 'warn', 'not all checkpoints were written: the next start continues from the previous ones, or from history')
    server.stop()
    if not clean:
        logs.event(log, 'warn', 'a detector did not stop in time, its step is abandoned')
        os._exit(0)  # the interpreter would wait for its threads
    return 0


class InForce:
    """What the scheduler runs and asks now; a new configuration keeps what is the same."""

    def __init__(self, scheduler: 'Scheduler', sources: 'Sources', config: 'Config', dependencies: 'Dependencies') -> None:
        self._scheduler, self._sources, self._config, self._dependencies = scheduler, sources, config, dependencies

    def apply(self, config: 'Config') -> list[str]:
        """Run another configuration from now on; returns what has changed."""
        from promlstm.query.sources import Sources

        sources = Sources(config.named_sources, root=config.root, before=self._sources)
        changed = self._scheduler.apply(config, sources, sources.__getitem__)
        if self._scheduler.feedback and config.alertmanager != self._config.alertmanager:
            self._scheduler.feedback.use(config.alertmanager, config.root)
        self._dependencies.use(config, sources)
        self._sources, self._config = sources, config
        sources.share_memory()
        return changed


def _advise(config: 'Config', log: logging.Logger) -> None:
    """Log what settings mean that may not be meant; `check-config` says the same, and more."""
    from promlstm import advice, limits
    from promlstm.config import source_place

    for name, source in config.named_sources.items():
        for text in advice.of_source(source, config.detectors_of(name), limits.memory_bytes(), edges=config.asks_for_edges(name)):
            logs.event(log, 'warn', f'{source_place(config, name)}: {text}')
    for detector in config.detectors:
        for text in advice.of_settings(detector):
            logs.event(log, 'warn', text, detector=detector.name)


def demo(args: argparse.Namespace) -> int:
    """`promlstm demo`: status 0 only if every entity was scored, all injected faults were found and no stage failed; or where Ctrl-C ends it."""
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
        config, online=not args.offline, say=print, width=_width(), memory_limit_bytes=limits.memory_bytes(), shards=args.shards,
        progress=lambda detector: progress.show(detector and f'checking {detector}'),
    )  # fmt: skip
    print(f'{name}: {"OK" if good else "FAILED, see the errors above"}')
    return 0 if good else 1


def check_web_config(args: argparse.Namespace) -> int:
    """`promlstm check-web-config`: status 1 if the exporter could not serve with the file."""
    from promlstm.serve.telemetry import Telemetry
    from promlstm.serve.web import Web

    web = Web(args.web_config_file, Telemetry(process=False))
    print(f'{args.web_config_file}: OK: {"TLS" if web.tls else "no TLS"}, {len(web.users) or "no"} user{"s" * (len(web.users) != 1)}')
    return 0


def check_model(args: argparse.Namespace) -> int:
    """`promlstm check-model`: prints the card, or why the file cannot be used."""
    from promlstm.card import card, forecast_card
    from promlstm.engine import session, trial
    from promlstm.forecasts import model as forecasting
    from promlstm.forecasts.trial import MODULE

    path = session.resolve(args.model)
    if forecasting.is_one(path):
        lines = forecast_card(forecasting.load(path, sha256=args.sha256, trial=trial.Trials(module=MODULE)), _width())
    else:
        lines = card(session.load(path, sha256=args.sha256, trial=trial.Trials()).bundle, _width())
    print('\n'.join(lines))
    return 0


def _width() -> int | None:
    """Columns of the terminal that standard output goes to, or what COLUMNS says; None = no terminal, so lines of any length."""
    if not sys.stdout.isatty() and 'COLUMNS' not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def backtest(args: argparse.Namespace) -> int:
    """`promlstm backtest`: a report for each detector that was asked for."""
    from promlstm import backtest as replay
    from promlstm import past_incidents as past
    from promlstm.config import Detector as Settings
    from promlstm.engine.detector import Detector
    from promlstm.engine.session import load, resolve
    from promlstm.engine.trial import Trials
    from promlstm.query.sources import Sources
    from promlstm.query.victorialogs import asked_every

    html = args.format == 'html'
    if html:
        from promlstm.ui import backtest_report

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
    sources, sink, progress, trials = Sources(config.named_sources, root=config.root), replay.OpenMetrics(), Progress(), Trials()
    model = cache(lambda name, sha256: load(resolve(name, config.root), sha256=sha256, trial=trials))
    subjects, reports, failed = list[tuple[Settings, Detector]](), list[replay.Report](), list[str]()
    drawn: list[backtest_report.Found] = []
    incidents = None
    if args.incidents:
        incidents = past.PastIncidents(config.root_cause, list(past.graphs(config, sources, start, end, lambda text: failed.append(f'promlstm: {text}'))))
    for settings in config.detectors:  # before the first of them is replayed, which may take minutes
        if not args.detector or settings.name in args.detector:
            try:
                source = asked_every(sources[config.source_name(settings)], settings.step)
                subject = Detector(settings, model(settings.model, settings.sha256), source)
                if problem := replay.late(subject, start, end):
                    print(f'promlstm: detector {settings.name}: {problem}', file=sys.stderr)
                subjects.append((settings, subject))
            except PromlstmError as error:  # the others have their report all the same
                failed.append(f'promlstm: detector {settings.name}: {error}')
    while subjects:
        settings, subject = subjects.pop(0)
        try:
            recorder = backtest_report.Recorder() if html else None
            reports.append(
                replay.run(
                    subject, start, end, progress=progress.steps(settings.name), sink=sink if args.format == 'openmetrics' else None,
                    watch=replay.together([each.observe for each in (incidents, recorder) if each]),
                )
            )  # fmt: skip
            if recorder:
                drawn.append(backtest_report.Found(reports[-1], settings, recorder))
        except PromlstmError as error:
            failed.append(f'promlstm: detector {settings.name}: {error}')
        progress.show('')
    try:
        with out:
            if args.format == 'openmetrics':
                sink.write(out)
            else:
                found = incidents.found() if incidents else None
                if html:
                    text = backtest_report.page(drawn, failed, past.table(found) if found is not None else '')
                elif args.format == 'table':
                    text = replay.table(reports) + (f'\n{past.table(found)}' if found is not None else '')
                else:
                    text = replay.as_json(reports, None if found is None else past.tree(found)) + '\n'
                out.write(text.encode())
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk
        where = f'--output={args.output}' if args.output else 'standard output'
        raise ConfigError(f'{where}: cannot be written: {error.strerror}') from error
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
    """Unix seconds of a time on the command line."""
    from promlstm import durations

    try:
        return durations.instant(text, now)
    except ValueError as error:
        raise ConfigError(f'{flag}={text}: {error}') from error


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
