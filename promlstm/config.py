"""The configuration: YAML, strict, typed, with the defaults as values. Reading it opens no connection and no model.

Who calls it: `run`, `check-config`, `backtest`, convert (one truth for detectors). What flows through: a file's text; out comes one
frozen Config, whose parts settings.py describes.

Every message names file, detector and key: `promlstm.yml: detectors[1] (node_cpu): step: expected a duration such as 30s, got '30 sec'`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import msgspec
import yaml

from promlstm import semantics, strict_yaml
from promlstm.durations import seconds as seconds
from promlstm.errors import ConfigError
from promlstm.settings import DEFAULT_SOURCE, SHA256, Strict, parsed
from promlstm.settings import TLS as TLS
from promlstm.settings import WEEK_SECONDS as WEEK_SECONDS
from promlstm.settings import Access as Access
from promlstm.settings import Alertmanager as Alertmanager
from promlstm.settings import Authorization as Authorization
from promlstm.settings import BasicAuth as BasicAuth
from promlstm.settings import Budget as Budget
from promlstm.settings import Config as Config
from promlstm.settings import Detector as Detector
from promlstm.settings import Duration as Duration
from promlstm.settings import Edges as Edges
from promlstm.settings import Forecast as Forecast
from promlstm.settings import OAuth2 as OAuth2
from promlstm.settings import RootCause as RootCause
from promlstm.settings import Size as Size
from promlstm.settings import Source as Source
from promlstm.settings import Zone as Zone

LARGEST_CHARACTERS = 10_000_000  # tens of thousands of detectors; what is larger is another file, or a device without an end
_WORDS = {
    'array': 'a list', 'object': 'a mapping', 'str': 'text', 'int': 'a whole number', 'float': 'a number', 'bool': 'true or false',
    'null': 'nothing',
}  # fmt: skip


def load(path: str | Path) -> Config:
    """The Config of a file; ConfigError names file, place and key."""
    try:
        with Path(path).open(encoding='utf-8') as file:
            text = file.read(LARGEST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: cannot be read: {getattr(error, "strerror", None) or error}') from error
    if len(text) > LARGEST_CHARACTERS:
        raise ConfigError(f'{path}: longer than {LARGEST_CHARACTERS} characters: not a configuration')
    return parse(text, source=str(path), root=str(Path(path).parent))


def parse(text: str, *, source: str = 'config', root: str = '.') -> Config:
    """The Config of a YAML text.

    >>> parse('prometheus: {url: http://localhost:9090}\\ndetectors: [{name: up, expr: up, stepp: 30s}]')
    Traceback (most recent call last):
    promlstm.errors.ConfigError: config: detectors[0] (up): stepp: unknown key; known: absent, by, delay, direction, export, expr, \
false_alarms, features, forecast, forget, history, hold, max_entities, max_exported, min_deviation, \
min_relative_deviation, missing, model, name, noisy, range, sha256, source, split_by, split_until, step, timezone
    """
    try:
        tree = strict_yaml.load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f'{source}: not valid YAML: {_problem(error)}') from error
    if not isinstance(tree, dict):
        got = 'nothing' if tree is None else f'a {type(tree).__name__}'
        raise ConfigError(f'{source}: expected the keys prometheus and detectors, got {got}')
    if '-root' in tree:
        raise ConfigError(f'{source}: -root: unknown key; known: {", ".join(sorted(_fields(Config)))}')
    try:
        config = msgspec.convert({**tree, '-root': root}, Config, dec_hook=parsed)
    except msgspec.ValidationError:
        names = _names(tree)
        problems = [*_inside(tree, Config, '', names), *(semantics.of_names(names) if names else ())]
    else:
        problems = [*semantics.of_names(config), *(problem for where, part in _parts(config) for problem in semantics.of_part(part, where, config))]
    if problems:
        raise ConfigError(*(f'{source}: {problem}' for problem in problems))
    return config


def changes(old: Config, new: Config) -> list[str]:
    """What differs between two Configs of one file, list of words; the order of detectors is none.

    >>> one, two = (parse(f'prometheus: {{url: http://x}}\\ndetectors: [{{name: up, expr: {expr}}}]') for expr in ('up', 'down'))
    >>> changes(one, one), changes(one, two)
    ([], ['detector up'])
    """
    sources = _differing(old.named_sources, new.named_sources)
    names = _differing(*({detector.name: detector for detector in config.detectors} for config in (old, new)))
    others = [name for name in ('alertmanager', 'root_cause') if getattr(old, name) != getattr(new, name)]
    return [name if name == DEFAULT_SOURCE else f'source {name}' for name in sources] + others + [f'detector {name}' for name in names]


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _problem(error: Exception) -> str:
    """What is wrong with a YAML text and where, without the text itself, which may hold what is nobody's business."""
    mark = getattr(error, 'problem_mark', None)
    where = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark else ''
    return where + ' '.join(str(getattr(error, 'problem', None) or error).split())


