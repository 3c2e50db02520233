"""The ways to what a configuration names, tried once: each source, and the Alertmanager.

Who calls it: check. What flows through: a Config; out come a Contact for each source, lines for people, and what is wrong. It asks nothing that
needs data.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from promlstm import terminal
from promlstm.config import Config
from promlstm.errors import ConfigError, QueryRejected, ResponseError, SourceRefused, SourceUnavailable
from promlstm.query import silences
from promlstm.query.http import Http
from promlstm.query.prometheus import Prometheus
from promlstm.query.victorialogs import VictoriaLogs, asked_every

PROBE_SECONDS = 60.0  # the window or the step of what is asked to see whether a server answers
Api = Prometheus | VictoriaLogs


@dataclass(frozen=True, slots=True)
class Contact:
    """What came of asking a source.

    online             whether to try the expressions
    refused            what is wrong with the way to it, list of lines
    retention_seconds  how long it keeps samples; None = not known
    """

    online: bool = False
    refused: tuple[str, ...] = ()
    retention_seconds: float | None = None


def source(api: Prometheus, place: str, say: Callable[[str], None], *, online: bool) -> Contact:
    """Ask a source that stands at a place of the configuration.

    Both query APIs are asked, as `run` asks them. A server that cannot be reached may come back and is only reported; one that answers no,
    and a file that cannot be read, stay wrong.
    """
    now, probed = time.time(), asked_every(api, PROBE_SECONDS)
    try:
        api.check_files()
        if not online:
            return Contact()
        with suppress(QueryRejected):  # it answers, and knows no such function: then it is not asked for its range
            probed.instant(api.dialect.probe, now)
            _ask_history(probed, api.dialect.probe, now)
        version = api.build().get('version', 'of unknown version')
    except (ConfigError, ResponseError, SourceRefused) as error:
        return Contact(refused=(f'error: {place}: {error}',))
    except SourceUnavailable as error:
        say(f'{place}: {error}; expressions are not checked')
        return Contact()
    retention = api.retention_seconds()
    keeps = 'its retention is unknown' if retention is None else f'keeps samples for {terminal.duration(retention)}'
    say(f'{place}: reachable, {version}, {keeps}')
    return Contact(True, retention_seconds=retention)


def alertmanager(config: Config, say: Callable[[str], None], *, online: bool) -> list[str]:
    """Ask the Alertmanager for its silences; what is wrong with the way to it."""
    if not config.alertmanager:
        return []
    http = Http(config.alertmanager.source, root=config.root, where='alertmanager')
    try:
        http.check_files()
        if not online:
            return []
        found, problems = silences.read(http, config.alertmanager.timeout)
    except (ConfigError, ResponseError, SourceRefused) as error:
        return [f'error: alertmanager: {error}']
    except SourceUnavailable as error:
        say(f'alertmanager: {error}; silences are not read')
        return []
    count = len(silences.false_alarms(found))
    say(f'alertmanager: reachable, {count} silence{"s" * (count != 1)} for false alarms in force')
    for problem in problems:
        say(f'warning: alertmanager: {problem}')
    return []


def _ask_history(source: Api, probe: str, now: float) -> None:
    try:
        list(source.range(probe, now - PROBE_SECONDS, now, PROBE_SECONDS))
    except QueryRejected as error:
        raise ResponseError(f'the query of history is refused, so no entity can warm up: {error}') from error
