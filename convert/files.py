"""Files that appear whole or not at all, and digests of what is on disk.

Who calls it: every part of convert that writes a result. It knows no format.
"""

import contextlib
import hashlib
import os
from pathlib import Path

DRAFT = '.draft.'       # begins the name of a file that is being written


@contextlib.contextmanager
def atomically(path):
    """A draft to write to; it takes the place of `path` when it is whole and on disk, and is removed where anything fails.

    The draft keeps the suffix, by which libraries choose a format. A process that is killed leaves its draft behind.
    """
    path = Path(path)
    draft = path.with_name(f'{DRAFT}{path.name}')
    try:
        yield draft
        with open(draft, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder):
    """Make sure that the names in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path):
    """sha256 of a file, or of the names and contents of all files in a folder; '' where there is nothing."""
    path = Path(path)
    if path.is_dir():
        lines = (f'{file.relative_to(path)} {digest(file)}\n' for file in sorted(path.rglob('*')) if file.is_file())
        return hashlib.sha256(''.join(lines).encode()).hexdigest()
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except FileNotFoundError:
        return ''
