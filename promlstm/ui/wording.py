"""Values in their units, and reasons in words. Pure.

Who calls it: anomalies, the templates. The unit is that of the metric's name, by the conventions of Prometheus (`_bytes`, `_seconds`, `_ratio`); a
rate of seconds is a number of cores, or a ratio.
"""

import math
import re

_NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*')
_UNITS = {'bytes': 'bytes', 'seconds': 'seconds', 'ratio': 'ratio', 'celsius': '°C', 'volts': 'V', 'amperes': 'A', 'watts': 'W', 'joules': 'J'}
_RATE = re.compile(r'\b(rate|irate|deriv)\s*\(')


def unit_of(expr: str) -> str:
    """The unit of an expression's values, from the names of its metrics; '' = not known.

    >>> [unit_of(expr) for expr in ('node_filesystem_free_bytes', 'rate(http_requests_total[5m])', 'sum(rate(node_network_receive_bytes_total[5m]))')]
    ['bytes', 'per second', 'bytes per second']
    """
    units = {_UNITS.get(part, '') for name in _NAME.findall(expr) for part in name.removesuffix('_total').split('_')[-1:]} - {''}
    per_second = bool(_RATE.search(expr))
    if len(units) != 1 or '/' in expr:
        return 'per second' if per_second and not units and '/' not in expr else ''
    (unit,) = units
    if not per_second:
        return unit
    return '' if unit == 'seconds' else f'{unit} per second'


def value(number: float | None, unit: str = '') -> str:
    """A value for people, in its unit.

    >>> [value(12884901888.0, 'bytes'), value(0.0042, 'seconds'), value(0.953, 'ratio'), value(1234567.0), value(None)]
    ['12 GiB', '4.2 ms', '95.3 %', '1.23 M', '–']
    """
    if number is None or math.isnan(number):
        return '–'
    base, _, per = unit.partition(' per ')
    tail = f'/{"s" if per == "second" else per}' if per else '/s' if unit == 'per second' else ''
    if base == 'bytes':
        return _scaled(number, 1024, ('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')) + tail
    if base == 'seconds':
        return _duration(number) + tail
    if base == 'ratio':
        return f'{number * 100:.3g} %{tail}'
    return _scaled(number, 1000, ('', 'k', 'M', 'G', 'T', 'P')) + (tail if unit == 'per second' else f' {base}{tail}' if base else '')


def _scaled(number: float, step: int, names: tuple[str, ...]) -> str:
    place, size = 0, abs(number)
    while size >= step and place < len(names) - 1:
        size, place = size / step, place + 1
    return f'{math.copysign(size, number):.3g}{" " if names[place] else ""}{names[place]}'


def _duration(seconds: float) -> str:
    size = abs(seconds)
    for least, factor, name in ((86400, 86400, 'd'), (3600, 3600, 'h'), (60, 60, 'min'), (1, 1, 's'), (1e-3, 1e-3, 'ms')):
        if size >= least:
            return f'{seconds / factor:.3g} {name}'
    return f'{seconds / 1e-6:.3g} µs' if size else '0 s'


def reason(
    *, observed: float | None, expected: float | None, lower: float | None, upper: float | None, unit: str, feature: str = '', kind: str = '',
    missing: bool = False,
) -> str:
    """Why an entity is listed, in a sentence.

    >>> reason(observed=0.93, expected=0.34, lower=0.2, upper=0.5, unit='ratio', kind='level shift')
    '93 %, above the band of 20 % to 50 %; expected 34 %; level shift'
    """
    if missing:
        return 'no sample, which is unusual at this time of day'
    name = f'{feature} ' if feature else ''
    band = f'{value(lower, unit)} to {value(upper, unit)}'
    where = ''
    if observed is not None and upper is not None and observed > upper:
        where = f', above the band of {band}'
    elif observed is not None and lower is not None and observed < lower:
        where = f', below the band of {band}'
    parts = [f'{name}{value(observed, unit)}{where}', f'expected {value(expected, unit)}' if expected is not None else '', kind]
    return '; '.join(part for part in parts if part)
