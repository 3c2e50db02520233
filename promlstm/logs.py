"""Log lines as Prometheus writes them: logfmt or JSON, one event a line, on standard error.

Who calls it: __main__ (setup), everyone else through `logging` with the event's facts in `extra={'facts': {…}}`, or `event`.

A line never waits for its reader. Whoever reads a pipe may stop, and a write to a full one would hold the thread that logs, and with it every
other that wants to: no score and no scrape would get through. So lines that find no room are lost, and counted in the first one that does.
"""

import json
import logging
import os
import re
import select
import sys
import time
from typing import Any, Literal, Protocol

_PLAIN = re.compile(r'[^\s="\\]+\Z')
WAIT_SECONDS = 0.2  # for a reader that is only slow
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
    handler = logging.StreamHandler(stream) if stream else Handler(sys.stderr)
    handler.setFormatter(Formatter(style))
    logger = logging.getLogger('promlstm')
    logger.handlers[:] = [handler]
    logger.setLevel(LEVELS[level])
    logger.propagate = False


class Handler(logging.StreamHandler[Any]):
    """Lines to a stream of the system, as many as its reader takes."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._lost, self._rest = 0, b''  # lines that found no room, and the end of one that found too little

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as lost."""
        try:
            file = self.stream.fileno()
        except (OSError, ValueError, AttributeError):  # replaced by something that is no file
            super().emit(record)
            return
        try:
            lost = self.format(_lost(self._lost)) + self.terminator if self._lost else ''
            data = self._rest + (lost + self.format(record) + self.terminator).encode(errors='replace')
            written = _write(file, data, 0.0 if self._lost else WAIT_SECONDS)
            begun = written > len(self._rest)
            self._rest = data[written:] if begun else self._rest[written:]
            self._lost = 0 if begun else self._lost + 1
        except Exception:  # noqa: BLE001 (as every handler: what is logged must never break who logs)
            self._lost += 1


def _write(file: int, data: bytes, wait_seconds: float) -> int:
    """Write to a file descriptor as long as that does not wait; returns how many bytes found room."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    for first in range(0, len(data), select.PIPE_BUF):  # as many as a pipe that is ready for writing takes without waiting
        if not poll.poll(wait_seconds * 1000):
            return first
        os.write(file, data[first : first + select.PIPE_BUF])
    return len(data)


def _lost(lines: int) -> logging.LogRecord:
    record = logging.LogRecord('promlstm.logs', logging.WARNING, '', 0, 'log lines were lost: their reader had stopped', None, None)
    record.facts = {'lines': lines}
    return record


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