def _parts(config: Config) -> Iterator[tuple[str, object]]:
    """(Place, part) of all that a configuration consists of."""
    for name, source in config.named_sources.items():
        yield source_place(config, name), source
    yield 'alertmanager', config.alertmanager
    yield 'root_cause', config.root_cause
    for number, detector in enumerate(config.detectors):
        yield f'detectors[{number}] ({detector.name})', detector


def _names(tree: dict[Any, Any]) -> Config | None:
    """The sources and detectors of a tree by their names alone, for there is something wrong in it; None where it may be in the names."""
    sources, detectors = tree.get('sources', {}), tree.get('detectors')
    if not tree.keys() <= _fields(Config).keys() or not isinstance(sources, dict) or not isinstance(detectors, list):
        return None
    names = [each.get('name') if isinstance(each, dict) else None for each in detectors]
    return Config(
        prometheus=Source(url='') if tree.get('prometheus') is not None else None,
        sources={name: Source(url='') for name in sources if isinstance(name, str)},
        detectors=tuple(Detector(name=name if isinstance(name, str) else f'detectors[{number}]') for number, name in enumerate(names)),
    )


def _mistakes(value: object, kind: Any, where: str, names: Config | None) -> Iterator[str]:
    """All that is wrong with a part of a tree. msgspec says the first only, so where it refuses a part, the parts inside are looked at one by one."""
    try:
        part = msgspec.convert(value, kind, dec_hook=parsed)
    except msgspec.ValidationError as error:
        yield from [*_inside(value, kind, where, names)] or [_explain(str(error), kind, where)]
    else:
        yield from semantics.of_part(part, where, names) if isinstance(part, Strict) else _inside(value, kind, where, names)


def _inside(value: object, kind: Any, where: str, names: Config | None) -> Iterator[str]:
    """What is wrong with the keys of a mapping, and with the parts of a mapping or list; nothing where it has none."""
    before = f'{where}: ' if where else ''
    kind = _given(kind)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            yield f'{before}a key is not text: put it in quotes'
        value = {key: each for key, each in value.items() if isinstance(key, str)}
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Strict):
        fields = _fields(kind)
        for key, each in value.items():
            if key in fields:
                yield from _mistakes(each, fields[key].type, f'{before if kind is Detector else f"{where}." if where else ""}{key}', names)
            else:
                yield f'{before}{key}: unknown key; known: {", ".join(sorted(fields))}'
        if value.keys() <= fields.keys():  # else the one that is missing may be the one that is misspelt
            yield from (f'{before}{name}: missing' for name, field in fields.items() if field.required and name not in value)
    elif isinstance(value, dict) and kind == dict[str, Source]:
        for key, each in value.items():
            yield from _mistakes(each, Source, f'{where}.{key}', names)
    elif isinstance(value, list) and kind in (tuple[Detector, ...], tuple[Edges, ...]):
        for number, each in enumerate(value):
            name = each.get('name') if isinstance(each, dict) else None
            yield from _mistakes(each, get_args(kind)[0], f'{where}[{number}]' + (f' ({name})' if name else ''), names)


def _fields(kind: type[Strict]) -> dict[str, msgspec.structs.FieldInfo]:
    """{key: its type} of a section, without those that are not in a file."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind) if not field.encode_name.startswith('-')}


def _given(kind: Any) -> Any:
    """The type of a key that has a value, of `Source | None`."""
    return next((each for each in get_args(kind) if each is not NoneType), kind) if NoneType in get_args(kind) else kind


def _explain(message: str, kind: Any, where: str) -> str:
    """msgspec's message in our words: place, what was expected, what was got."""
    what, _, path = message.partition(' - at `')
    place = f'{where}{path.removeprefix("$").removesuffix("`")}'
    if choice := re.match(r'Invalid enum value (.*)', what):
        return f'{place}: expected one of {", ".join(get_args(_given(kind)))}, got {choice[1]}'
    if SHA256 in what:
        return f'{place}: expected 64 hexadecimal digits, as sha256sum prints them'
    return f'{place}: {re.sub("`([a-z |]+)`", _worded, what[0].lower() + what[1:])}'


def _worded(match: re.Match[str]) -> str:
    names = match[1].split(' | ')
    return ' or '.join(_WORDS.get(name, name) for name in names if name != 'null' or len(names) == 1)


def source_place(config: Config, name: str) -> str:
    """Where a source stands in the file.

    >>> config = parse('prometheus: {url: http://a}\\nsources: {logs: {url: http://b}}\\ndetectors: [{name: up, expr: up}]')
    >>> [source_place(config, name) for name in config.named_sources]
    ['prometheus', 'sources.logs']
    """
    return f'sources.{name}' if name in config.sources else DEFAULT_SOURCE
