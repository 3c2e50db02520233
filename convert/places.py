"""The places that a command reads from and writes to, looked at before anything takes minutes.

Who calls it: the command line. Each function raises a ConvertError with the path and what was expected.
"""

from pathlib import Path

from convert import files
from convert.data import labelled
from convert.errors import ConvertError


class PlaceError(ConvertError):
    """A file or folder that a command was given is not there, or is of another kind."""


def to_write(path):
    """Check that a file can be written at a path; folders above it are made. Its own name may be taken by a file, which is replaced at the end."""
    path = Path(path)
    if path.is_dir():
        raise PlaceError(f'{path}: is a folder, expected the name of a file to write')
    files.folder(path.parent)


def labelled_sets(folder, only=()):
    """Check labelled telemetry, DIR/SET/ENTITY.npz, as a whole, or only the sets of these names; None = there is none."""
    if folder:
        labelled.check(folder, only)


def to_read(path):
    """Check that there is a file or folder."""
    if not Path(path).exists():
        raise PlaceError(f'{path}: no such file')
