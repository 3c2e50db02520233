"""A Keras model that was trained elsewhere, read as data: what can be wrapped, and why the rest cannot.

It takes a `.keras` file or a SavedModel folder with one input [batch, window, features] and one output (wrap.py says which). No code in the
model's file is run: no pickle, no Lambda, no class that is not Keras' own; of a SavedModel, which is a program, no operation that reads or
writes anything but tensors.

Who calls it: the command `wrap`. Out goes an ExternalModel, or a WrapError with the reason.
"""

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import msgspec
import numpy as np
import tensorflow as tf
import yaml

from convert.errors import ConvertError
from convert.families import window
from convert.families.registry import Form
from promlstm import strict_yaml

OUTPUTS = {'probability': 'classifier', 'reconstruction': 'autoencoder', 'forecast': 'forecaster'}      # output: family
FORBIDDEN = ('PyFunc', 'PyFuncStateless', 'EagerPyFunc', 'ReadFile', 'WriteFile', 'MatchingFiles', 'LoadDataset', 'SaveDataset', 'DebugIdentityV2')
RECURRENT = ('GRU', 'SimpleRNN', 'RNN', 'ConvLSTM1D', 'ConvLSTM2D')


class WrapError(ConvertError):
    """The model cannot be wrapped: the message says why."""


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one feature was scaled in training: (x - mean) / std, or (x - min) / (max - min)."""

    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None

    @property
    def shift(self):
        """What is subtracted."""
        return self.min if self.mean is None else self.mean

    @property
    def factor(self):
        """What it is then divided by."""
        return self.max - self.min if self.mean is None else self.std

    @property
    def usual(self):
        """(centre, spread) of the values that it was trained on, in the user's unit."""
        return (self.mean, self.std) if self.min is None else ((self.min + self.max) / 2, (self.max - self.min) / 6)


@dataclass(frozen=True)
class ExternalModel:
    """A model that can be wrapped.

    call      float32 [B, W, F] -> its output, a function of TensorFlow
    output    key of OUTPUTS
    scaling   {feature: Scale}, in the order of the model's features
    """

    source: Path
    call: object
    output: str
    width: int
    scaling: dict

    @property
    def form(self):
        """The Form of its graph."""
        centre, spread = (np.array(each) for each in zip(*(scale.usual for scale in self.scaling.values()), strict=True))
        states = {'count': ('float32', 1), 'error': ('float32', 2), 'ring': ('float32', self.width)}
        inputs = ('value', 'step_seconds', 'learn', 'threshold')
        if self.output == 'probability':
            states.pop('error')
            inputs = ('value',)
        return Form(
            states=states, warmup_steps=self.width + (0 if self.output == 'probability' else window.ERRORS), lstms=None, wheres=1,
            features=tuple(self.scaling), inputs=inputs, season_period_seconds=0, season_slots=0, season_horizons_steps=(),
            unit=(centre - 5 * spread, spread / 2),         # what verify.telemetry calls 10 is the centre
        )  # fmt: skip


def scaling(text, source='the scaling'):
    """{feature: Scale} of YAML such as `cpu: {mean: 0.4, std: 0.1}`; WrapError says what is wrong with it."""
    try:
        scales = msgspec.convert(strict_yaml.load(text), dict[str, Scale])
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise WrapError(f'{source}: {" ".join(str(error).split())}') from error
    for name, scale in scales.items():
        given = {key for key in scale.__struct_fields__ if getattr(scale, key) is not None}
        if given not in ({'mean', 'std'}, {'min', 'max'}):
            raise WrapError(f'{source}: {name}: got {", ".join(sorted(given)) or "nothing"}, expected mean and std, or min and max')
        if not (np.isfinite(scale.shift) and np.isfinite(scale.factor) and scale.factor > 0):
            raise WrapError(f'{source}: {name}: got {scale.shift:g} and {scale.factor:g}, expected finite numbers and a spread above 0')
    if not scales:
        raise WrapError(f'{source}: no feature, expected one line for each, in the order of the model')
    return scales


REMEDY = (
    'one LSTM layer or more has to become an LSTM operator in ONNX; a Keras LSTM does, with activation tanh and recurrent_activation sigmoid, '
    'without a mask: train the model so'
)


def read(path, scaling, *, output=None, width=None):
    """An ExternalModel; WrapError with the reason where a model cannot be wrapped.

    output  key of OUTPUTS; None: by the shape of the output
    width   steps of the window, where the model takes any number
    """
    path = Path(path)
    call, input_shape, output_shape, sigmoid = _saved(path) if path.is_dir() else _keras(path)
    width = _width(path, input_shape, width, len(scaling))
    output = _output(path, output_shape, output, width, len(scaling), sigmoid)
    return ExternalModel(path, call, output, width, scaling)


def _keras(path):
    """(call, input shape, output shape, whether the last activation is a sigmoid) of a .keras file."""
    _check_archive(path)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises classes of many kinds for a file that it cannot read
        raise WrapError(f'{path}: Keras cannot read it: {" ".join(str(error).split())[:300]}') from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise WrapError(f'{path}: {len(model.inputs)} inputs and {len(model.outputs)} outputs, expected one of each')
    _check_layers(path, model)
    for weight in model.weights:
        if not np.isfinite(weight.numpy()).all():
            raise WrapError(f'{path}: weight {weight.path} is not finite: training has diverged')
    last = getattr(model.layers[-1], 'activation', None)
    return functools.partial(model, training=False), tuple(model.inputs[0].shape), tuple(model.outputs[0].shape), last is keras.activations.sigmoid


