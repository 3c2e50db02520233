"""Durations as Prometheus writes them, and instants as people write them, in seconds. Pure.

Who calls it: config, the command line, query (what a server says of its retention), ui. terminal.duration is the way back.
"""

import re
from datetime import UTC, datetime

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
    # Whole milliseconds, so that one duration is one number however it is written.
    return sum(int(count) * round(unit * 1000) for count, unit in zip(match.groups('0'), UNITS.values(), strict=True)) / 1000


def instant(text: str, now: float) -> float:
    """Unix seconds of `now`, -2d, unix seconds, or a date and time; ValueError where a text is none of these.

    >>> instant('-2d', 200_000), instant('now', 5.0), instant('1970-01-01T00:01:00Z', 0)
    (27200.0, 5.0, 60.0)
    """
    if text == 'now':
        return float(now)
    try:
        if text.startswith('-'):
            return now - seconds(text[1:])
        if text.isascii() and text.replace('.', '', 1).isdigit():
            return float(text)
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError('expected -2d, now, unix seconds or 2026-01-31T12:00:00Z') from error
