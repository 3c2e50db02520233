"""Instants as pages have them: for `<time datetime>`, and as text in UTC for whoever has no JavaScript. Pure."""

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """Unix seconds as HTML and JSON have an instant.

    >>> iso(1_700_000_000.5)
    '2023-11-14T22:13:20Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def utc(seconds: float) -> str:
    """Unix seconds as text.

    >>> utc(1_700_000_000)
    '2023-11-14 22:13 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%d %H:%M UTC')
