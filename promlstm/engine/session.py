"""One ONNX Runtime session per model file: its proof is verified at load, and it is run in chunks.

Who calls it: advance (every step), `check-model`, convert (to read back and to replay). What flows through: numpy columns.
It keeps no memory of entities and knows no Prometheus.

Rows are independent. So they are split into chunks whose working set stays in the processor's cache, and several threads run the chunks, each
with a single-threaded run of the graph; ONNX Runtime releases the interpreter lock. Its matrix products take four rows at a time, and what is left
over by another path, whose last bits differ. So each chunk has a multiple of four rows, and the results of a row do not depend on the others.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import onnxruntime

from promlstm import limits
from promlstm.engine import bundle as contract
from promlstm.engine import digest, wire
from promlstm.engine.columns import Tensors
from promlstm.engine.together import Together
from promlstm.errors import BundleFormatError, ProofError

ROWS_AT_ONCE = 4  # of a matrix product
CHUNK = 4096  # rows of one feature: the most whose working set stays in the cache; of fewer, the cost of each operator counts
LEAST_CHUNK = 2048  # two threads that share fewer would both spend more than one of them alone
SHIPPED = Path(__file__).parent.with_name('models')
BUILTIN = 'builtin:'
_DTYPES = {'tensor(float)': 'float32', 'tensor(double)': 'float64', 'tensor(int64)': 'int64'}


Trial = Callable[[bytes, str, str], bool]  # as trial.Trials


class Provable(Protocol):
    """A loaded model file."""

    def prove(self) -> None:
        """Replay the proof; ProofError where this machine computes other numbers."""


Loaded = TypeVar('Loaded', bound=Provable)


class _Node(Protocol):
    """An input or output of a graph, as ONNX Runtime describes it."""

    name: str
    type: str
    shape: Sequence[int | str]


def resolve(model: str, root: str | Path = '.') -> Path:
    """The path of a model: `builtin:NAME` is shipped with the package, anything else is a path, relative to `root`.

    >>> resolve('builtin:default').name
    'default.onnx'
    """
    if model.startswith(BUILTIN):
        path = SHIPPED / f'{model.removeprefix(BUILTIN)}.onnx'
        if not path.exists():
            known = ', '.join(sorted(BUILTIN + file.stem for file in path.parent.glob('*.onnx')))
            raise BundleFormatError(f'{model}: no such model comes with promlstm; there is {known}')
        return path
    return Path(root) / model


def stamp(path: str | Path) -> tuple[int, int, int, int] | None:
    """A value that changes when a file is replaced or written to, found without reading the file; None = there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def load(path: str | Path, *, sha256: str | None = None, threads: int | None = None, prove: bool = True, trial: Trial | None = None) -> 'Session':
    """Load a model file: check its digests and its bytes before ONNX Runtime sees them, then its format, and verify its proof.

    sha256   expected digest of the file, or None
    threads  how many chunks run at once; None = as many as limits.threads gives
    prove    False = do not verify the proof
    trial    trial(bytes, sha256, name of the file) loads it in a process of its own first, see trial.Trials: True = and proves it; None = no such trial
    raises   BundleFormatError (missing, truncated, changed, of another format or digest, refused), ProofError (computes other numbers here)
    """
    return proven(path, lambda data, _: of(data, str(path), threads=threads), sha256=sha256, prove=prove, trial=trial)


def proven(path: str | Path, of: Callable[[bytes, str], Loaded], *, sha256: str | None, prove: bool, trial: Trial | None) -> Loaded:
    """What `of`(bytes, SHA-256) makes of a model file of any kind, once its bytes were checked, and its proof replayed; arguments and errors as `load`."""
    data, found = read(path, sha256)
    tried = trial(data, found, str(path)) if trial else False
    loaded = of(data, found)
    if prove and not tried:
        loaded.prove()
    return loaded


def read(path: str | Path, sha256: str | None = None) -> tuple[bytes, str]:
    """The bytes of a model file and their SHA-256, once its digests and its bytes were checked; BundleFormatError as `load` raises it."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe never ends, a device may have no end
            raise BundleFormatError(f'{path}: not a regular file')
        if status.st_size > wire.LARGEST_BYTES:
            raise BundleFormatError(wire.too_large(str(path)))
        with Path(path).open('rb') as file:
            data = file.read(status.st_size + 1)
    except OSError as error:
        raise BundleFormatError(f'{path}: cannot be read: {error.strerror}') from error
    found = contract.digest(data)
    if sha256 and found != sha256.lower():
        raise BundleFormatError(f'{path}: sha256 is {found}, the configuration pins {sha256}: this is another file')
    digest.check(data, str(path))
    wire.check(data, str(path))
    return data, found


def of(data: bytes, source: str, *, threads: int | None = None) -> 'Session':
    """The Session of a model file's bytes, which were checked, as `load`; its proof is not verified."""
    runtime, metadata = opened(data, source)
    inputs, outputs = _tensors(runtime.get_inputs()), _tensors(runtime.get_outputs())
    bundle = contract.parse(metadata, inputs, outputs, source=source, sha256=contract.digest(data), size_bytes=len(data))
    return Session(runtime, bundle, threads or limits.threads())


