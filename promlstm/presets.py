"""Ready-made detectors: presets/*.yml, each for one kind of exporter, and the configuration made of them.

Who calls it: __main__ (`promlstm presets`, `--preset=NAME`). What flows through: package data and a URL; out comes a Config. A preset says
what it needs and how it was tested; tests check that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from promlstm import config as configuration
from promlstm.errors import ConfigError

FOLDER = Path(__file__).parent / 'presets'
URL = 'http://localhost:9090'


@dataclass(frozen=True, slots=True)
class Preset:
    """One file.

    about      what it watches
    needs      the exporter that gives the metrics
    tested     what it was tested on, and what was not tested
    detectors  as in a configuration file, list of dict
    """

    name: str
    about: str
    needs: str
    tested: str
    detectors: tuple[dict[str, Any], ...]


def names() -> list[str]:
    """The names of all presets, sorted.

    >>> names()[:3]
    ['capacity', 'http', 'kafka']
    """
    return sorted(path.stem for path in FOLDER.glob('*.yml'))


def read(name: str) -> Preset:
    """The Preset with a name; ConfigError where there is none."""
    if name not in names():
        raise ConfigError(f'--preset={name}: no such preset; presets: {", ".join(names())}')
    content = yaml.safe_load((FOLDER / f'{name}.yml').read_text(encoding='utf-8'))
    return Preset(name, **{**content, 'detectors': tuple(content['detectors'])})


def config(chosen: Iterable[str], url: str = URL, without: Iterable[str] = ()) -> configuration.Config:
    """The Config of some presets against one Prometheus, but for the detectors to leave out; ConfigError where there is none of that name.

    A detector that several presets have is there once.

    >>> [detector.name for detector in config(['kafka'], without=['kafka_lag']).detectors]
    ['kafka_messages', 'kafka_brokers', 'kafka_under_replicated']
    """
    chosen, without = list(chosen), set(without)
    known = {detector['name']: detector for name in chosen for detector in read(name).detectors}
    if unknown := sorted(without - set(known)):
        raise ConfigError(f'--preset.without={unknown[0]}: no such detector; the presets have {", ".join(known)}')
    tree = {'prometheus': {'url': url}, 'detectors': [detector for name, detector in known.items() if name not in without]}
    return configuration.parse(yaml.safe_dump(tree, sort_keys=False), source=' '.join(f'--preset={name}' for name in chosen))


def table() -> str:
    """What `promlstm presets` prints."""
    lines = []
    for preset in map(read, names()):
        lines += [
            preset.name,
            f'  {preset.about}',
            f'  needs:     {preset.needs}',
            f'  tested:    {preset.tested}',
            f'  detectors: {", ".join(detector["name"] for detector in preset.detectors)}',
            '',
        ]
    return '\n'.join(lines).rstrip()
