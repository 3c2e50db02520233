"""Which part of a configuration a process runs, where several share it.

Who calls it: `run`. What flows through: a Config; out comes the Config of one shard. Nobody is asked: each shard finds its part from the
configuration, its own number and the number of shards, and all of them together have every entity once.

    a detector                   goes to one shard, by rendezvous hashing of its name
    a detector with `split_by`   goes to all of them, each with its own matcher in the place of `$shard`, see split.py
    a budget `in all`            is divided by the number of shards: each has about as many entities

A further shard takes its share from the others and moves nothing else. A part that has changed is another expression: its memory is built
from history, so that entities that moved away are not missing, and those that came have the same memory as if they had been here.

While a rollout changes the number, processes with both numbers are there. One more shard: its entities are scored twice until the others
have followed, and rules read `max without (promlstm_replica)`. One shard less: those that stay have to take over before it goes, so for that
time each has what is its own by either number (`--shard.previous`).

The number of a process is given, or is the ordinal that a StatefulSet gives its pods. Of several replicas of each shard those with
neighbouring ordinals have the same number, so that it stays the same when there are more shards.
"""

import os
import re
import socket
from collections.abc import Mapping
from typing import NamedTuple, Self

import msgspec

from promlstm import split
from promlstm.config import Budget, Config, Detector
from promlstm.errors import ConfigError

SHARDS = 1000  # at most
_FLAG = re.compile(r'(auto|[0-9]{1,9})/([0-9]{1,9})\Z')
_ORDINAL = re.compile(r'-([0-9]{1,9})\Z')


class Shard(NamedTuple):
    """One of several processes that share a configuration.

    number    from 0; from `of` on it has nothing
    of        how many there are
    previous  how many there were until lately; None = as many
    """

    number: int
    of: int
    previous: int | None = None

    @classmethod
    def parse(cls, text: str, replicas: int = 1, previous: int | None = None, environment: Mapping[str, str] = os.environ) -> Self:
        """What the flags say.

        text      NUMBER/OF or auto/OF
        replicas  pods of each shard, where the number comes from the name of a pod
        raises    ValueError where the text is none; ConfigError where the name of the pod has no number

        >>> Shard.parse('2/5'), Shard.parse('auto/5', replicas=2, environment={'POD_NAME': 'promlstm-7'})
        (Shard(number=2, of=5, previous=None), Shard(number=3, of=5, previous=None))
        """
        number, of = parsed(text)
        return cls(ordinal(environment) // replicas if number is None else number, of, previous)

    def has(self, detector: Detector) -> bool:
        """Whether a detector that is not divided is its own."""
        return any(split.highest(detector.name, of) == self.number for of in self._numbers)

    def classes(self, detector: Detector) -> set[split.Class]:
        """The classes of a divided detector that are its own."""
        return {each for of in self._numbers for each, owner in split.owners(detector.name, of).items() if owner == self.number}

    @property
    def _numbers(self) -> tuple[int, ...]:
        return (self.of,) if self.previous is None else (self.of, self.previous)


def parsed(text: str) -> tuple[int | None, int]:
    """(number of the shard, None = auto; how many there are); ValueError where the text says none.

    >>> parsed('auto/5'), parsed('0/5')
    ((None, 5), (0, 5))
    """
    match = _FLAG.match(text)
    if not match or not 1 <= int(match[2]) <= SHARDS or (match[1] != 'auto' and int(match[1]) >= int(match[2])):
        raise ValueError(f'expected NUMBER/SHARDS such as 0/5 to 4/5, or auto/5, up to {SHARDS} shards, got {text!r}')
    return None if match[1] == 'auto' else int(match[1]), int(match[2])


def ordinal(environment: Mapping[str, str] = os.environ) -> int:
    """The number at the end of a pod's name; ConfigError where it has none."""
    name = environment.get('POD_NAME') or environment.get('HOSTNAME') or socket.gethostname()
    match = _ORDINAL.search(name)
    if not match:
        raise ConfigError(
            f'--shard=auto: {name} does not end in a number such as promlstm-0, which a StatefulSet gives its pods (looked for in POD_NAME, else '
            'HOSTNAME, else the name of the host); say which shard it is, such as --shard=0/5'
        )
    return int(match[1])


def part(config: Config, shard: Shard) -> Config:
    """The Config of one shard; it may have no detectors."""
    detectors = [part_of(detector, shard) for detector in config.detectors]
    return msgspec.structs.replace(config, detectors=tuple(detector for detector in detectors if detector))


def part_of(detector: Detector, shard: Shard) -> Detector | None:
    """What a shard runs of a detector; None = nothing. A single one runs it as it is."""
    if shard.of == 1 and not shard.number:
        return detector
    if not detector.split_by or not detector.is_divided:
        return detector if shard.has(detector) else None
    mine = shard.classes(detector)
    if not mine:
        return None
    put = split.matcher(detector.split_by, mine, until=detector.split_until)
    return msgspec.structs.replace(
        detector,
        expr=detector.expr and split.put(detector.expr, put),
        features={name: split.put(expr, put) for name, expr in detector.features.items()},
        split_by=None,
        false_alarms=shared(detector.false_alarms, shard.of),
    )


def shared(budget: Budget, shards: int) -> Budget:
    """What one shard may spend of a budget.

    >>> shared(Budget('5/day in all'), 4), shared(Budget('1/week each'), 4)
    ('1.250000/day in all', '1/week each')
    """
    if not budget.shared or shards == 1:
        return budget
    number, slash, rest = budget.partition('/')
    return Budget(f'{max(float(number) / shards, 1e-6):.6f}{slash}{rest}')
