"""A configuration as its file has it: the way back from what config reads. Pure.

Who calls it: proposal, for what people paste, and for what a child process gets. What flows through: parts of a Config; out come trees of plain
values, and YAML. Only what differs from its default is written. Secrets are not in a Config, so they are not in what is written either.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from promlstm import terminal
from promlstm.config import Config, Detector, Duration, Size


def tree(part: msgspec.Struct) -> dict[str, Any]:
    """The keys of a part that differ from their defaults, as the file has them.

    >>> from promlstm import config
    >>> read = config.parse('prometheus: {url: http://a}\\ndetectors: [{name: up, expr: up, hold: 90m, range: [0, 1], direction: both}]')
    >>> tree(read.detectors[0])
    {'name': 'up', 'expr': 'up', 'range': [0, 1], 'hold': '1h30m'}
    """
    out = {}
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        usual = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if not field.encode_name.startswith('-') and value != usual:
            out[field.encode_name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return tree(value)
    if isinstance(value, Duration):
        return terminal.duration(value)
    if isinstance(value, Size):
        return f'{int(value)}B'
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return int(value)
    return str(value) if isinstance(value, str) else value


def text(written: Mapping[str, Any]) -> str:
    """A tree as YAML.

    >>> print(text({'detectors': [{'name': 'up', 'expr': 'up == 0', 'range': [0, 1]}]}), end='')
    detectors:
    - name: up
      expr: up == 0
      range: [0, 1]
    """
    return yaml.dump(dict(written), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


class _Dumper(yaml.SafeDumper):
    """As people write it: short lists of values on one line, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    flow = all(isinstance(value, str | int | float) for value in values)
    return dumper.represent_sequence('tag:yaml.org,2002:seq', values, flow_style=flow)


def _str(dumper: _Dumper, value: str) -> yaml.Node:
    style = '|' if '\n' in value and not value.startswith((' ', '\n')) else None
    return dumper.represent_scalar('tag:yaml.org,2002:str', value, style=style)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(str, _str)


def alone(config: Config, detector: Detector) -> str:
    """The YAML of a configuration with this detector and the source that it asks, and nothing else."""
    name = config.source_name(detector)
    source = {'prometheus': tree(config.prometheus)} if config.prometheus and name not in config.sources else {'sources': {name: tree(config.sources[name])}}
    return text({**source, 'detectors': [tree(detector)]})