def _check_layers(path, model):
    """Refuse what does not become one LSTM operator in ONNX, by the name of the layer; switch off dropout, which only training has."""
    for layer in model._flatten_layers():
        kind = type(layer).__name__
        if kind in RECURRENT:
            raise WrapError(f'{path}: layer {layer.name} is a {kind}, which does not become one operator in ONNX: train it with LSTM')
        if getattr(layer, 'stateful', False):
            raise WrapError(f'{path}: layer {layer.name} is stateful: its memory would pass from one entity to another; save it with stateful=False')
        if kind == 'Masking' or getattr(layer, 'mask_zero', False):
            raise WrapError(f'{path}: layer {layer.name} masks samples, which makes a loop of the LSTM: train it without; promlstm handles missing samples')
        if isinstance(layer, keras.layers.LSTM):
            if layer.recurrent_activation is not keras.activations.sigmoid:
                gates = keras.activations.serialize(layer.recurrent_activation)
                raise WrapError(f'{path}: layer {layer.name} has recurrent_activation {gates}, which makes a loop of it in ONNX: train it with sigmoid')
            # With recurrent dropout Keras multiplies gate by gate (implementation 1), which no converter takes for an LSTM.
            layer.cell.dropout, layer.cell.recurrent_dropout, layer.cell.implementation = 0.0, 0.0, 2


def _check_archive(path):
    """Check a .keras archive before anything of it is built: every class is Keras' own, and no Lambda."""
    if path.suffix != '.keras' or not zipfile.is_zipfile(path):
        raise WrapError(f'{path}: not a .keras file nor a SavedModel folder (of an .h5 file: load it where it was made and save it as .keras)')
    with zipfile.ZipFile(path) as archive:
        if 'config.json' not in archive.namelist():
            raise WrapError(f'{path}: no config.json in it: not a .keras file')
        config = msgspec.json.decode(archive.read('config.json'))
    for part in _parts(config):
        name, module = part.get('class_name'), part.get('module') or 'keras'
        if name == 'Lambda':
            raise WrapError(f'{path}: a Lambda layer is code, which is not run: replace it by layers of Keras')
        if name in ('function', '__lambda__') or part.get('registered_name') not in (None, name) or str(module).split('.')[0] not in ('keras', 'builtins'):
            raise WrapError(f'{path}: {part.get("registered_name") or name} of {module} is not a class of Keras: it would run foreign code')


def _parts(config):
    """Every object in a Keras configuration that names a class."""
    if isinstance(config, dict):
        if 'class_name' in config:
            yield config
        for each in config.values():
            yield from _parts(each)
    elif isinstance(config, list):
        for each in config:
            yield from _parts(each)


def _saved(path):
    """As `_keras`, of a SavedModel folder."""
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        program = saved_model_pb2.SavedModel.FromString((path / 'saved_model.pb').read_bytes())
    except Exception as error:  # no file, or protobuf's own DecodeError
        raise WrapError(f'{path}: no SavedModel: {" ".join(str(error).split())}') from error
    for graph in (each.graph_def for each in program.meta_graphs):
        for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
            if node.op in FORBIDDEN:
                raise WrapError(f'{path}: operation {node.op} reads or writes more than tensors: it is not run')
    loaded = tf.saved_model.load(str(path))
    if 'serving_default' not in loaded.signatures:
        raise WrapError(f'{path}: signatures {sorted(loaded.signatures)}, expected serving_default')
    function = loaded.signatures['serving_default']
    taken, given = function.structured_input_signature[1], function.structured_outputs
    if len(taken) != 1 or len(given) != 1:
        raise WrapError(f'{path}: {len(taken)} inputs and {len(given)} outputs, expected one of each')
    (name, spec), (result, out) = *taken.items(), *given.items()
    if not all(np.isfinite(variable.numpy()).all() for variable in function.variables):
        raise WrapError(f'{path}: a weight is not finite: training has diverged')

    def call(windows):
        return function(**{name: windows})[result]

    call.model = loaded         # keeps its variables alive
    return call, tuple(spec.shape), tuple(out.shape), False


def _width(path, taken, width, features):
    if len(taken) != 3:
        raise WrapError(f'{path}: its input is {_shape(taken)}, expected [batch, window, features]')
    if taken[2] != features:
        raise WrapError(f'{path}: it takes {taken[2]} features, the scaling has {features}')
    if taken[1] is None and width is None:
        raise WrapError(f'{path}: it takes windows of any length: choose one with --window')
    if None not in (taken[1], width) and taken[1] != width:
        raise WrapError(f'{path}: it takes windows of {taken[1]} steps, not {width}')
    width = taken[1] or width
    if width < 2:
        raise WrapError(f'{path}: its window has {width} steps, expected 2 or more')
    return int(width)


def _output(path, given, output, width, features, probable):
    """The kind of output by its shape; WrapError where it is none or more than one."""
    fits = {
        'probability': given in ((None,), (None, 1)), 'reconstruction': len(given) == 3 and given[1] in (None, width) and given[2] == features,
        'forecast': given == (None, features) or (features == 1 and given == (None,)),
    }  # fmt: skip
    found = [name for name, does in fits.items() if does]
    if output and output not in found:
        raise WrapError(f'{path}: its output is {_shape(given)}, which is no {output} for a window of {width} steps of {features} features')
    if output or len(found) == 1:
        return output or found[0]
    if 'probability' in found and probable:
        return 'probability'
    if found:
        raise WrapError(f'{path}: its output is {_shape(given)}, which may be {" or ".join(found)}: choose one with --output')
    raise WrapError(
        f'{path}: its output is {_shape(given)}, expected a probability [batch, 1], a reconstruction [batch, {width}, {features}] '
        f'or a forecast of the next step [batch, {features}]'
    )


def _shape(shape):
    return '[' + ', '.join(str(size or '?') for size in shape) + ']'
