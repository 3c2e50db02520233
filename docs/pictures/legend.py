"""The names that Grafana gives to the series of a panel, what overrides make of a series by its name, and which bands are filled.

As in Grafana 9.4 to 13.2: the legend of a query to Prometheus becomes a name in its back end (`getName`), all labels become one in its
front end (`getFieldDisplayName`), and a band is filled to the series whose name `custom.fillBelowTo` is. Pure.
"""

import re

AUTO = '__auto'


def names(series):
    """The name of each series of a panel.

    series   [(expression, legend, labels)] of all queries of the panel
    returns  [name]; two series may have one name, which is a fault of the dashboard

    >>> names([('x', '__auto', {'job': 'a', 'zone': 'b'}), ('y', 'upper {{ job }} {{ host }}', {'job': 'a'})])
    ['{job="a", zone="b"}', 'upper a ']
    >>> names([('x', '__auto', {'job': 'a'}), ('x', '__auto', {'job': 'b'}), ('1 + 1', '__auto', {})])
    ['a', 'b', '1 + 1']
    """
    known = {label for _, _, labels in series for label in labels}
    return [_name(expr, legend, labels, single=len(known) == 1) for expr, legend, labels in series]


def _name(expr, legend, labels, *, single):
    if legend and legend != AUTO:
        return re.sub(r'\{\{\s*(.+?)\s*\}\}', lambda found: labels.get(found[1], ''), legend)
    if not labels:
        return expr
    if legend == AUTO and single:
        return next(iter(labels.values()))
    own = ', '.join(f'{label}="{value}"' for label, value in sorted(labels.items()) if legend == AUTO or label != '__name__')
    return f'{"" if legend == AUTO else labels.get("__name__", "")}{{{own}}}'


def properties(panel, name):
    """What the overrides of a panel's JSON make of a series: {property: value}, the last one wins.

    >>> properties({'fieldConfig': {'overrides': [{'matcher': {'id': 'byName', 'options': 'a'}, 'properties': [{'id': 'x', 'value': 1}]}]}}, 'a')
    {'x': 1}
    """
    rules = [rule for rule in panel['fieldConfig']['overrides'] if rule['matcher'] == {'id': 'byName', 'options': name}]
    return {each['id']: each['value'] for rule in rules for each in rule['properties']}


def bands(drawn):
    """Which lines a filled band is between.

    drawn    [(name, properties)] of all series of a panel
    returns  [(index of one line, index of the other)]; a name that no series has fills nothing, one that several have finds the last

    >>> bands([('low', {}), ('high', {'custom.fillBelowTo': 'low'}), ('b', {'custom.fillBelowTo': 'c'})])
    [(1, 0)]
    """
    places = {name: place for place, (name, _) in enumerate(drawn)}
    wanted = [(place, each.get('custom.fillBelowTo')) for place, (_, each) in enumerate(drawn)]
    return [(place, places[other]) for place, other in wanted if other in places]
