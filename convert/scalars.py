"""Give numbers that meet a column [N, 1] as many axes as it has: ONNX Runtime computes the same bits in less time.

Where an operator gets a scalar (no axes) and an array whose last axis is 1, ONNX Runtime goes from row to row. With a [1, 1] in its place it takes all
rows at once. Elsewhere it makes no difference, and how long the last axis will be is often not known here. Shapes and bits of the results stay.
"""

import numpy as np
import onnx

ELEMENT_WISE = frozenset(
    ('Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'Max', 'Min', 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'And', 'Or', 'Xor', 'Where')
)


def widen(model):
    """Change the scalars of a model that meet columns, constants and computed ones alike; its inputs and outputs stay as they are."""
    graph, made = model.graph, {}
    ranks = _ranks(model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        rank = max((ranks.get(name, 0) for name in node.input), default=0)
        if node.op_type in ELEMENT_WISE and rank > 1:
            for place, name in enumerate(node.input):
                if ranks.get(name) == 0:
                    if (name, rank) not in made:
                        made[name, rank] = _constant(constants[name], rank, graph) if name in constants else _computed(name, rank, graph, nodes)
                    node.input[place] = made[name, rank]
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _ranks(model):
    """{tensor: how many axes it has}, of those of which that is known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField('shape')
    }
    return known | {tensor.name: len(tensor.dims) for tensor in graph.initializer}


def _constant(scalar, rank, graph):
    """The name of a copy of a constant with so many axes."""
    wide = onnx.TensorProto()
    wide.CopyFrom(scalar)
    wide.name = f'{scalar.name}_{rank}'
    wide.dims.extend([1] * rank)
    graph.initializer.append(wide)
    return wide.name


def _computed(name, rank, graph, nodes):
    """The same of a scalar that is computed, by a node in front of the first that needs it."""
    wide, places = f'{name}_{rank}', f'axes_{rank}'
    if places not in {tensor.name for tensor in graph.initializer}:
        graph.initializer.append(onnx.numpy_helper.from_array(np.arange(rank, dtype=np.int64), places))
    nodes.append(onnx.helper.make_node('Unsqueeze', [name, places], [wide], name=wide))
    return wide
