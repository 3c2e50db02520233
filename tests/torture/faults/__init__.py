"""What is injected, a file for each subject. A subject opens what its faults need once, and its faults run one after the other in it.

A fault is a name and a function of what was opened; it returns rows.Attempt.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any


class Impossible(Exception):
    """The fault cannot be tried on this machine; the text says why."""


@dataclass(frozen=True)
class Fault:
    """One row of the table. tries: {how often in the short form, in the long one}."""

    name: str
    attempt: Callable[[Any], Any]
    tries: tuple[int, int] = (1, 5)


@dataclass(frozen=True)
class Subject:
    """Faults that share what `open` gives; `open(world, name)` is a context manager. lanes: among how many they are dealt out."""

    name: str
    open: Callable[[Any, str], AbstractContextManager]
    faults: tuple[Fault, ...]
    lanes: int = 1


def subjects():
    """All, the longest first."""
    from torture.faults import answers, clock, config, machine, models, names, processes, readers, servers, transfers

    modules = (transfers, answers, models, servers, processes, readers, machine, names, clock, config)
    return [*(module.SUBJECT for module in modules), answers.CONTENTS, servers.TLS]
