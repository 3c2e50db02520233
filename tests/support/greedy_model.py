"""Model files that are well formed, of plain operators and under a good digest, and take more memory or time than there is."""

import numpy as np
import onnx
import tiny_model
from onnx import helper, numpy_helper

from promlstm.engine import digest


def _with_nodes(nodes, size):
    """The bytes of a small model with further nodes at the beginning of its graph, which take the constant `size`."""
    model = onnx.load_from_string(tiny_model.build())
    del model.metadata_props[-1]
    model.graph.initializer.append(numpy_helper.from_array(np.int64(size), 'size'))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return digest.appended(model.SerializeToString())


def _filled(number, name):
    return helper.make_node('ConstantOfShape', ['size'], [name], value=numpy_helper.from_array(np.float32([number])))


def large():
    """A few kilobytes that become 8 GiB when they are loaded or run."""
    return _with_nodes([_filled(1, 'large'), helper.make_node('ReduceSum', ['large'], ['sum'], keepdims=0)], [2**31])


def endless():
    """Products of large matrices, for hours; no more than a few of them are held at once."""
    products = [helper.make_node('MatMul', [f'm{n}', f'm{n}'], [f'm{n + 1}']) for n in range(3000)]
    return _with_nodes([_filled(1e-4, 'm0'), *products], [2500, 2500])
