"""Convert a Keras model to an ONNX graph with the contract's names and axes, and check its operators.

tf2onnx names outputs `Identity:0` and axes `unk__107`, so both are renamed here. The operators are counted: a recurrent layer must have
become a real `LSTM` (a `Loop` is twenty times slower), and missing samples must go through a `Where` (any other form of a choice would let
their NaN through).

    model = export(functools.partial(forecaster.step, network))     # onnx.ModelProto, without metadata: release adds it
"""

import collections
import hashlib
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import numpy as np
import onnx
import tensorflow as tf

from convert import scalars
from convert.errors import ConvertError
from convert.families.registry import FORECASTER
from promlstm.engine import bundle

OPSET = 17
FORBIDDEN = ('Loop', 'Scan', 'If')


class ExportError(ConvertError):
    """The graph is not what the contract asks for: nothing was written."""


def signature(form=FORECASTER):
    """The graph's inputs: {name: TensorSpec}, states last."""
    specs = {name: _spec(name, *bundle.INPUTS[name], form) for name in form.inputs}
    for name, (dtype, width) in form.states.items():
        specs[bundle.STATE + name] = tf.TensorSpec([None, form.sizes['F'], width], dtype, name=bundle.STATE + name)
    return specs


def _spec(name, dtype, axes, form):
    return tf.TensorSpec([form.sizes[axis] for axis in axes], dtype, name=name)


def traced(step, form=FORECASTER):
    """`step` as a tf.function from the contract's inputs (keyword arguments) to {output: tensor}.

    step  function of form.inputs and form.states by name (for the default: forecaster.step with its network bound); or what this function
          has made of one, which is given back: a large graph takes seconds to trace, so who exports and proves one traces it once
    """
    if isinstance(step, tf.types.experimental.GenericFunction):
        return step
    specs = signature(form)

    def contract(*inputs):
        named = {name.removeprefix(bundle.STATE): tensor for name, tensor in zip(specs, inputs, strict=True)}
        return {name: tf.identity(tensor, name) for name, tensor in sorted(step(**named).items())}

    return tf.function(contract, input_signature=list(specs.values()), autograph=False)


def export(step, form=FORECASTER, lstms=None):
    """The ONNX model of a step function; ExportError where the graph is not as expected.

    lstms  how many there must be, where that is not what the form says
    """
    import tf2onnx  # takes seconds to import, and only this needs it

    function = traced(step, form)
    names = sorted(function.get_concrete_function().structured_outputs)
    try:
        model, _ = tf2onnx.convert.from_function(function, input_signature=list(function.input_signature), opset=OPSET)
    except (ValueError, NotImplementedError, KeyError, RuntimeError) as error:
        raise ExportError(f'graph: tf2onnx cannot convert it: {" ".join(str(error).split())[:300]}') from error
    census(model, form, lstms)
    rename(model.graph, names)
    _set_axes(model.graph, form)
    scalars.widen(model)
    number(model.graph)
    model.producer_name, model.graph.name, model.graph.doc_string = 'promlstm', 'step', ''
    onnx.checker.check_model(model, full_check=True)
    return model


def census(model, form=FORECASTER, lstms=None):
    """Count of each operator; ExportError where recurrent layers or missing samples did not get the form that is fast and safe."""
    count = collections.Counter(node.op_type for node in model.graph.node)
    wanted = form.lstms if lstms is None else lstms
    if found := [name for name in FORBIDDEN if count[name]]:
        raise ExportError(f'graph: {count[found[0]]} × {found[0]}, expected none: a recurrent layer was not recognised')
    if count['LSTM'] < 1 if wanted is None else count['LSTM'] != wanted:
        raise ExportError(f'graph: {count["LSTM"]} × LSTM, expected {"one or more" if wanted is None else wanted}')
    if count['Where'] != form.wheres:
        raise ExportError(f'graph: {count["Where"]} × Where, expected {form.wheres}: NaN would get through')
    return count


def rename(graph, outputs):
    """The contract's names for inputs and outputs (these come in the order of the traced dictionary)."""
    new = dict(zip([output.name for output in graph.output], outputs, strict=True))
    new |= {tensor.name: tensor.name.removesuffix(':0') for tensor in graph.input}
    for tensor in (*graph.input, *graph.output):
        tensor.name = new[tensor.name]
    _replace(graph, new)


def number(graph):
    """Order and name nodes by what they compute alone, so that the same weights give the same bytes (the converter's order changes)."""
    _order_copies(graph)
    digests = _digests(graph)
    nodes, known = [], digests.keys() - {out for node in graph.node for out in node.output} | {''}
    waiting = sorted(graph.node, key=lambda node: digests[node.output[0]])
    while waiting:
        node = next(node for node in waiting if known.issuperset(node.input))
        waiting.remove(node)
        nodes.append(node)
        known.update(node.output)
    own = {tensor.name for tensor in (*graph.input, *graph.output)}
    new = {name: f't{k}' for k, name in enumerate(dict.fromkeys(n for node in nodes for n in (*node.input, *node.output) if n and n not in own))}
    for k, node in enumerate(nodes):
        node.name = f'{node.op_type}_{k}'
    weights = [tensor for tensor in graph.initializer if tensor.name in new]
    for tensor in weights:
        tensor.name = new[tensor.name]
    _put(graph.node, nodes)
    _put(graph.initializer, sorted(weights, key=lambda tensor: int(tensor.name[1:])))
    del graph.value_info[:]
    _replace(graph, new)


def _order_copies(graph):
    """Of outputs that are copies of one tensor the first by name is computed (the converter picks any), the others are its copies."""
    outputs, copies = {tensor.name for tensor in graph.output}, {}
    for node in graph.node:
        if node.op_type == 'Identity' and outputs.issuperset((*node.input, *node.output)):
            copies.setdefault(node.input[0], []).append(node.output[0])
    for original, names in copies.items():
        _replace(graph, dict(zip([original, *names], sorted([original, *names]), strict=True)))


def _digests(graph):
    """{name of each tensor: digest of the operators and weights that it is computed from}."""
    digests = {tensor.name: tensor.name for tensor in graph.input}
    for tensor in graph.initializer:
        digests[tensor.name] = _digest(tensor.data_type, list(tensor.dims), onnx.numpy_helper.to_array(tensor).tobytes())
    for node in graph.node:
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        own = _digest(node.op_type, attributes, [digests.get(name, name) for name in node.input])
        digests |= {name: f'{own}.{k}' for k, name in enumerate(node.output) if name}
    return digests


def _digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _put(field, items):
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)


def _replace(graph, new):
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]


def _set_axes(graph, form):
    """Name the axes that may have any size N and F, and give the others their numbers."""
    widths = {bundle.STATE + name: width for name, (_, width) in form.states.items()}
    for tensor in (*graph.input, *graph.output):
        state = tensor.name.removesuffix(bundle.NEXT)
        axes = ('N', 'F', widths[state]) if state in widths else {**bundle.INPUTS, **bundle.OUTPUTS}[tensor.name][1]
        shape = tensor.type.tensor_type.shape
        del shape.dim[:]
        for axis in axes:
            size = axis if isinstance(axis, int) else form.sizes[axis] or axis
            shape.dim.add(**{'dim_value' if isinstance(size, int) else 'dim_param': size})


def zeros(entities, features, form=FORECASTER):
    """Blank states, of entities without a sample so far, for the traced function: {name: float [N, F, S]}."""
    return {bundle.STATE + name: np.zeros((entities, features, width), dtype) for name, (dtype, width) in form.states.items()}
