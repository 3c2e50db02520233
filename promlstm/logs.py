"""Log lines as Prometheus writes them: logfmt or JSON, one event a line, on standard error.

Who calls it: __main__ (setup), everyone else through `logging` with the event's facts in `extra={'facts': {…}}`, or `event`.
"""

import json
import logging
import re
import sys
import time
from typing import Literal, Protocol

_PLAIN = re.compile(r'[^\s="\\]+\Z')
Level = Literal['debug', 'info', 'warn', 'error']
LEVELS: dict[str, int] = {'debug': logging.DEBUG, 'info': logging.INFO, 'warn': logging.WARNING, 'error': logging.ERROR}


class Stream(Protocol):
    """What log lines are written to: a file, or a display that shows them."""

    def write(self, text: str, /) -> object:
        """Write a line."""

    def flush(self) -> None:
        """Show what was written."""


def event(logger: logging.Logger, level: Level, message: str, /, *, exc_info: BaseException | None = None, **facts: object) -> None:
    """Log one event with its facts: `event(log, 'warn', 'step failed', detector='cpu', stage='query')`."""
    logger.log(LEVELS[level], message, exc_info=exc_info, extra={'facts': facts})


def setup(level: str = 'info', style: str = 'logfmt', stream: Stream | None = None) -> None:
    """Send the log of promlstm to a stream (default: standard error), as logfmt or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter(style))
    logger = logging.getLogger('promlstm')
    logger.handlers[:] = [handler]
    logger.setLevel(LEVELS[level])
    logger.propagate = False


class Formatter(logging.Formatter):
    """A record as `ts=… level=… component=… msg=… key=value`, or the same as a JSON object."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self._as_json = style == 'json'

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created)) + f'.{int(record.msecs):03d}Z'
        level = 'warn' if record.levelname == 'WARNING' else record.levelname.lower()
        facts: dict[str, object] = {'ts': stamp, 'level': level, 'component': record.name.removeprefix('promlstm.'), 'msg': record.getMessage()}
        facts |= getattr(record, 'facts', {})
        if record.exc_info:
            facts['traceback'] = self.formatException(record.exc_info)
        if self._as_json:
            return _json(facts)
        return ' '.join(f'{key}={_quoted(value)}' for key, value in facts.items())


def _quoted(value: object) -> str:
    """A value in logfmt: quoted where it has blanks or special characters.

    >>> _quoted('two words'), _quoted(1.5), _quoted('plain')
    ('"two words"', '1.5', 'plain')
    """
    text = f'{value:.6g}' if isinstance(value, float) else str(value)
    return text if _PLAIN.match(text) and text.isprintable() else _json(text)


def _json(value: object) -> str:
    """JSON with everything escaped that cannot be printed: no character of a label or an answer ends a line or controls a terminal."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if text.isprintable() else ''.join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
