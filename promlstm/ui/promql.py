"""PromQL about one entity: our gauges of it, and the expression of its detector for it alone. Pure.

Who calls it: history (to ask), entity (to show). Every label is quoted by engine.labels: nothing that comes with a request is PromQL.
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence

import yaml

from promlstm.engine import labels
from promlstm.engine.labels import Pairs
from promlstm.errors import QueryRejected
from promlstm.query.selector import selector
from promlstm.serve.exposition import OURS


def matchers(detector: str, entity: Pairs, others: Collection[str] = ()) -> Pairs:
    """What our gauges of an entity have to match: its labels under their exported names, and none of those that only others of its detector have.

    others  names of the labels of the other entities

    >>> matchers('cpu', (('detector', 'x'), ('instance', 'a')), ('instance', 'cpu'))
    (('detector', 'cpu'), ('exported_detector', 'x'), ('instance', 'a'), ('cpu', ''))
    """
    without = sorted(name for name, _ in labels.exported(tuple((name, '') for name in set(others) - dict(entity).keys()), OURS))
    return (('detector', detector), *labels.exported(entity, OURS), *((name, '') for name in without))


def gauges(families: Sequence[str], pairs: Pairs) -> str:
    """A selector of some of our gauges, `{__name__=~"…",detector="cpu",…}`; of one it begins with its name.

    >>> print(gauges(['promlstm_observed', 'promlstm_expected'], (('detector', 'cpu'), ('instance', 'a'))))
    {__name__=~"promlstm_observed|promlstm_expected",detector="cpu",instance="a"}
    >>> print(gauges(['promlstm_observed'], (('detector', 'cpu'),)))
    promlstm_observed{detector="cpu"}
    """
    if len(families) == 1:
        return families[0] + labels.selector(pairs)
    return '{__name__=~"' + '|'.join(families) + '",' + labels.selector(pairs)[1:]


def restricted(expr: str, entity: Pairs, others: Collection[str] = ()) -> str:
    r"""The expression of a detector for one entity alone.

    A plain selector gets more matchers, so that nothing else is read. Anything else is evaluated and then matched with a vector that has the labels of the
    entity and nothing else: that is right whatever the expression does to labels, and where its own selectors could be narrowed nobody can tell from its text.

    others  names of the labels of the other entities: this one has none of those that it lacks

    >>> print(restricted('node_load1{job=~"n.*"}', (('instance', 'a'),), ('cpu', 'instance')))
    node_load1{job=~"n.*",instance="a",cpu=""}
    >>> print(restricted('rate(x_total[5m])  # requests', (('instance', 'a$1'),)))
    (
    rate(x_total[5m])  # requests
    ) and on (instance) label_replace(vector(1), "instance", "a$$1", "", "")
    """
    without = sorted(set(others) - dict(entity).keys())
    if not entity and not without:
        return expr
    if is_selector(expr):
        pairs = labels.selector((*entity, *((name, '') for name in without)))
        start, brace, inside = expr.strip().removesuffix('}').partition('{')
        inside = inside.strip().removesuffix(',')
        return start.rstrip() + '{' + (f'{inside},' if brace and inside else '') + pairs[1:]
    return f'(\n{expr.strip()}\n) and on ({names((*dict(entity), *without))}) {vector(entity)}'


def restricted_to(expr: str, entities: Sequence[Pairs], others: Collection[str] = ()) -> str:
    """As `restricted`, for several entities of a detector at once.

    >>> print(restricted_to('rate(x[5m])', [(('a', '1'),), (('a', '2'),)]).splitlines()[2])
    ) and on (a) (label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", ""))
    """
    if len(entities) == 1 or is_selector(expr):
        return ' or '.join(restricted(expr, entity, others) for entity in entities)
    on = sorted({*others, *(name for entity in entities for name, _ in entity)})
    return f'(\n{expr.strip()}\n) and on ({names(on)}) ({" or ".join(map(vector, entities))})'


def selector_of_any(name: str, several: Sequence[Pairs]) -> str:
    """One selector that takes what any of several label sets takes, and more: for a server that knows nothing but selectors.

    >>> print(selector_of_any('up', [(('a', '1'), ('b', 'x.y')), (('a', '2'),)]))
    up{a=~"1|2",b=~"|x\\\\.y"}
    """
    labelled = [dict(pairs) for pairs in several]
    parts = [
        f'{names([label])}=~"{labels.escape("|".join(sorted({re.escape(each.get(label, "")) for each in labelled})))}"'
        for label in sorted(set().union(*labelled))
    ]
    return f'{name}{{{",".join(parts)}}}'


def vector(entity: Pairs) -> str:
    """A vector of one element that has these labels."""
    found = 'vector(1)'
    for name, value in entity:
        found = f'label_replace({found}, "{labels.escape(name)}", "{labels.escape(value.replace("$", "$$"))}", "", "")'
    return found


def names(listed: Iterable[str]) -> str:
    """Names of labels in a list such as that of `on`; those that are no identifiers are quoted, as Prometheus 3 has them."""
    return ', '.join(labels.selector(((name, ''),))[1:-1].rpartition('=')[0] for name in listed)


def is_selector(expr: str) -> bool:
    """Whether an expression is a plain selector.

    >>> is_selector('up{job="node"}'), is_selector('rate(x_total[5m])')
    (True, False)
    """
    try:
        return bool(selector(expr))
    except QueryRejected:
        return False


def score(pairs: Pairs, minutes: int = 0) -> str:
    """The score of an entity, of whichever exporter is more worried; the largest of the last minutes, where any are asked for.

    >>> score((('detector', 'cpu'),))
    'max without (promlstm_replica) (promlstm_anomaly_score{detector="cpu"})'
    """
    gauge = gauges(['promlstm_anomaly_score'], pairs)
    return f'max without (promlstm_replica) ({f"max_over_time({gauge}[{minutes}m])" if minutes else gauge})'


def alert(detector: str, pairs: Pairs, step_seconds: float) -> str:
    """An alerting rule to begin with, which bridges a failed scrape: the text of a list of one rule.

    >>> print(alert('node_cpu', (('detector', 'node_cpu'), ('instance', 'a')), 60))
    - alert: NodeCpuAnomalous
      expr: max without (promlstm_replica) (max_over_time(promlstm_anomaly_score{detector="node_cpu",instance="a"}[2m])) >= 1
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: '{{ $labels.detector }} is anomalous: score {{ $value | printf "%.3g" }}'
    <BLANKLINE>
    """
    name = ''.join(part.capitalize() for part in ''.join(each if each.isascii() and each.isalnum() else ' ' for each in detector).split())
    bridged = score(pairs, max(2, math.ceil(2 * step_seconds / 60)))
    rule = {
        'alert': f'{name if name[:1].isalpha() else "Promlstm" + name}Anomalous', 'expr': f'{bridged} >= 1', 'for': '5m',
        'labels': {'severity': 'warning'}, 'annotations': {'summary': '{{ $labels.detector }} is anomalous: score {{ $value | printf "%.3g" }}'},
    }  # fmt: skip
    text: str = yaml.safe_dump([rule], sort_keys=False, width=1_000_000, allow_unicode=True)
    return text
