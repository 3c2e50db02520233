"""The weights of a network on disk: an HDF5 file that is made in memory, so that a full disk is an error and not the end of the process.

HDF5 keeps a file open that it could not write, and the interpreter dies when it closes it. So nothing of HDF5 ever writes to a path.

    /0, /1, …       the arrays of network.get_weights(), in that order
"""

import io

import h5py

from convert import files
from convert.errors import ConvertError

FORMAT = 2              # 1: the layout of Keras itself


class WeightsError(ConvertError):
    """A file of weights is damaged, or of another network."""


def save(network, path):
    """Write the weights of a network; WriteError where the disk does not take them."""
    memory = io.BytesIO()
    with h5py.File(memory, 'w') as file:
        for number, array in enumerate(network.get_weights()):
            file.create_dataset(str(number), data=array)
    with files.atomically(path) as draft:
        draft.write_bytes(memory.getvalue())


def load(network, path):
    """Give a network its weights; WeightsError where the file does not fit it."""
    try:
        with h5py.File(io.BytesIO(path.read_bytes()), 'r') as file:
            network.set_weights([file[str(number)][()] for number in range(len(file))])
    except (OSError, KeyError, ValueError, TypeError) as error:
        why = 'is damaged, or of another network than the recipe names (its family, window or units have changed)'
        raise WeightsError(f'{path} {why}: run train again') from error
