"""The tensors of a graph: their names, types and axes in the model contract, and whether a file's graph has them. Pure.

Who calls it: bundle (parse), proof, session (what to feed), convert.export (what to trace).

`threshold` is an optional input: the surprise that the budget allows. It puts `lower` and `upper` exactly where the score becomes 1,
which the latch and the readers of the gauges rely on. A state is [N, S] or [N, F, S]. The second form is memory per feature: with it,
one file serves any number of features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy.typing as npt

from promlstm.engine.manifest import Manifest, Table, sizes
from promlstm.errors import BundleFormatError

# name: (dtype, axes). N entities, F features, K = 1 + season horizons, T table slots, U tables, V views, H forecast horizons.
INPUTS = {
    'value': ('float64', 'NF'),  # newest samples, user's unit; NaN = no sample
    'season': ('float64', 'NFK'),  # seasonal memory now and at each season horizon, user's unit; NaN = not known yet
    'table': ('float64', 'NFT'),  # tables of the time of day, integers: the slots that the manifest asks for, one table after the other
    'local_seconds': ('float64', 'N'),  # wall-clock time in the detector's time zone, seconds since 1970-01-01 00:00; the same for all
    'clock': ('float32', 'N4'),  # sin, cos of the hour of day; sin, cos of the day of week; in the detector's time zone
    'step_seconds': ('float32', ''),  # the detector's step
    'learn': ('float32', 'N'),  # 1 = judge and learn, 0 = judge only, 2 = judge, then take this sample as the new normal level
    'threshold': ('float32', 'N'),  # the surprise that the budget allows: only lower and upper depend on it
}
OUTPUTS = {
    'surprise': ('float32', 'N'),  # >= 0, robust units; NaN = no sample or warming up
    'expected': ('float64', 'NF'),  # what was expected before the sample was seen; NaN = none
    'lower': ('float64', 'NF'),  # lower border: beyond it the surprise is above `threshold`
    'upper': ('float64', 'NF'),  # upper border, likewise
    'usual_lower': ('float64', 'NF'),  # of the range in which nearly all healthy samples are; NaN = not known
    'usual_upper': ('float64', 'NF'),
    'deviation': ('float64', 'NF'),  # observed - expected, signed, user's unit
    'contribution': ('float32', 'NF'),  # share of each feature; rows sum to 1, or are NaN
    'season_next': ('float64', 'NF'),  # what to remember for this slot
    'table_next': ('float64', 'NFU'),  # what to store in each table for this slot
    'view': ('float32', 'NV'),  # share of each view
    'recurring': ('float32', 'N'),  # 1 = it would be an anomaly, if the like had not come at this time on other days
    'class': ('int64', 'N'),  # which calibration rows apply
    'forecast': ('float64', 'NFH3'),  # low, middle, high at each forecast horizon
}
OPTIONAL = {
    'season', 'table', 'table_next', 'local_seconds', 'clock', 'step_seconds', 'learn', 'threshold', 'usual_lower', 'usual_upper', 'view',
    'recurring', 'class', 'forecast',
}  # fmt: skip
STATE = 'state_'
NEXT = '_next'


class Tensor(msgspec.Struct, frozen=True):
    """A graph's input or output as the runtime describes it."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def comparable(name: str, array: npt.NDArray[Any], tables: Sequence[Table]) -> npt.NDArray[Any]:
    """The part of an output that is the same within a tolerance on all machines: an integer of 32 bits holds several numbers, each rounded."""
    return array[..., [table.bits == 8 for table in tables]] if name == 'table_next' else array


def check(manifest: Manifest, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Check names, dtypes and shapes of the graph's tensors; returns the states by input name."""
    axes = sizes(manifest)
    states = {tensor.name: tensor for tensor in inputs if tensor.name.startswith(STATE)}
    nexts = {tensor.name: tensor for tensor in outputs if tensor.name.startswith(STATE)}
    _check_declared('input', [tensor for tensor in inputs if tensor.name not in states], INPUTS, axes)
    _check_declared('output', [tensor for tensor in outputs if tensor.name not in nexts], OUTPUTS, axes)
    if {name + NEXT for name in states} != set(nexts):
        unpaired = sorted({name + NEXT for name in states} ^ set(nexts))
        raise BundleFormatError(f'graph: every {STATE}NAME needs a {STATE}NAME{NEXT} and vice versa; without counterpart: {unpaired}')
    for name, state in states.items():
        per_feature = len(state.shape) == 3
        fits = state.shape[:-1] == (('N', axes['F']) if per_feature else ('N',)) and isinstance(state.shape[-1], int)
        if state.dtype not in ('float32', 'float64') or not fits:
            raise BundleFormatError(f'graph: {name} is {state.dtype} {list(state.shape)}, expected float32 or float64 [N, S] or [N, F, S]')
        after = nexts[name + NEXT]
        if (after.dtype, after.shape) != (state.dtype, state.shape):
            raise BundleFormatError(
                f'graph: {after.name} is {after.dtype} {list(after.shape)}, expected as {name}: {state.dtype} {list(state.shape)}'
            )
    views = 'view' in {tensor.name for tensor in outputs}
    if views != bool(manifest.views):
        raise BundleFormatError(f'graph: view {"is" if views else "is not"} an output, but the manifest names {len(manifest.views)} views')
    if bool(manifest.tables) != ('table_next' in {tensor.name for tensor in outputs}):
        raise BundleFormatError(f'graph: table_next is{" not" if manifest.tables else ""} an output, but the manifest names {len(manifest.tables)} tables')
    if ('forecast' in {tensor.name for tensor in outputs}) != bool(manifest.forecast_horizons_seconds):
        raise BundleFormatError(
            f'graph: forecast {"is not" if manifest.forecast_horizons_seconds else "is"} an output, '
            f'but the manifest names {len(manifest.forecast_horizons_seconds)} forecast horizons'
        )
    return states


def _check_declared(what: str, tensors: Sequence[Tensor], declared: Mapping[str, tuple[str, str]], sizes: Mapping[str, int | str]) -> None:
    names = {tensor.name for tensor in tensors}
    if unknown := sorted(names - set(declared)):
        raise BundleFormatError(f'graph: unknown {what} {unknown[0]!r}; known: {", ".join(declared)}, {STATE}NAME')
    if missing := sorted(set(declared) - OPTIONAL - names):
        raise BundleFormatError(f'graph: {what} {missing[0]!r} is missing')
    for tensor in tensors:
        dtype, axes = declared[tensor.name]
        shape = tuple(sizes[axis] for axis in axes)
        if (tensor.dtype, tensor.shape) != (dtype, shape):
            raise BundleFormatError(f'graph: {what} {tensor.name} is {tensor.dtype} {list(tensor.shape)}, expected {dtype} {list(shape)}')
