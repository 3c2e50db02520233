"""Changed settings of a detector: from the values of a form to a detector, its YAML, and the commands that compare both. Pure.

Who calls it: what_if. What flows through: texts that people typed, or that a link brought; out comes a Proposal, or a BadQuery that says which value
is wrong, in the words that `promlstm check-config` has for it.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from promlstm import config as configuration
from promlstm import durations, terminal
from promlstm.config import Config, Detector
from promlstm.errors import ConfigError
from promlstm.serve.handling import BadQuery
from promlstm.ui import written

FROM, TO = '-3d', 'now'
LONGEST_SECONDS = 31 * 86400.0
LONGEST_TEXT = 200  # characters of a value
SHIPPED = ('builtin:default', 'builtin:forecaster')
SETTINGS = ('false_alarms', 'direction', 'min_deviation', 'min_relative_deviation', 'low', 'high', 'hold', 'noisy', 'model')
_NUMBERS = ('min_deviation', 'min_relative_deviation')
_CHOICES = {'direction': ('above', 'below', 'both'), 'noisy': ('alert', 'tolerate')}
_INFINITE = {'low': float('-inf'), 'high': float('inf')}


@dataclass(frozen=True, slots=True)
class Proposal:
    """The current detector, and the changed one that is compared with it.

    values      of the form, {name: text}, that differ from the current settings, or from FROM and TO
    start, end  unix seconds
    """

    config: Config
    before: Detector
    after: Detector
    values: Mapping[str, str]
    start: float
    end: float

    @property
    def yaml(self) -> str:
        """The detector as it would stand in a configuration file, and in the values of the chart."""
        return written.text({'detectors': [written.tree(self.after)]})

    @property
    def link(self) -> str:
        """The parameters of a URL that has these values."""
        return urlencode({'detector': self.before.name} | dict(self.values))

    @property
    def command(self) -> str:
        """What compares both on a command line, where what-if.yml is the configuration with the changed settings."""
        span = f'--from={shlex.quote(self.values.get("from", FROM))} --to={shlex.quote(self.values.get("to", TO))}'
        detector = f'--detector={shlex.quote(self.before.name)}'
        return '\n'.join(f'promlstm backtest --config.file={name} {detector} {span}' for name in ('promlstm.yml', 'what-if.yml'))

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """(Key, current value, changed value) of what differs."""
        old, new = in_force(self.before), in_force(self.after)
        return [(name, old[name], new[name]) for name in SETTINGS if old[name] != new[name]]


def in_force(detector: Detector) -> dict[str, str]:
    """The values of the form for a detector: {name: text}.

    >>> from promlstm import config
    >>> read = config.parse('prometheus: {url: http://a}\\ndetectors: [{name: up, expr: up, range: [0, .inf], hold: 90m}]')
    >>> in_force(read.detectors[0])
    {'false_alarms': '1/week each', 'direction': 'both', 'min_deviation': '0', 'min_relative_deviation': '0', 'low': '0', 'high': '', \
'hold': '1h30m', 'noisy': 'alert', 'model': 'builtin:default'}
    """
    low, high = detector.range or (_INFINITE['low'], _INFINITE['high'])
    return {
        'false_alarms': str(detector.false_alarms), 'direction': detector.direction, 'min_deviation': _number(detector.min_deviation),
        'min_relative_deviation': _number(detector.min_relative_deviation), 'low': _number(low), 'high': _number(high),
        'hold': '' if detector.hold is None else terminal.duration(detector.hold), 'noisy': detector.noisy, 'model': detector.model,
    }  # fmt: skip


def models(config: Config) -> list[str]:
    """The models that may be chosen: those that come with promlstm, and those of the configuration. No other file is opened for whoever asks."""
    return list(dict.fromkeys([*SHIPPED, *(detector.model for detector in config.detectors)]))


def choices(config: Config) -> dict[str, tuple[str, ...]]:
    """{name: values} of what is chosen from a list."""
    return {**_CHOICES, 'model': tuple(models(config))}


def proposal(config: Config, detector: Detector, given: Mapping[str, str], now: float) -> Proposal:
    """What values of a form propose for a detector; those that are not given stay as they are.

    raises  BadQuery  where one of them cannot be
    """
    usual = {**in_force(detector), 'from': FROM, 'to': TO}
    values = {name: given[name].strip() for name in usual if name in given and given[name].strip() != usual[name]}
    for name, value in values.items():
        if len(value) > LONGEST_TEXT or not value.isprintable():
            raise BadQuery(f'{name}: expected at most {LONGEST_TEXT} printable characters')
    start, end = _span(values, now)
    return Proposal(config, detector, _changed(config, detector, values), values, start, end)


def _span(values: Mapping[str, str], now: float) -> tuple[float, float]:
    instants = {}
    for name, usual in (('from', FROM), ('to', TO)):
        try:
            instants[name] = durations.instant(values.get(name, usual), now)
        except ValueError as error:
            raise BadQuery(f'{name}: {error}') from error
    start, end = instants['from'], instants['to']
    if not start < end:
        raise BadQuery('from: expected a time before `to`')
    if end > now:
        raise BadQuery('to: expected a time that is not in the future')
    if end - start > LONGEST_SECONDS:
        raise BadQuery(f'from: expected a span of at most {terminal.duration(LONGEST_SECONDS)}; promlstm backtest replays longer ones')
    return start, end


def _changed(config: Config, detector: Detector, values: Mapping[str, str]) -> Detector:
    tree = written.tree(detector)
    for name in ('false_alarms', 'direction', 'noisy', *_NUMBERS):
        if name in values:
            tree[name] = _read(name, values[name]) if name in _NUMBERS else values[name]
    if 'hold' in values:
        tree['hold'] = values['hold'] or None
    if 'model' in values:
        tree |= _model(config, values['model'])
    if 'low' in values or 'high' in values:
        both = in_force(detector) | dict(values)
        tree['range'] = [_read(name, both[name], _INFINITE[name]) for name in ('low', 'high')] if both['low'] or both['high'] else None
    try:
        everything: dict[str, Any] = {'sources': {name: {'url': 'http://localhost'} for name in config.named_sources}, 'detectors': [tree]}
        return configuration.parse(written.text(everything), source='what if', root=config.root).detectors[0]
    except ConfigError as error:
        raise BadQuery('; '.join(each.removeprefix(f'what if: detectors[0] ({detector.name}): ') for each in error.problems)) from error


def _model(config: Config, model: str) -> dict[str, Any]:
    if model not in models(config):
        raise BadQuery(f'model: expected one of {", ".join(models(config))}')
    return {'model': model, 'sha256': next((each.sha256 for each in config.detectors if each.model == model), None)}


def _read(name: str, value: str, empty: float = 0.0) -> float:
    try:
        return float(value) if value else empty
    except ValueError as error:
        raise BadQuery(f'{name}: expected a number, got {value!r}') from error


def _number(value: float) -> str:
    """A number as a form has it; nothing where it is infinite.

    >>> _number(0.0), _number(0.25), _number(float('inf'))
    ('0', '0.25', '')
    """
    if value in _INFINITE.values():
        return ''
    return str(int(value)) if value == int(value) else repr(value)
