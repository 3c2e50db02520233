"""The proof in a model file: inputs, and what TensorFlow computed from them, at a step of every range of the calibration.

A graph may compute otherwise at each step (half-lives, scoring rules), so each range of steps has a case of its own. The proof also names the
calibration that it was released with. session.Session.prove replays it at every load. Pure.

Who calls it: bundle (parse), convert.verify (which makes one), session (which replays it).
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, cast

import msgspec
import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Floats, Floats32, Ints
from promlstm.engine.manifest import Manifest, sizes
from promlstm.engine.tensors import INPUTS, OUTPUTS, STATE, Tensor
from promlstm.errors import BundleFormatError

_Dtype = Literal['float32', 'float64', 'int64']


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An array in JSON: its little-endian bytes in base64."""

    dtype: _Dtype
    shape: tuple[int, ...]
    data: str

    @classmethod
    def of(cls, array: Floats32 | Floats | Ints) -> Self:
        """The Array that holds a numpy array.

        >>> Array.of(np.float32([1, np.nan])).numpy()
        array([ 1., nan], dtype=float32)
        """
        little = np.ascontiguousarray(array, np.dtype(array.dtype).newbyteorder('<'))
        return cls(dtype=cast(_Dtype, array.dtype.name), shape=array.shape, data=base64.b64encode(little.tobytes()).decode())

    def numpy(self) -> npt.NDArray[Any]:
        """The numpy array, in the machine's byte order; BundleFormatError if the bytes do not fit dtype and shape."""
        try:
            flat = np.frombuffer(base64.b64decode(self.data, validate=True), np.dtype(self.dtype).newbyteorder('<'))
            if min(self.shape, default=0) < 0:
                raise ValueError('an axis is below 0')
            return flat.reshape(self.shape).astype(self.dtype)
        except ValueError as error:
            raise BundleFormatError(
                f'an array of the proof does not fit its dtype and shape ({self.dtype} {list(self.shape)}): {error}'
            ) from error


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A few rows over some steps of one length, and what TensorFlow computed from them."""

    step_seconds: float
    inputs: dict[str, Array]  # each with a leading axis of T steps; without states and step_seconds
    outputs: dict[str, Array]  # likewise; without states, whose values show in later outputs


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is replayed at every load, and how near the results have to be."""

    relative_tolerance: float
    absolute_tolerance: float
    reason: str  # why this tolerance
    calibration: str = ''  # sha256 of the calibration in the same file; bundle.metadata writes it
    cases: tuple[Case, ...]


class _ProofOfFormat1(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One case, and nothing about the calibration."""

    relative_tolerance: float
    absolute_tolerance: float
    reason: str
    step_seconds: float
    inputs: dict[str, Array]
    outputs: dict[str, Array]


def decode(text: str, version: int) -> Proof:
    """The proof of a file of that format; msgspec.DecodeError where it is none."""
    if version > 1:
        return msgspec.json.decode(text, type=Proof)
    old = msgspec.json.decode(text, type=_ProofOfFormat1)
    case = Case(step_seconds=old.step_seconds, inputs=old.inputs, outputs=old.outputs)
    return Proof(relative_tolerance=old.relative_tolerance, absolute_tolerance=old.absolute_tolerance, reason=old.reason, cases=(case,))


def check(proof: Proof, manifest: Manifest, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Check that the proof can be replayed: in each case an array for each input of the graph, all of the same length and of the right shape."""
    if not proof.cases:
        raise BundleFormatError('proof: no cases, so it does not verify anything')
    for case in proof.cases:
        try:
            _check_case(case, manifest, inputs, outputs)
        except BundleFormatError as error:
            raise BundleFormatError(f'proof at steps of {case.step_seconds:g} s: {error}') from error.__cause__


def _check_case(case: Case, manifest: Manifest, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    wanted = {tensor.name for tensor in inputs if not tensor.name.startswith(STATE)} - {'step_seconds'}
    given = {name for name in INPUTS if name != 'step_seconds'}, {tensor.name for tensor in outputs if tensor.name in OUTPUTS}
    if missing := sorted(wanted - set(case.inputs)):
        raise BundleFormatError(f'input {missing[0]!r} is missing')
    for what, arrays, known in zip(('input', 'output'), (case.inputs, case.outputs), given, strict=True):
        if unknown := sorted(set(arrays) - known):
            raise BundleFormatError(f'unknown {what} {unknown[0]!r}; known: {", ".join(sorted(known))}')
    value = case.inputs['value'].shape
    if len(value) != 3 or 0 in value:
        raise BundleFormatError(f'input value is {list(value)}, expected [steps, entities, features], none of them 0')
    axes = {**sizes(manifest), 'N': value[1], 'F': value[2] if manifest.features is None else len(manifest.features)}
    for what, arrays, declared in (('input', case.inputs, INPUTS), ('output', case.outputs, OUTPUTS)):
        _check_shapes(what, arrays, declared, value[0], axes)


def _check_shapes(
    what: str, arrays: Mapping[str, Array], declared: Mapping[str, tuple[str, str]], steps: int, axes: Mapping[str, int | str]
) -> None:
    for name, array in arrays.items():
        shape = (steps, *(axes[axis] for axis in declared[name][1]))
        if array.numpy().shape != shape:
            raise BundleFormatError(f'{what} {name} is {list(array.shape)}, expected {list(shape)}')
