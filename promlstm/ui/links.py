"""Where else an entity can be looked at: links to Prometheus, Alertmanager, Grafana and the runbook. Pure.

Who calls it: entity. What flows through: addresses of the configuration and the flags, a window of time; out come URLs.
The addresses are those by which promlstm reaches the servers: in a cluster a browser may need another way there.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from promlstm.engine import labels
from promlstm.engine.labels import Pairs
from promlstm.ui.window import Window

RUNBOOK = {'anomalous': 'runbook.md#promlstmanomaly', 'missing': 'runbook.md#promlstmentitymissing'}


def prometheus(url: str, expr: str, window: Window) -> str:
    """The graph of an expression; Prometheus 3 leads from this path to its own.

    >>> from promlstm.ui.window import window
    >>> prometheus('http://p:9090/', 'up{a="b"}', window(3600, None, 1_750_000_200, 60))
    'http://p:9090/graph?g0.expr=up%7Ba%3D%22b%22%7D&g0.tab=0&g0.range_input=1h'
    """
    end = {} if window.live else {'g0.end_input': datetime.fromtimestamp(window.end, UTC).strftime('%Y-%m-%d %H:%M:%S')}
    return f'{url.rstrip("/")}/graph?{urlencode({"g0.expr": expr, "g0.tab": "0", "g0.range_input": window.name, **end}, quote_via=quote)}'


def alertmanager(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The alerts with these labels, silenced ones too.

    >>> alertmanager('http://a:9093', (('detector', 'cpu'),))
    'http://a:9093/#/alerts?silenced=true&inhibited=true&active=true&filter=%7Bdetector%3D%22cpu%22%7D'
    """
    return f'{url.rstrip("/")}/#/alerts?silenced=true&inhibited=true&active=true&filter={quote(labels.selector(pairs), safe="")}'


def silence(url: str, identity: str) -> str:
    """A silence in Alertmanager."""
    return f'{url.rstrip("/")}/#/silences/{quote(identity, safe="")}'


def explore(url: str, expr: str, window: Window) -> str:
    """An expression in Grafana's Explore (https://grafana.com/docs/grafana/latest/explore/, "Generate Explore URLs from external tools").

    Which data source it is meant for is not known here: Explore takes the one that was used last, else the default one.

    >>> from promlstm.ui.window import window
    >>> explore('http://g/', 'up', window(3600, None, 1_750_000_200, 60))[:40]
    'http://g/explore?schemaVersion=1&panes=%'
    """
    ends = {'from': f'now-{window.name}', 'to': 'now'} if window.live else {'from': _milliseconds(window.start), 'to': _milliseconds(window.end)}
    panes = {'promlstm': {'queries': [{'refId': 'A', 'expr': expr}], 'range': ends}}
    return f'{url.rstrip("/")}/explore?{urlencode({"schemaVersion": "1", "panes": json.dumps(panes, separators=(",", ":"))}, quote_via=quote)}'


def dashboard(url: str, detector: str, exported: Pairs, window: Window) -> str:
    """The dashboard of the detector (rules/dashboards/detector.json), narrowed to the labels of the entity.

    >>> from promlstm.ui.window import window
    >>> dashboard('http://g', 'cpu', (('instance', 'a'),), window(3600, 1_750_000_200, 1_760_000_000, 60))
    'http://g/d/promlstm-detector?var-detector=cpu&var-filter=instance%7C%3D%7Ca&from=1749996600000&to=1750000200000'
    >>> dashboard('http://g', 'cpu', (('page', 'a|b,c#d'),), window(3600, None, 1_750_000_200, 60)).split('&')[1]
    'var-filter=page%7C%3D%7Ca__gfp__b__gfc__c__gfh__d'
    """
    ends = (('from', f'now-{window.name}'), ('to', 'now')) if window.live else (('from', _milliseconds(window.start)), ('to', _milliseconds(window.end)))
    filters = [('var-filter', f'{_delimited(name)}|=|{_delimited(value)}') for name, value in exported]
    return f'{url.rstrip("/")}/d/promlstm-detector?{urlencode([("var-detector", detector), *filters, *ends], quote_via=quote)}'


def runbook(url: str, state: str) -> str:
    """The section of rules/runbook.md on the alert of a state, where that file is published."""
    return f'{url.rstrip("/")}/{RUNBOOK.get(state, "runbook.md")}'


def _delimited(text: str) -> str:
    """A name or value within an ad hoc filter, in which some characters divide (grafana/scenes, packages/scenes/src/variables/utils.ts)."""
    return text.replace('|', '__gfp__').replace(',', '__gfc__').replace('#', '__gfh__')


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
