"""The table of what is sent: a line per preset, a column per cause."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from causes import incidents, scores, told
from causes.telemetry import CAUSES
from causes.told import Alert, Notification
from promlstm.engine import session

Found = dict[tuple[str, str], dict[int, frozenset[Alert]]]
Sent = dict[tuple[str, str], list[Notification]]


def model() -> session.Session:
    """The one that the table is made with."""
    return session.load(session.resolve('builtin:forecaster'))


def outcome(names: Iterable[str], loaded: session.Session, directory: Path) -> tuple[Found, Sent]:
    """({(preset, cause): {minute: alerts}}, {(preset, cause): messages})."""
    gauges = {f'{preset}/{cause}': of | incidents.of_gauges(of) for preset in names for cause, of in scores.of_preset(preset, loaded).items()}
    found = told.firing(gauges, directory)
    sent = told.notifications(found, directory)
    key = lambda name: tuple(name.split('/'))  # noqa: E731
    return {key(name): of for name, of in found.items()}, {key(name): of for name, of in sent.items()}


def text(sent: Mapping[tuple[str, str], list[Notification]]) -> str:
    """The table in Markdown."""
    rows = [f'| preset | {" | ".join(CAUSES)} |', '|---' * (len(CAUSES) + 1) + '|']
    return '\n'.join([*rows, *map(partial(row, sent), dict.fromkeys(preset for preset, _ in sent))])


def row(sent: Mapping[tuple[str, str], list[Notification]], preset: str) -> str:
    """The line of a preset."""
    return f'| {preset} | {" | ".join(cell(sent[preset, cause]) for cause in CAUSES)} |'


def cell(messages: list[Notification]) -> str:
    """The messages of one cause in their order: to whom, which alerts."""
    return '<br>'.join(f'{message.receiver}: {_alerts(message.alerts)}' for message in messages) or '–'


def _alerts(alerts: Iterable[Alert]) -> str:
    count = Counter(_name(dict(alert)) for alert in alerts)
    return ', '.join(f'{name}{f" ×{number}" if number > 1 else ""}' for name, number in sorted(count.items()))


def _name(labels: Mapping[str, str]) -> str:
    name = labels['alertname'].removeprefix('Promlstm')
    return f'{name} {labels["detector"]}' if 'detector' in labels else name


def detail(found: Found, sent: Sent) -> str:
    """Each message, and each alert that fires with its first minute, whether it was let through or not."""
    lines = []
    for key, minutes in found.items():
        lines.append(f'{key[0]}, {key[1]}: {len(sent[key])} messages')
        lines += [f'  sent after {message.minute} min to {message.receiver}: {_alerts(message.alerts)}' for message in sent[key]]
        lines += [f'  {minute} min: {_labels(alert)}' for alert, minute in first(minutes).items()]
    return '\n'.join(lines)


def first(minutes: Mapping[int, frozenset[Alert]]) -> dict[Alert, int]:
    """{alert: the minute in which it began to fire}, in time order."""
    began: dict[Alert, int] = {}
    for minute, alerts in sorted(minutes.items()):
        for alert in sorted(alerts, key=sorted):
            began.setdefault(alert, minute)
    return began


def _labels(alert: Alert) -> str:
    return ' '.join(f'{name}={value}' for name, value in sorted(alert) if name not in ('promlstm_scope', 'promlstm_entity', 'incident'))
