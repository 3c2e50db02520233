"""A model file's rule without its LSTM, as a model file: what the network is compared with.

The rule comes from the code of the family, not out of the file. So a file that was made by another version of its family has none.
Who calls it: convert.benchmark. Needs TensorFlow.
"""

import msgspec

from convert.errors import ConvertError
from convert.families.registry import FAMILIES
from convert.stages import WITHOUT_LSTM, rule


class NoRule(ConvertError):
    """A model has no rule without its LSTM, and why."""


def make(bundle, path):
    """Write the rule of a bundle.Bundle without its LSTM to a path and return its Session; NoRule where there is none."""
    manifest = bundle.manifest
    if manifest.family not in WITHOUT_LSTM:
        raise NoRule(f'the family {manifest.family} is nothing without its LSTM')
    family = FAMILIES[manifest.family]
    if differs := _difference(bundle, family.form(None, family.units)):
        raise NoRule(f'the file was made by another version of the family {manifest.family}: other {differs}')
    return rule(msgspec.structs.replace(manifest, name=f'{manifest.name}_without_lstm', evaluation={}), path)


def _difference(bundle, form):
    """What of a file's tensors the code of its family has otherwise; '' where they agree. The LSTM's state has any size."""
    manifest = bundle.manifest
    ours = {name: width for name, (_, width) in form.states.items() if name != 'lstm'}
    theirs = {name.removeprefix('state_'): tensor.shape[-1] for name, tensor in bundle.states.items() if name != 'state_lstm'}
    parts = {
        'states': ours == theirs, 'views': tuple(form.views) == tuple(manifest.views), 'tables': tuple(form.tables) == tuple(manifest.tables),
        'horizons': tuple(form.season_horizons_steps) == tuple(manifest.season_horizons_steps),
    }  # fmt: skip
    return ', '.join(name for name, same in parts.items() if not same)