def opened(data: bytes, source: str) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """(single-threaded session of ONNX Runtime, metadata of the file) of checked bytes; BundleFormatError where it cannot run them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # of errors we hear as exceptions; nothing is printed
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False  # a plan is kept for every number of rows: up to 60 MB for a fleet that grows, for no time saved
    try:
        runtime = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
        metadata = runtime.get_modelmeta().custom_metadata_map
    except Exception as error:  # ONNX Runtime raises its own classes, which have no common base but Exception
        why = ' '.join(str(error).split())
        raise BundleFormatError(f'{source}: not an ONNX file that this ONNX Runtime ({onnxruntime.__version__}) can run: {why}') from error
    return runtime, metadata


def _tensors(nodes: Iterable[_Node]) -> list[contract.Tensor]:
    return [contract.Tensor(node.name, _DTYPES.get(node.type, node.type), tuple(node.shape)) for node in nodes]


class Session:
    """A loaded model, ready to run over any number of entities."""

    def __init__(self, runtime: onnxruntime.InferenceSession, bundle: contract.Bundle, threads: int) -> None:
        self.bundle = bundle
        self._runtime = runtime
        self._dtypes = {node.name: _DTYPES[node.type] for node in runtime.get_inputs()}
        self._outputs = list(runtime.get_outputs())
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, 'promlstm-session') if threads > 1 else None
        self._together = Together(self.run)

    def blank(self, rows: int, features: int) -> Tensors:
        """The states of entities that were never seen: {state name: zeros}."""
        return {name: np.zeros(_sized(state.shape, rows, features), state.dtype) for name, state in self.bundle.states.items()}

    def run_together(self, inputs: Mapping[str, npt.ArrayLike], state: Tensors, wait_seconds: float) -> tuple[Tensors, Tensors]:
        """The same as `run`, to the last bit. With few rows it waits so long for other threads, whose rows are run with these."""
        return self._together.run(inputs, state, wait_seconds)

    def run(self, inputs: Mapping[str, npt.ArrayLike], state: Tensors) -> tuple[Tensors, Tensors]:
        """One step of N entities.

        inputs   {name of contract.INPUTS: array}; inputs that the graph does not have are ignored
        state    {state name: array} from `blank` or from the step before; not changed
        returns  ({name of contract.OUTPUTS: array}, {state name: array after the step})
        raises   ValueError  if an input of the graph is missing
        """
        feeds = {name: np.asarray(array) for name, array in inputs.items() if name in self.bundle.inputs} | state
        if missing := sorted(self.bundle.inputs - feeds.keys()):
            raise ValueError(f'{self.bundle.source}: the graph needs {", ".join(missing)} as well')
        rows, features = feeds['value'].shape
        spans = chunks(rows, features, self.threads)
        if len(spans) == 1:
            return self._run_once(feeds, list(state), rows)
        results: Tensors = {node.name: np.empty(_sized(node.shape, rows, features), _DTYPES[node.type]) for node in self._outputs}

        def run_span(span: tuple[int, int]) -> None:
            self._run_span(feeds, results, *span)

        for _ in self._pool.map(run_span, spans) if self._pool and len(spans) > 1 else map(run_span, spans):
            pass
        after = {name: results.pop(name + contract.NEXT) for name in state}
        return results, after

    def _run_once(self, feeds: Tensors, states: Sequence[str], rows: int) -> tuple[Tensors, Tensors]:
        """Run few rows, for which it takes longer to bind arrays than to copy them. The last row is repeated until there are as many as are taken at once."""
        many, features = _rounded_up(rows), feeds['value'].shape[1]
        if many > rows:
            more = np.minimum(np.arange(many), rows - 1)
            feeds = {name: array[more] if array.ndim else array for name, array in feeds.items()}
        given = self._runtime.run(None, {name: _contiguous(array, self._dtypes[name]) for name, array in feeds.items()})
        results: Tensors = {}
        for node, array in zip(self._outputs, given, strict=True):
            if list(array.shape) != (wanted := _sized(node.shape, many, features)):
                raise ValueError(f'{self.bundle.source}: the graph gives {node.name} as {list(array.shape)}, expected {wanted}')
            results[node.name] = array[:rows]
        return results, {name: results.pop(name + contract.NEXT) for name in states}

    def _run_span(self, feeds: Tensors, results: Tensors, start: int, stop: int) -> None:
        """Run some of the rows. Slices of the arrays are bound in place; only what has another type or order is copied, a chunk at a time."""
        binding = self._runtime.io_binding()
        parts = {name: _contiguous(array[start:stop] if array.ndim else array, self._dtypes[name]) for name, array in feeds.items()}
        for name, part in parts.items():
            binding.bind_input(name, 'cpu', 0, part.dtype, part.shape, part.ctypes.data)
        for name, array in results.items():
            part = array[start:stop]
            binding.bind_output(name, 'cpu', 0, part.dtype, part.shape, part.ctypes.data)
        self._runtime.run_with_iobinding(binding)

    def prove(self) -> None:
        """Replay each case of the file's proof; ProofError names the output, step and entity where this machine first differs."""
        for case in self.bundle.proof.cases:
            inputs = {name: array.numpy() for name, array in case.inputs.items()}
            expected = {name: array.numpy() for name, array in case.outputs.items()}
            if missing := sorted((set(contract.OUTPUTS) & self.bundle.outputs) - set(expected)):
                raise ProofError(f'{self.bundle.source}: the proof has no output {missing[0]}')
            if 'value' not in inputs or not np.isnan(inputs['value']).any():
                raise ProofError(f'{self.bundle.source}: the proof has no missing sample, so it does not verify what the model does with one')
            self._prove(case.step_seconds, inputs, expected)

    def _prove(self, step_seconds: float, inputs: Tensors, expected: Tensors) -> None:
        steps, rows, features = inputs['value'].shape
        state, got = self.blank(rows, features), {name: np.empty_like(wanted) for name, wanted in expected.items()}
        for step in range(steps):
            feeds = {name: array[step] for name, array in inputs.items()} | {'step_seconds': np.float32(step_seconds)}
            out, state = self._run_for_proof(feeds, state)
            for name, column in got.items():
                column[step] = out[name]
        self._compare(step_seconds, got, expected)

    def _run_for_proof(self, feeds: Mapping[str, npt.ArrayLike], state: Tensors) -> tuple[Tensors, Tensors]:
        try:
            return self.run(feeds, state)
        except Exception as error:  # as in `load`: classes without a common base
            raise ProofError(f'{self.bundle.source}: the graph cannot be run: {" ".join(str(error).split())}') from error

    def _compare(self, step_seconds: float, got: Tensors, expected: Tensors) -> None:
        """ProofError for the first step at which an output differs; got and expected are arrays with a leading axis of steps."""
        proof, wrong = self.bundle.proof, []
        for name, wanted in expected.items():
            ours, theirs = (contract.comparable(name, array, self.bundle.manifest.tables) for array in (got[name], wanted))
            close = np.isclose(ours, theirs, rtol=proof.relative_tolerance, atol=proof.absolute_tolerance, equal_nan=True)
            if not close.all():
                wrong.append((tuple(int(index[0]) for index in np.nonzero(~close)), name))
        if wrong:
            where, name = min(wrong, key=lambda each: each[0][0])
            raise ProofError(
                f'{self.bundle.source}: the proof at steps of {step_seconds:g} s fails: {name} at step {where[0]}, entity {where[1]}: '
                f'got {got[name][where]:.9g}, expected {expected[name][where]:.9g} '
                f'(relative tolerance {proof.relative_tolerance:g}, absolute {proof.absolute_tolerance:g}): this machine or ONNX Runtime '
                f'{onnxruntime.__version__} computes other numbers than the model was made with; it is not served'
            )


