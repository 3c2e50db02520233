"""A whole model file that a person can compute on paper: the running mean of each feature, made with `onnx` alone.

    expected   the mean of the samples learnt so far, once there are WARMUP of them
    surprise   the largest |observed - expected| / SCALE of the features
    band       expected ∓ threshold × SCALE

    path = tiny.write(tmp_path / 'tiny.onnx', features=('cpu', 'memory'), views=('above', 'below'))

`reference` computes the same in numpy, a sample at a time, and is what the file's proof is made of. Options break the file in named
ways: `retype` and `reshape` declare a tensor otherwise, `without` leaves outputs out, `extra` adds an input or output that means nothing,
`manifest`, `calibration` and `proof` replace what the metadata says, `edit` changes the text of it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from promlstm.engine import bundle, digest

WARMUP = 3
SCALE = 2.0
BIG = 1000.0  # a mean above it makes an entity of class 1
KINDS = {'float32': TensorProto.FLOAT, 'float64': TensorProto.DOUBLE, 'int64': TensorProto.INT64}

MANIFEST = bundle.Manifest(
    format=bundle.FORMAT, name='tiny', family='forecaster', description='running mean, for tests', created='2026-01-31T12:00:00Z', features=None,
    views=(), step_seconds=(1, 3600), warmup_steps=WARMUP, replay_steps=20, season_period_seconds=86400, season_slots=24,
    season_horizons_steps=(1,), forecast_horizons_seconds=(), tools={'onnx': 'any'}, evaluation={'none': {'f1': 0.5}},
    training=bundle.Training(data='nothing', digest='0' * 64, recipe='1' * 64, seed=1, entity_steps=0, seconds=0),
)  # fmt: skip
ROW = bundle.Row(klass=0, step_seconds=(1, 3601), surprise=(1, 2, 3), alarms_per_entity_week=(10, 1, 0.1))
CALIBRATION = bundle.Calibration(status='measured', source='arithmetic', entity_weeks=1, rows=(ROW,))


@dataclass
class Graph:
    """Nodes on their way to become a graph: every method adds one and names its result."""

    nodes: list
    constants: list

    def add(self, operator, *inputs, name=None, **attributes):
        name = name or f'{operator}_{len(self.nodes)}'
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value):
        name = f'constant_{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def choose(self, condition, a, b, **name):
        return self.add('Where', condition, a, b, **name)

    def recast(self, tensor, dtype, *, first):
        """Lets an input (first) come in another type than the nodes want, or an output go out as another than they give."""
        inside = f'{tensor}_inside'
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [inside if name == tensor else name for name in names]
        ends = (tensor, inside) if first else (inside, tensor)
        self.nodes.insert(0 if first else len(self.nodes), helper.make_node('Cast', [ends[0]], [ends[1]], to=KINDS[dtype]))

    def column(self, columns, position):
        return self.add('Gather', columns, self.constant(np.int64(position)), axis=2)


def graph(*, views=(), classes=False):
    """The nodes and constants of the model; its tensors have the names of the contract."""
    g = Graph([], [])
    none, zero, one = (g.constant(number) for number in (np.nan, 0.0, 1.0))
    axis_1, axis_2 = g.constant(np.int64([1])), g.constant(np.int64([2]))
    cast = lambda tensor, kind, **name: g.add('Cast', tensor, to=KINDS[kind], **name)  # noqa: E731

    missing = g.add('IsNaN', 'value')
    count, mean = g.column('state_mean', 0), g.column('state_mean', 1)
    warm = g.add('GreaterOrEqual', count, g.constant(float(WARMUP)))
    g.choose(warm, mean, none, name='expected')
    g.add('Sub', 'value', 'expected', name='deviation')
    reach = g.add('Unsqueeze', g.add('Mul', cast('threshold', 'float64'), g.constant(SCALE)), axis_1)
    g.add('Sub', 'expected', reach, name='lower')
    g.add('Add', 'expected', reach, name='upper')

    far = g.add('Div', g.add('Abs', 'deviation'), g.constant(SCALE))
    unjudged = g.add('IsNaN', far)
    far = g.choose(unjudged, zero, far)
    judged = g.add('Sub', one, cast(unjudged, 'float64'))
    any_judged = g.add('Greater', g.add('ReduceMax', judged, axis_1, keepdims=1), zero)
    surprise = g.choose(any_judged, g.add('ReduceMax', far, axis_1, keepdims=1), none)
    cast(g.add('Squeeze', surprise, axis_1), 'float32', name='surprise')
    total = g.add('ReduceSum', far, axis_1, keepdims=1)
    quiet = g.add('Equal', total, zero)
    evenly = g.add('Div', judged, g.add('Max', g.add('ReduceSum', judged, axis_1, keepdims=1), one))
    share = g.choose(quiet, evenly, g.add('Div', far, g.choose(quiet, one, total)))
    cast(g.choose(any_judged, share, none), 'float32', name='contribution')

    learns = g.add('Mul', g.add('Unsqueeze', cast('learn', 'float64'), axis_1), g.add('Sub', one, cast(missing, 'float64')))
    count_next = g.add('Add', count, learns)
    known = g.choose(missing, mean, 'value')
    moved = g.add('Mul', learns, g.add('Div', g.add('Sub', known, mean), g.add('Max', count_next, one)))
    columns = [g.add('Unsqueeze', name, axis_2) for name in (count_next, g.add('Add', mean, moved))]
    g.add('Concat', *columns, name='state_mean_next', axis=2)
    samples = g.add('ReduceMax', learns, axis_1, keepdims=1)
    g.add('Add', 'state_samples', cast(samples, 'float32'), name='state_samples_next')
    g.choose(g.add('Greater', learns, zero), 'value', g.column('season', 0), name='season_next')
    if views:
        above = g.add('Mul', share, cast(g.add('Greater', 'deviation', zero), 'float64'))
        above = g.choose(any_judged, g.add('ReduceSum', above, axis_1, keepdims=1), none)
        cast(g.add('Concat', above, g.add('Sub', one, above), axis=1), 'float32', name='view')
    if classes:
        big = cast(g.add('Greater', mean, g.constant(BIG)), 'int64')
        g.add('ReduceMax', big, axis_1, keepdims=0, name='class')
    return g


def reference(values, learn=None, threshold=None, season=None, *, views=(), classes=False):
    """What the model says of `values` (float64 [T, N, F]), a step at a time from blank memory: {output: [T, …]}, without states.

    learn, threshold  float32 [T, N], 1 and 2 if not given;  season  float64 [T, N, F, K], not known if not given
    """
    steps, rows, features = values.shape
    learn = np.ones((steps, rows)) if learn is None else learn
    threshold = np.full((steps, rows), 2.0) if threshold is None else threshold
    now = np.full(values.shape, np.nan) if season is None else season[..., 0]
    past = [[[] for _ in range(features)] for _ in range(rows)]
    out = {name: np.full(values.shape, np.nan) for name in ('expected', 'lower', 'upper', 'deviation', 'contribution', 'season_next')}
    out |= {'surprise': np.full((steps, rows), np.nan)}
    out |= {'view': np.full((steps, rows, 2), np.nan)} if views else {}
    out |= {'class': np.zeros((steps, rows), np.int64)} if classes else {}
    for t, i in np.ndindex(steps, rows):
        far = {}
        for f, (x, seen) in enumerate(zip(values[t, i], past[i], strict=True)):
            mean = np.mean(seen) if seen else 0.0
            if classes:
                out['class'][t, i] |= mean > BIG
            if len(seen) >= WARMUP:
                reach = threshold[t, i] * SCALE
                out['expected'][t, i, f], out['lower'][t, i, f], out['upper'][t, i, f] = mean, mean - reach, mean + reach
                out['deviation'][t, i, f] = x - mean
                if not np.isnan(x):
                    far[f] = abs(x - mean) / SCALE
            learns = learn[t, i] and not np.isnan(x)
            out['season_next'][t, i, f] = x if learns else now[t, i, f]
            if learns:
                seen.append(x)
        if far:
            total = sum(far.values())
            share = np.array([far.get(f, 0) / total if total else (f in far) / len(far) for f in range(features)])
            out['surprise'][t, i], out['contribution'][t, i] = max(far.values()), share
            if views:
                above = float(np.sum(share * (np.nan_to_num(out['deviation'][t, i]) > 0)))
                out['view'][t, i] = above, 1 - above
    return {name: array.astype(bundle.OUTPUTS[name][0]) for name, array in out.items()}


def samples(features=2, steps=12, rows=3):
    """Inputs worth a proof: three entities that wobble, with missing samples, a spike, and one that is judged without learning."""
    t, i, f = np.indices((steps, rows, features))
    values = 10.0 * (i + 1) + f + np.round(np.sin(t + i), 3)
    values[5, 0, 0] = values[7, 1, :] = np.nan
    values[9, 2, -1] += 40
    learn = np.ones((steps, rows), np.float32)
    learn[8:, 1] = 0
    season = np.stack([values - 1, values + 1], axis=-1)
    season[:4] = np.nan
    threshold = np.full((steps, rows), 2, np.float32)
    clock = np.zeros((steps, rows, 4), np.float32)
    return {'value': values, 'season': season, 'learn': learn, 'threshold': threshold, 'clock': clock}


def proven(*, features=2, views=(), classes=False, inputs=None, outputs=None):
    """The proof that `reference` gives; `inputs` and `outputs` are laid over it, None in them takes an array away."""
    given = samples(features)
    said = reference(*(given[name] for name in ('value', 'learn', 'threshold', 'season')), views=views, classes=classes)
    laid = lambda arrays, over: {  # noqa: E731 (used twice below)
        name: bundle.Array.of(array) for name, array in (arrays | (over or {})).items() if array is not None
    }
    case = bundle.Case(step_seconds=60, inputs=laid(given, inputs), outputs=laid(said, outputs))
    return bundle.Proof(relative_tolerance=1e-6, absolute_tolerance=1e-9, reason='float32 outputs have a grain of 6e-8', cases=(case,))


def tensors(*, features=None, views=(), classes=False):
    """What the runtime is to say of the graph: (inputs, outputs), lists of bundle.Tensor."""
    sizes = {'N': 'N', 'F': 'F' if features is None else len(features), 'K': 2, 'V': len(views), '3': 3, '4': 4}
    shaped = lambda table, names: [  # noqa: E731 (used twice below)
        bundle.Tensor(name, table[name][0], tuple(sizes[axis] for axis in table[name][1])) for name in names
    ]
    states = [bundle.Tensor('state_mean', 'float64', ('N', sizes['F'], 2)), bundle.Tensor('state_samples', 'float32', ('N', 1))]
    left_out = ('forecast', 'table_next', 'usual_lower', 'usual_upper', 'recurring')
    optional = {'view': views, 'class': classes, **dict.fromkeys(left_out, False)}
    inputs = [name for name in bundle.INPUTS if name not in ('table', 'local_seconds')]
    outputs = [name for name in bundle.OUTPUTS if optional.get(name, True)]
    return (
        shaped(bundle.INPUTS, inputs) + states,
        shaped(bundle.OUTPUTS, outputs) + [bundle.Tensor(state.name + '_next', state.dtype, state.shape) for state in states],
    )


def metadata(*, features=None, views=(), classes=False, manifest=None, calibration=CALIBRATION, proof=None):
    """The metadata of the file: {key: text}. `manifest` names the fields to be replaced."""
    replaced = {'features': features, 'views': views, **(manifest or {})}
    whole = msgspec.structs.replace(MANIFEST, **replaced)
    if classes and calibration is CALIBRATION:
        calibration = msgspec.structs.replace(CALIBRATION, rows=(ROW, msgspec.structs.replace(ROW, klass=1)))
    return bundle.metadata(whole, calibration, proof or proven(features=len(features or 'ab'), views=views, classes=classes))


def build(*, retype=None, reshape=None, without=(), extra=(), edit=lambda metadata: metadata, **options):
    """The bytes of the file.

    features             None for any number, or a tuple of names
    views, classes       whether the optional outputs are there: two names, a boolean
    retype, reshape      {tensor: dtype}, {tensor: axes}: declared, and cast, in place of what the contract says
    without, extra       names of outputs that are left out;  (input or output, bundle.Tensor) that are added
    manifest, calibration, proof, edit   see `metadata`; `edit` gets the finished dict of texts and returns another
    """
    shape = {name: options[name] for name in ('features', 'views', 'classes') if name in options}
    inputs, outputs = tensors(**shape)
    g = graph(**{name: value for name, value in shape.items() if name != 'features'})
    retype, reshape = retype or {}, reshape or {}
    for tensor in inputs:
        if tensor.name in retype:
            g.recast(tensor.name, tensor.dtype, first=True)
    for tensor in outputs:
        if tensor.name in retype:
            g.recast(tensor.name, retype[tensor.name], first=False)
    for side, tensor in extra:
        if side == 'output':
            g.add('Identity', 'surprise', name=tensor.name)
        (inputs if side == 'input' else outputs).append(tensor)

    def declared(tensor):
        kind = KINDS[retype.get(tensor.name, tensor.dtype)]
        return helper.make_tensor_value_info(tensor.name, kind, reshape.get(tensor.name, tensor.shape))

    kept = [tensor for tensor in outputs if tensor.name not in without]
    made = helper.make_graph(g.nodes, 'tiny', list(map(declared, inputs)), list(map(declared, kept)), g.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid('', 18)], ir_version=9, producer_name='tests')
    helper.set_model_props(model, edit(metadata(**{name: value for name, value in options.items() if value is not None})))
    return digest.appended(model.SerializeToString(deterministic=True))


def write(path, **options):
    """Writes the file (options as of `build`) and returns its path."""
    path = Path(path)
    path.write_bytes(build(**options))
    return path


if __name__ == '__main__':  # PYTHONPATH=. python tests/support/tiny_model.py tests/golden/tiny-2.onnx
    whole = write(sys.argv[1], views=('above', 'below'), classes=True)
    onnx.checker.check_model(onnx.load(whole), full_check=True)
