"""Values in their units, and reasons in words. Pure.

Who calls it: anomalies, entities, the templates. The unit is that of the metric's name, by the conventions of Prometheus (`_bytes`, `_seconds`,
`_ratio`); a rate of seconds is a number of cores, or a ratio.
"""

import math
import re

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
_ASIDE = re.compile(r'\{[^{}]*\}|\[[^\[\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)')
_NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()')
_UNITS = {'bytes': 'bytes', 'seconds': 'seconds', 'ratio': 'ratio', 'celsius': '°C', 'volts': 'V', 'amperes': 'A', 'watts': 'W', 'joules': 'J'}
_RATE = re.compile(r'\b(?:rate|irate|deriv)\s*\(')
_COUNTED = re.compile(r'\s*(?:count|count_values|absent|absent_over_time|changes|resets)\b')
_PERCENT = re.compile(r'(?<![\w.])100(?:\.0*)?(?![\w.])')
_QUANTILE = re.compile(r'\bhistogram_quantile\s*\(')

# What a view of a model has seen, as an operator says it: (without a direction, below what was expected, above it).
_KINDS = {
    'spike': ('a sudden jump', 'a sudden dip', 'a sudden spike'),
    'level_shift': ('moved to another level', 'fell to a lower level', 'rose to a higher level'),
    'ramp': ('drifting for hours', 'falling for hours', 'rising for hours'),
    'flat_line': ('constant for longer than ever before',) * 3,
    'season': ('unusual at this time of day', 'unusually low at this time of day', 'unusually high at this time of day'),
    'missing_event': ('a daily event did not come, or does not end',) * 3,
    'pattern': ('the last samples together look like a fault',) * 3,
}
NO_SAMPLE = 'no sample, which is unusual at this time of day'
_APART = re.compile(r'(?<=[0-9]) (?=(?:%|[KMGTP]i?B?|[kB]|d|h|min|s|ms|µs|°C|[VAWJ])(?![A-Za-z]))')
_STEPS = re.compile(r'steps_(\d+)\Z')


def unit_of(expr: str) -> str:
    """The unit of an expression's values, from the names of its metrics; '' = not known.

    >>> [unit_of(expr) for expr in ('node_filesystem_free_bytes', 'rate(http_requests_total[5m])', 'sum by (job) (rate(node_network_receive_bytes_total[5m]))')]
    ['bytes', 'per second', 'bytes per second']
    >>> [unit_of(expr) for expr in ('a_free_bytes / a_size_bytes', 'rate(x_seconds_sum[5m]) / rate(x_seconds_count[5m])', '100 * a_bytes / b_bytes')]
    ['ratio', 'seconds', '%']
    >>> unit_of('histogram_quantile(0.9, sum by (le) (rate(x_seconds_bucket[5m])))'), unit_of('count(up{unit="seconds"})')
    ('seconds', '')
    """
    bare = _ASIDE.sub(' ', _QUOTED.sub('""', expr))
    if _COUNTED.match(bare):
        return ''
    sides = bare.split('/')
    if len(sides) == 1:
        return _unit_of(bare, _names(bare))
    if len(sides) > 2:
        return ''
    names = [_names(side) for side in sides]
    above, below = (_unit_of(side, each) for side, each in zip(sides, names, strict=True))
    if all(names) and all(name.endswith('_sum') for name in names[0]) and all(name.endswith('_count') for name in names[1]):
        return _unit_of('', names[0])
    if not all(names) or not above or above != below:
        return ''
    return '%' if _PERCENT.search(bare) else 'ratio'


def _names(bare: str) -> list[str]:
    """The names of the metrics in an expression without labels; a word of PromQL counts as one, and says nothing."""
    return [name for name in _NAME.findall(bare) if '_' in name or ':' in name]


def _unit_of(bare: str, names: list[str]) -> str:
    parts = [re.sub(r'_(total|sum|bucket)\Z', '', name).replace(':', '_').split('_') for name in names]
    units = {_UNITS.get(part[-1], '') for part in parts if part[-2:] != ['timestamp', 'seconds']} - {''}
    if len(units) > 1:
        return ''
    unit = next(iter(units), '')
    if not _RATE.search(bare) or _QUANTILE.search(bare):
        return unit
    return 'per second' if not unit else '' if unit == 'seconds' else f'{unit} per second'


def value(number: float | None, unit: str = '') -> str:
    """A value for people, in its unit.

    >>> [value(12884901888.0, 'bytes'), value(0.0042, 'seconds'), value(0.953, 'ratio'), value(1234567.0), value(None)]
    ['12 GiB', '4.2 ms', '95.3 %', '1.23 M', '–']
    >>> [value(1.2, 'per second'), value(2048.0, 'bytes per second'), value(1023.9, 'bytes'), value(999.9), value(4e-7)]
    ['1.2/s', '2 KiB/s', '1 KiB', '1 k', '4e-07']
    """
    if number is None or math.isnan(number):
        return '–'
    if math.isinf(number):
        return '∞' if number > 0 else '−∞'
    base, _, per = unit.partition(' per ')
    tail = f'/{"s" if per == "second" else per}' if per else '/s' if unit == 'per second' else ''
    if base == 'bytes':
        return _scaled(number, 1024, ('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')) + tail
    if base == 'seconds':
        return _duration(number) + tail
    if base == 'ratio':
        return f'{_digits(number * 100)} %{tail}'
    return _scaled(number, 1000, ('', 'k', 'M', 'G', 'T', 'P')) + (tail if unit == 'per second' else f' {base}{tail}' if base else '')


