"""Runs of few rows as one: of a hundred detectors of a hundred entities, nearly all of the time in the graph is that of its nodes, not of the rows.

Who calls it: session, for live steps where there are many detectors. What flows through: inputs and states of several detectors. No row depends on
its company, so each detector gets what it would get alone, to the last bit.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    """A run that somebody waits for. `done` without a result: the common run failed, and he has to find out whether it was his fault."""

    inputs: Inputs
    state: Tensors
    rows: int
    taken: bool = False
    done: bool = False
    result: Result | None = None

    def kind(self) -> tuple[Any, ...]:
        """What has to be equal, so that rows can be put together."""
        arrays = [(name, np.asarray(array)) for name, array in self.inputs.items()]
        return tuple((name, array.shape[1:] if array.ndim else array.tobytes()) for name, array in arrays)


class Together:
    """The runs of one session (run: Session.run)."""

    def __init__(self, run: Run) -> None:
        self._run, self._changed = run, threading.Condition()
        self._waiting: list[_Call] = []

    def run(self, inputs: Inputs, state: Tensors, wait_seconds: float) -> Result:
        """As Session.run; with few rows it waits so long for others to come."""
        rows = len(np.asarray(inputs['value']))
        if rows > FEW_ROWS or not wait_seconds:
            return self._run(inputs, state)
        call = _Call(inputs, state, rows)
        if calls := self._gathered(call, time.monotonic() + wait_seconds):
            self._run_all(calls)
        return call.result or self._run(inputs, state)

    def _gathered(self, call: _Call, until: float) -> list[_Call]:
        """The calls that the caller has to run, his own among them; none where another one has done so."""
        with self._changed:
            self._waiting.append(call)
            while not call.taken and sum(each.rows for each in self._waiting) < ENOUGH_ROWS and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if call.taken:
                while not call.done:
                    self._changed.wait()
                return []
            kind = call.kind()
            calls = [each for each in self._waiting if each.kind() == kind]
            self._waiting = [each for each in self._waiting if each not in calls]
            for each in calls:
                each.taken = True
            return calls

    def _run_all(self, calls: list[_Call]) -> None:
        """Run some calls as one; whoever waits for his goes on, whatever happens."""
        results: list[Result] = []
        try:
            results = self._joined(calls) if len(calls) > 1 else []
        except Exception:  # noqa: BLE001 (each runs alone then, and it is raised where it belongs)
            results = []
        finally:
            with self._changed:
                for number, call in enumerate(calls):
                    call.result, call.done = results[number] if results else None, True
                self._changed.notify_all()

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