def chunks(rows: int, features: int, threads: int) -> list[tuple[int, int]]:
    """The rows that are run at once, as (start, stop): as many chunks of one size as keep all threads busy; of several, each of a multiple of four rows.

    >>> chunks(1000, 1, 2), chunks(10_000, 1, 2)
    ([(0, 1000)], [(0, 2500), (2500, 5000), (5000, 7500), (7500, 10000)])
    >>> chunks(2049, 1, 2)
    [(0, 2048), (2045, 2049)]
    """
    most, least = (max(ROWS_AT_ONCE, chunk // max(1, features)) for chunk in (CHUNK, min(CHUNK, LEAST_CHUNK)))
    turns = -(-rows // (most * threads))
    chunk = _rounded_up(max(least, -(-rows // max(1, turns * threads))))
    spans = [(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]
    return [(max(0, stop - _rounded_up(stop - start)), stop) for start, stop in spans]


def _rounded_up(rows: int) -> int:
    return -(-rows // ROWS_AT_ONCE) * ROWS_AT_ONCE


def _sized(shape: Iterable[int | str], rows: int, features: int) -> list[int]:
    """A shape with numbers for its axes N and F."""
    sizes = {'N': rows, 'F': features}
    return [sizes[axis] if isinstance(axis, str) else axis for axis in shape]


def _contiguous(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    return np.ascontiguousarray(array, dtype) if array.ndim else np.asarray(array, dtype)
