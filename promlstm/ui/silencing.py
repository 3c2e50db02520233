"""The silence that says "false alarm" of an entity: what it matches, and the command line that makes it. Pure.

Who calls it: feedback. What flows through: the labels of an entity, which may hold whatever its target says; out come matchers, and a line for a shell
in which no label is more than text.
"""

import shlex
from collections.abc import Collection

from promlstm import terminal
from promlstm.engine.labels import Pairs, escape
from promlstm.query.selector import Matcher
from promlstm.query.silences import FALSE_ALARM, Silence
from promlstm.serve.handling import BadQuery
from promlstm.ui import promql

DURATIONS = {'1h': 3600.0, '2h': 7200.0, '8h': 28800.0, '1d': 86400.0, '3d': 259200.0}
USUAL = '2h'
LONGEST_REASON = 300  # characters


def silence(detector: str, entity: Pairs, others: Collection[str], reason: str, start: float, seconds: float) -> Silence:
    """The silence about an entity and no other one of its detector.

    others  names of labels of the other entities
    start   unix seconds

    >>> silence('cpu', (('instance', 'a'),), ('cpu', 'instance'), ' a deploy ', 0.0, 60.0).comment
    'false alarm: a deploy'
    """
    matchers = tuple(Matcher(name, '=', value) for name, value in promql.matchers(detector, entity, others))
    comment = f'{FALSE_ALARM}: {reason.strip()}' if reason.strip() else FALSE_ALARM
    return Silence('', 'active', False, comment, matchers, start, start + seconds)


def reason_of(text: str) -> str:
    """A reason that people typed; BadQuery where it is too long, or no line of text."""
    if len(text) > LONGEST_REASON or not text.isprintable():
        raise BadQuery(f'reason: expected one line of at most {LONGEST_REASON} characters')
    return text.strip()


def amtool(url: str, made: Silence, author: str = '') -> str:
    r"""The command line of a silence.

    >>> line = amtool('http://am:9093', silence('cpu', (('path', "it's $(rm) `x`"),), (), '', 0, 7200))
    >>> print(line)
    amtool --alertmanager.url=http://am:9093 silence add --comment='false alarm' --duration=2h 'detector="cpu"' 'path="it'"'"'s $(rm) `x`"'
    """
    matchers = [quoted(f'{each.label}="{escape(each.value)}"') for each in made.matchers]
    words = ['amtool', f'--alertmanager.url={quoted(url)}', 'silence', 'add', f'--comment={quoted(made.comment)}']
    words += [f'--author={quoted(author)}'] if author else []
    return ' '.join([*words, f'--duration={terminal.duration(made.end - made.start)}', *matchers])


def quoted(text: str) -> str:
    r"""A word of a shell that stands for a text. What cannot be seen, or turns the direction of writing, stands in it as bytes, as bash and zsh read them.

    >>> print(quoted('a b'), quoted('a\x1b[31m\u202e'))
    'a b' $'a\x1b[31m\xe2\x80\xae'
    """
    if text.isprintable():
        return shlex.quote(text)
    shown = ''.join(_ESCAPED.get(letter) or (letter if letter.isprintable() else _bytes(letter)) for letter in text)
    return f"$'{shown}'"


_ESCAPED = {"'": "\\'", '\\': '\\\\'}


def _bytes(letter: str) -> str:
    return ''.join(f'\\x{byte:02x}' for byte in letter.encode(errors='surrogatepass'))
