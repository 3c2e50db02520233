"""Durations as Prometheus writes them, in seconds. Pure.

Who calls it: config, the command line, query (what a server says of its retention). terminal.duration is the way back.
"""

import re

UNITS = {'y': 365 * 86400.0, 'w': 7 * 86400.0, 'd': 86400.0, 'h': 3600.0, 'm': 60.0, 's': 1.0, 'ms': 0.001}
_DURATION = re.compile(''.join(rf'(?:(\d{{1,12}}){unit})?' for unit in UNITS) + r'\Z')


def seconds(text: object) -> float:
    """A duration as Prometheus writes it, in seconds; ValueError where it is none.

    >>> seconds('1h30m'), seconds('500ms'), seconds('1w')
    (5400.0, 0.5, 604800.0)
    """
    if text in ('0', 0) and text is not False:
        return 0.0
    match = _DURATION.match(text) if isinstance(text, str) and text else None
    if not match:
        raise ValueError(f'expected a duration such as 30s, 5m or 1h30m, got {text!r}')
    return sum(int(count) * unit for count, unit in zip(match.groups('0'), UNITS.values(), strict=True))
