"""What to take from the page of an entity: PromQL to copy, and links to where it can be looked at, too. Pure.

Who calls it: entity. What flows through: an entity and the addresses that are known; out come texts and URLs.
"""

from collections.abc import Iterable

import msgspec

from promlstm.engine.labels import Pairs
from promlstm.ui import links, promql
from promlstm.ui.context import Context
from promlstm.ui.present import Present
from promlstm.ui.subject import Subject
from promlstm.ui.window import Window


class Text(msgspec.Struct, frozen=True):
    """Something to copy; url: where it can be looked at, '' = nowhere."""

    title: str
    text: str
    url: str = ''


class Link(msgspec.Struct, frozen=True):
    """A link to another server."""

    title: str
    url: str


class Elsewhere(msgspec.Struct, frozen=True):
    """Texts to copy, and links."""

    promql: list[Text]
    links: list[Link]


def of(subject: Subject, exported: Pairs, now: Present, span: Window, context: Context) -> Elsewhere:
    """What is offered of an entity.

    exported  its labels on our gauges
    """
    config, detector = subject.config, subject.detector
    source = config.source_of(detector)
    url = source.url if source.kind == 'prometheus' else ''
    named = sorted(detector.queries.items(), key=lambda query: query[0] != now.feature)  # that which contributes most comes first
    queries = [(name, promql.restricted(expr, subject.entity, subject.others)) for name, expr in named]
    score, main = promql.score(subject.matchers), queries[0][1]
    texts = [Text(f'Expression of {name or detector.name}', expr, links.prometheus(url, expr, span) if url else '') for name, expr in queries]
    if source.kind != 'prometheus':
        texts = [Text(f'Expression of {name or detector.name}, for all entities', expr) for name, expr in named]
    texts.append(Text('Score', score, links.prometheus(url, score, span) if url else ''))
    texts.append(Text('Alerting rule to begin with', promql.alert(detector.name, subject.matchers, detector.step)))
    found = [Link(f'Prometheus: {title}', links.prometheus(url, expr, span)) for title, expr in (('observed', main), ('score', score)) if url]
    return Elsewhere(texts, [*found, *_links(exported, texts[0].text, now, span, context)])


def _links(exported: Pairs, expr: str, now: Present, span: Window, context: Context) -> Iterable[Link]:
    config, _ = context.in_force()
    if config.alertmanager:
        yield Link('Alertmanager: alerts', links.alertmanager(config.alertmanager.url, exported))
    if context.grafana_url:
        yield Link('Grafana: dashboard', links.dashboard(context.grafana_url, now.detector, exported[1:], span))
        yield Link('Grafana: Explore', links.explore(context.grafana_url, expr, span))
    if context.runbook_url:
        yield Link('Runbook', links.runbook(context.runbook_url, now.state))
