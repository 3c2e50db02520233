"""How far back an expression looks: the longest range in it. Pure; read from the text, for PromQL is not built twice.

Who calls it: members, for the uncertainty of an onset: a rate over five minutes shows a change minutes after it was there.
"""

import re

from promlstm.durations import seconds

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*', re.DOTALL)
_RANGE = re.compile(r'\[\s*([0-9][0-9a-z]*)\s*(?:\]|:)')


def lookback_seconds(expr: str) -> float:
    """The longest range of an expression in seconds, subqueries included; 0 where there is none that can be read.

    >>> lookback_seconds('rate(x{path="[2h]"}[5m]) + max_over_time(y[1h:1m])'), lookback_seconds('up'), lookback_seconds('rate(x[1h30m])')
    (3600.0, 0.0, 5400.0)
    """
    return max(map(_seconds, _RANGE.findall(_TEXT.sub('', expr))), default=0.0)


def _seconds(text: str) -> float:
    try:
        return seconds(text if not text.isdigit() else f'{text}s')  # Prometheus 3 reads a bare number as seconds
    except ValueError:
        return 0.0
