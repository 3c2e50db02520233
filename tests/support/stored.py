"""What an API server makes of an object that it stores, as far as whoever compares the two would find a difference.

Maps are compared key by key: what the server adds to one is its own affair, and everybody who compares knows it. A list without a key to
merge by is compared as a whole, so what the server adds to its items makes a difference for ever. `make cluster-check` puts the same
objects on a real one.
"""

from decimal import Decimal

UNITS = {'m': Decimal('0.001'), '': Decimal(1), 'k': 10**3, 'M': 10**6, 'G': 10**9, 'T': 10**12, 'Ki': 2**10, 'Mi': 2**20, 'Gi': 2**30, 'Ti': 2**40}
# Keys of items that are filled in, by the list that they stand in.
FILLED = {'ports': {'protocol': 'TCP'}, 'relabelings': {'action': 'replace'}, 'metricRelabelings': {'action': 'replace'}}
AMOUNTS = ('requests', 'limits')


def quantity(text):
    """The canonical form of a Kubernetes quantity: no fraction, and the largest unit of its kind (of ten or of two).

    The examples are what k8s.io/apimachinery's resource.Quantity makes of them.

    >>> [quantity(text) for text in ('1000m', '0.1', 1, 2, '1024Mi', '1.5Gi', '1000Mi', '128974848', '0.50', '0', '1500M', '1.1Gi')]
    ['1', '100m', '1', '2', '1Gi', '1536Mi', '1000Mi', '128974848', '500m', '0', '1500M', '1181116006400m']
    """
    text = str(text)
    unit = next(unit for unit in sorted(UNITS, key=len, reverse=True) if text.endswith(unit))
    amount = Decimal(text.removesuffix(unit)) * UNITS[unit]
    kind = [other for other in UNITS if other.endswith('i') == unit.endswith('i') or (unit.endswith('i') and other in ('', 'm'))]
    best = next(other for other in sorted(kind, key=lambda other: UNITS[other], reverse=True) if amount % UNITS[other] == 0)
    return f'{int(amount / UNITS[best])}{best}' if amount else '0'


def stored(tree, key=''):
    """A rendered object, or what stands under a key of it, as it is found on the server.

    >>> stored({'limits': {'cpu': 1}, 'labels': None, 'ports': [{'port': 1}]})
    {'limits': {'cpu': '1'}, 'ports': [{'protocol': 'TCP', 'port': 1}]}
    """
    if isinstance(tree, dict):
        if key in AMOUNTS:
            return {name: quantity(amount) for name, amount in tree.items()}
        if key in ('labels', 'annotations', 'matchLabels', 'nodeSelector', 'data', 'binaryData'):
            return {name: str(value) for name, value in tree.items()}
        return {name: stored(value, name) for name, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [stored({**FILLED.get(key, {}), **each} if isinstance(each, dict) else each) for each in tree]
    return tree
