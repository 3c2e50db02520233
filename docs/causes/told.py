"""The alerts in the gauges of many scenarios, and which of them Alertmanager lets through: the shipped rules, routes and inhibitions.

promtool evaluates the rules each minute. Alertmanager gets the alerts of each minute in which they change, with a label for the scenario in
all that it groups by and compares, and says which are suppressed and who receives the others. Waiting times are those of its configuration,
counted here, as an hour of them is not waited for.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import servers
import yaml

from causes.scores import CALM_MINUTES, MINUTES, Gauges

RULES = servers.ROOT / 'rules'
GROUP_INTERVAL_MINUTES = 5

Alert = frozenset[tuple[str, str]]  # its labels


@dataclass(frozen=True, slots=True)
class Notification:
    """What one message says: to whom, how many minutes after the cause, the alerts that are new in it."""

    receiver: str
    minute: int
    alerts: tuple[Alert, ...]


def firing(scenarios: Mapping[str, Gauges], directory: Path) -> dict[str, dict[int, frozenset[Alert]]]:
    """{scenario: {minute since the cause: alerts}} by promtool, for each minute from the cause on."""
    alike: dict[str, str] = {}  # gauges as text: the first scenario with them; what a cause does not touch is evaluated once
    first = {name: alike.setdefault(json.dumps(gauges), name) for name, gauges in scenarios.items()}
    order = list(alike.values())
    tests = [_test(number, scenarios[name]) for number, name in enumerate(order)]
    content = {
        'rule_files': [str(RULES / f'{name}.yml') for name in ('recording', 'alerts', 'self')],
        'evaluation_interval': '1m',
        'group_eval_order': ['promlstm.recording', 'promlstm.alerts', 'promlstm.self'],
        'tests': tests,
    }
    (directory / 'scenarios.yml').write_text(json.dumps(content))
    said = servers.run_tool('promtool', 'test', 'rules', directory / 'scenarios.yml', check=False)
    text = said.stdout + said.stderr
    if problem := re.search(r'rule: .*err: .*', text):
        raise RuntimeError(problem[0])
    found: dict[str, dict[int, frozenset[Alert]]] = {
        name: {minute: frozenset() for minute in range(MINUTES - CALM_MINUTES)} for name in order
    }
    shown = re.findall(r'alertname!=\\"scenario (\d+) minute (\d+)\\"\}", time: \S+,?\s*\n\s*exp:.*\n\s*got: ?(.*)', text)
    if len(shown) != len(order) * (MINUTES - CALM_MINUTES):
        raise RuntimeError(f'promtool said something else: {text[:2000]}')
    for number, minute, got in shown:
        found[order[int(number)]][int(minute)] = frozenset(
            frozenset(
                (label, json.loads(f'"{value}"'))
                for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
                if label not in ('__name__', 'alertstate')
            )
            for labels in re.findall(r'\{((?:[^}"]|"(?:[^"\\]|\\.)*")*)\}', got)
        )
    return {name: found[first[name]] for name in scenarios}


def _test(number: int, gauges: Gauges) -> dict[str, object]:
    build = {'series': 'promlstm_build_info{job="promlstm",instance="promlstm:19855",version="1"}', 'values': f'1x{MINUTES}'}
    series = [{'series': name, 'values': _values(values)} for name, values in gauges.items()]
    asked = [
        {
            'expr': f'ALERTS{{alertstate="firing",alertname!="scenario {number} minute {minute}"}}',
            'eval_time': f'{CALM_MINUTES + minute}m',
            'exp_samples': [{'labels': 'never{}', 'value': -1}],  # so that promtool prints what it got
        }
        for minute in range(MINUTES - CALM_MINUTES)
    ]
    return {'interval': '1m', 'input_series': [build, *series], 'promql_expr_test': asked}


def _values(values: Mapping[int, float]) -> str:
    """The samples of a series as promtool reads them; a series that leaves the page is stale, as after a scrape."""
    words = []
    for minute in range(MINUTES):
        gone = 'stale' if minute - 1 in values else '_'
        words.append(repr(float(values[minute])).replace('inf', 'Inf') if minute in values else gone)
    return ' '.join(words)


def notifications(found: Mapping[str, Mapping[int, frozenset[Alert]]], directory: Path) -> dict[str, list[Notification]]:
    """{scenario: its messages in time order}."""
    config = yaml.safe_load((RULES / 'alertmanager/alertmanager.yml').read_text())
    config['receivers'] = [{'name': receiver['name']} for receiver in config['receivers']]
    config['templates'] = []
    for route in _routes(config['route']):
        if 'group_by' in route:
            route['group_by'].append('scenario')
    for rule in config['inhibit_rules']:
        rule['equal'] = [*rule.get('equal', []), 'scenario']
    changes = {name: _changes(minutes) for name, minutes in found.items()}
    passed: dict[str, list[tuple[int, dict[Alert, tuple[str, ...]]]]] = {name: [] for name in found}
    with servers.Alertmanager(directory / 'alertmanager', config) as alertmanager:
        for turn in range(max(map(len, changes.values()))):
            now = {name: of[turn] for name, of in changes.items() if turn < len(of)}
            ended = {name: of[turn - 1][1] - of[turn][1] if turn < len(of) else of[-1][1] for name, of in changes.items() if turn and of}
            let_through = _let_through(alertmanager, {name: alerts for name, (_, alerts) in now.items()}, ended)
            for name, (minute, _) in now.items():
                passed[name].append((minute, let_through[name]))
    return {name: _messages(of) for name, of in passed.items()}


def _routes(route):
    yield route
    for child in route.get('routes', []):
        yield from _routes(child)


def _changes(minutes: Mapping[int, frozenset[Alert]]) -> list[tuple[int, frozenset[Alert]]]:
    out: list[tuple[int, frozenset[Alert]]] = []
    for minute, alerts in sorted(minutes.items()):
        if alerts != (out[-1][1] if out else frozenset()):
            out.append((minute, alerts))
    return out


def _let_through(alertmanager, now, ended):
    """{scenario: {alert: receivers}} of what is not suppressed while these alerts fire."""
    payload = [{'labels': {**dict(alert), 'scenario': name}} for name, alerts in now.items() for alert in alerts]
    over = {'startsAt': '2019-01-01T00:00:00Z', 'endsAt': '2020-01-01T00:00:00Z'}
    payload += [{'labels': {**dict(alert), 'scenario': name}, **over} for name, alerts in ended.items() for alert in alerts]
    servers.http.post(alertmanager.url + '/api/v2/alerts', json=payload, timeout=30).raise_for_status()
    expected = {(name, alert) for name, alerts in now.items() for alert in alerts}

    def held():
        return {
            (one['labels']['scenario'], frozenset((label, value) for label, value in one['labels'].items() if label != 'scenario')): one
            for one in alertmanager.alerts()
        }

    def settled():
        first = held()
        if {key for key in first if key[0] in now} != expected or any(one['status']['state'] == 'unprocessed' for one in first.values()):
            return None
        time.sleep(0.3)  # what inhibits reaches the inhibitor on a way of its own
        second = held()
        same = {key: one['status'] for key, one in first.items()} == {key: one['status'] for key, one in second.items()}
        return [second] if same else None  # in a list, for there may be no alert at all

    (found,) = servers.wait_until(settled, 60, 'Alertmanager to look at all alerts')
    let_through = {name: {} for name in now}
    for (name, alert), one in found.items():
        if name in now and one['status']['state'] == 'active':
            let_through[name][alert] = tuple(receiver['name'] for receiver in one['receivers'])
    return let_through


def _messages(passed) -> list[Notification]:
    """A message where a group has a new alert, no sooner than a group interval after its last message."""
    sent: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    told: set[tuple[str, Alert]] = set()
    out: dict[tuple[str, tuple[str, ...], int], list[Alert]] = {}
    for minute, alerts in passed:
        for alert, receivers in alerts.items():
            labels = dict(alert)
            for receiver in receivers:
                if (receiver, alert) in told:
                    continue
                told.add((receiver, alert))
                place = (labels['incident'],) if 'incident' in labels else tuple(labels.get(label, '') for label in ('job', 'namespace', 'service'))
                group = (receiver, place)
                times = sent.setdefault(group, [])
                due = max(minute, times[-1] + GROUP_INTERVAL_MINUTES) if times and minute > times[-1] else times[-1] if times else minute
                if due not in times:
                    times.append(due)
                out.setdefault((*group, due), []).append(alert)
    return [
        Notification(receiver, minute, tuple(alerts)) for (receiver, _, minute), alerts in sorted(out.items(), key=lambda item: item[0][2])
    ]
