"""Runs of few rows as one: of a hundred detectors of a hundred entities, nearly all of the time in the graph is that of its nodes, not of the rows.

Who calls it: session, for live steps where there are many detectors. What flows through: inputs and states of several detectors. No row depends on
its company, so each detector gets what it would get alone, to the last bit.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Tensors

FEW_ROWS = 1024  # with more, the nodes of the graph cost less than the rows
ENOUGH_ROWS = 4096  # nobody waits for more

Inputs = Mapping[str, npt.ArrayLike]
Result = tuple[Tensors, Tensors]
Run = Callable[[Inputs, Tensors], Result]


@dataclass(slots=True, eq=False)
class _Call:
    """A run that somebody waits for.

    taken   it is part of a run that goes on
    over    set when that run has ended; without a result it has failed, and whoever waits has to find out whether it was his fault
    """

    inputs: Inputs
    state: Tensors
    rows: int
    taken: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    result: Result | None = None

    def kind(self) -> tuple[Any, ...]:
        """What has to be equal, so that rows can be put together."""
        arrays = [(name, np.asarray(array)) for name, array in self.inputs.items()]
        return tuple((name, array.shape[1:] if array.ndim else array.tobytes()) for name, array in arrays)


class Together:
    """The runs of one session (run: Session.run)."""

    def __init__(self, run: Run) -> None:
        self._run, self._lock = run, threading.Lock()
        self._waiting: list[_Call] = []

    def run(self, inputs: Inputs, state: Tensors, wait_seconds: float) -> Result:
        """As Session.run; with few rows it waits so long for others to come."""
        rows = len(np.asarray(inputs['value']))
        if rows > FEW_ROWS or not wait_seconds:
            return self._run(inputs, state)
        call = _Call(inputs, state, rows)
        if self._add(call) or not call.over.wait(wait_seconds):
            if calls := self._take(call):
                self._run_all(calls)
            else:
                call.over.wait()  # somebody else has taken it, and sets it whatever happens
        return call.result or self._run(inputs, state)

    def _add(self, call: _Call) -> bool:
        """Let others take a call from now on; True = enough rows wait, so nobody has to wait for more."""
        with self._lock:
            self._waiting.append(call)
            return sum(each.rows for each in self._waiting) >= ENOUGH_ROWS

    def _take(self, call: _Call) -> list[_Call]:
        """The calls that the caller has to run, his own among them; none if somebody else runs his."""
        with self._lock:
            if call.taken:
                return []
            kind = call.kind()
            calls = [each for each in self._waiting if each.kind() == kind]
            self._waiting = [each for each in self._waiting if each not in calls]
            for each in calls:
                each.taken = True
            return calls

    def _run_all(self, calls: list[_Call]) -> None:
        """Run some calls as one; whoever waits for his goes on, whatever happens."""
        try:
            if len(calls) > 1:
                for call, result in zip(calls, self._joined(calls), strict=True):
                    call.result = result
        except Exception:  # noqa: BLE001 (each runs alone then, and it is raised where it belongs)
            pass
        finally:
            for call in calls:
                call.over.set()

    def _joined(self, calls: list[_Call]) -> list[Result]:
        first = calls[0]
        inputs = {
            name: np.concatenate([np.asarray(call.inputs[name]) for call in calls]) if np.ndim(array) else array for name, array in first.inputs.items()
        }
        both = self._run(inputs, {name: np.concatenate([call.state[name] for call in calls]) for name in first.state})
        results, start = [], 0
        for call in calls:
            span = slice(start, start := start + call.rows)
            out, after = ({name: array[span].copy() for name, array in part.items()} for part in both)
            results.append((out, after))
        return results
