"""What the engine expects from outside: a source of samples, a detector's configuration, and how stages and queries are run.

promlstm.query.prometheus.Prometheus is a Source, promlstm.config.Detector a DetectorConfig. The engine imports neither of them, because
it does not build on their packages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from promlstm.engine.columns import Floats

# Called with the name of a stage; gives a context manager to run the stage in.
Stage = Callable[[str], AbstractContextManager[None]]


class Answer(Protocol):
    """What every answer has: its warnings, what it says of the expression, whether it may lack series, and how many series were left out as unreadable."""

    @property
    def warnings(self) -> Sequence[str]: ...
    @property
    def partial(self) -> bool: ...
    @property
    def unread(self) -> int: ...
    @property
    def hints(self) -> Sequence[str]: ...


class Vector(Answer, Protocol):
    """The answer to an instant query: raw label bytes of n series and their values, float64 [n].

    offset_seconds  time of the samples minus time of the query; 0 if they differ by less than a second
    """

    @property
    def keys(self) -> list[bytes]: ...
    @property
    def values(self) -> Floats: ...
    @property
    def offset_seconds(self) -> float: ...


class Matrix(Answer, Protocol):
    """The answer to a range query: times [T], raw label bytes of n series, values float64 [T, n], NaN = no sample."""

    @property
    def times(self) -> Floats: ...
    @property
    def keys(self) -> list[bytes]: ...
    @property
    def values(self) -> Floats: ...


class Source(Protocol):
    """Where samples come from. Times are unix seconds; both methods raise SourceError."""

    def instant(self, expr: str, time: float) -> Vector:
        """The value of an expression at an instant."""

    def range(self, expr: str, start: float, end: float, step: float, series: int) -> Iterable[Matrix]:
        """The values of an expression at start, start + step, … end, in time order; `series` is how many to expect."""


class Sources(Protocol):
    """All sources of a configuration by name; promlstm.query.sources.Sources is one."""

    def __getitem__(self, name: str) -> Source: ...


class RunQueries(Protocol):
    """Runs the queries of several features: `map` does it one after the other, the `map` of a thread pool at once."""

    def __call__(self, query: Callable[[str], Vector], exprs: Iterable[str], /) -> Iterable[Vector]: ...


class Budget(Protocol):
    """False alarms that a detector may raise: per entity, or shared among all its entities."""

    @property
    def shared(self) -> bool: ...

    def per_entity_week(self, entities: int) -> float:
        """Alarms per week that each of that many entities may raise."""


class DetectorConfig(Protocol):
    """What the engine reads of a detector's configuration; docs/reference/configuration.md explains the keys. Times are seconds."""

    @property
    def name(self) -> str: ...
    @property
    def queries(self) -> Mapping[str, str]: ...
    @property
    def by(self) -> tuple[str, ...]: ...
    @property
    def step(self) -> float: ...
    @property
    def delay(self) -> float: ...
    @property
    def timezone(self) -> str: ...
    @property
    def false_alarms(self) -> Budget: ...
    @property
    def direction(self) -> Literal['above', 'below', 'both']: ...
    @property
    def min_deviation(self) -> float: ...
    @property
    def min_relative_deviation(self) -> float: ...
    @property
    def range(self) -> tuple[float, float] | None: ...
    @property
    def hold(self) -> float | None: ...
    @property
    def export(self) -> Literal['all', 'anomalous', 'score']: ...

    @property
    def max_exported(self) -> int: ...

    @property
    def absent(self) -> Literal['missing', 'zero']: ...
    @property
    def missing(self) -> Literal['alert', 'ignore']: ...
    @property
    def noisy(self) -> Literal['alert', 'tolerate']: ...
    @property
    def forecast(self) -> object | None: ...
    @property
    def forget(self) -> float: ...
    @property
    def history(self) -> float: ...
    @property
    def max_entities(self) -> int: ...