def _digits(number: float) -> str:
    """Three digits, and no exponent where that can be read.

    >>> [_digits(number) for number in (123.4, 1023.9, 0.000123, 1e9, -0.0)]
    ['123', '1024', '0.000123', '1e+09', '0']
    """
    size = abs(number)
    return f'{number:.0f}' if 999.5 <= size < 1e6 else f'{number + 0.0:.3g}'


def _scaled(number: float, step: int, names: tuple[str, ...]) -> str:
    place, size = 0, abs(number)
    while float(_digits(size)) >= step and place < len(names) - 1:
        size, place = size / step, place + 1
    return f'{_digits(math.copysign(size, number))}{" " if names[place] else ""}{names[place]}'


def _duration(seconds: float) -> str:
    size = abs(seconds)
    for least, name in ((86400, 'd'), (3600, 'h'), (60, 'min'), (1, 's'), (1e-3, 'ms')):
        if float(_digits(size / least)) >= 1:
            return f'{_digits(seconds / least)} {name}'
    return f'{_digits(seconds / 1e-6)} µs' if size else '0 s'


def band(lower: float | None, upper: float | None, unit: str = '') -> str:
    """A band, which may have one border only.

    >>> band(56.0, 180.0, 'per second'), band(None, 0.5, 'ratio'), band(None, None)
    ('56/s to 180/s', 'up to 50 %', '')
    """
    if lower is None or upper is None:
        return f'from {value(lower, unit)}' if lower is not None else f'up to {value(upper, unit)}' if upper is not None else ''
    return f'{value(lower, unit)} to {value(upper, unit)}'


def unbroken(text: str) -> str:
    """A text in which no line breaks between a number and its unit.

    >>> unbroken('93 %, above the band (to 4.2 ms); rose within 5 steps').split(' ')
    ['93\\xa0%,', 'above', 'the', 'band', '(to', '4.2\\xa0ms);', 'rose', 'within', '5', 'steps']
    """
    return _APART.sub('\xa0', text)


def kind(view: str, direction: int = 0) -> str:
    """What a view of a model has seen; direction: 1 = above what was expected, -1 = below, 0 = not known.

    >>> kind('level_shift', -1), kind('steps_5', 1), kind('steps_1'), kind('own_view'), kind('')
    ('fell to a lower level', 'rose within 5 steps', 'a jump within one step', 'own view', '')
    """
    if view in _KINDS:
        return _KINDS[view][{0: 0, -1: 1, 1: 2}[direction]]
    if found := _STEPS.match(view):
        return f'{("a jump", "fell", "rose")[{0: 0, -1: 1, 1: 2}[direction]]} within {"one step" if found[1] == "1" else f"{found[1]} steps"}'
    return view.replace('_', ' ')


def reason(
    *, observed: float | None, expected: float | None, lower: float | None, upper: float | None, unit: str, feature: str = '', view: str = '',
    missing: bool = False, allowed: tuple[float, float] | None = None,
) -> tuple[str, str]:
    """Why an entity is listed: (a sentence with the values, the same for a reader who sees the values beside it).

    allowed  the range that is set for its values

    >>> reason(observed=0.93, expected=0.34, lower=0.2, upper=0.5, unit='ratio', view='level_shift')
    ('93 %, above the band (to 50 %); expected 34 %; rose to a higher level', 'above the band; rose to a higher level')
    >>> reason(observed=1.2, expected=118.0, lower=56.0, upper=180.0, unit='per second', feature='traffic', view='spike')[0]
    'traffic 1.2/s, below the band (from 56/s); expected 118/s; a sudden dip'
    >>> reason(observed=3.0, expected=0.5, lower=0.1, upper=0.9, unit='', allowed=(0.0, 1.0))
    ('3, outside its configured range (0 to 1); expected 0.5', 'outside its configured range')
    >>> reason(observed=5.0, expected=4.0, lower=2.0, upper=6.0, unit='', view='steps_5')
    ('5, in the band now (2 to 6); expected 4; rose within 5 steps', 'in the band now; rose within 5 steps')
    """
    if missing:
        return (NO_SAMPLE,) * 2
    above, below = _beyond(observed, upper), _beyond(lower, observed)
    if allowed and observed is not None and not allowed[0] <= observed <= allowed[1]:
        where, borders = 'outside its configured range', f' ({_range(allowed, unit)})'
    elif above or below:
        where, borders = ('above the band', f' (to {value(upper, unit)})') if above else ('below the band', f' (from {value(lower, unit)})')
    else:
        where, borders = (f'in {"its own" if feature else "the"} band now', f' ({band(lower, upper, unit)})') if band(lower, upper) else ('', '')
    seen = kind(view, above - below or _beyond(observed, expected) - _beyond(expected, observed))
    named = ' '.join(filter(None, (feature, value(observed, unit))))
    parts = [', '.join(filter(None, (named, where + borders))), f'expected {value(expected, unit)}' if expected is not None else '', seen]
    return '; '.join(filter(None, parts)), '; '.join(filter(None, (feature, where, seen)))


def _beyond(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one > other


def _range(allowed: tuple[float, float], unit: str) -> str:
    lower, upper = (border if math.isfinite(border) else None for border in allowed)
    return band(lower, upper, unit)
