"""Files that appear whole or not at all, and digests of what lies on disk.

Who calls it: every part of convert that writes a result. It knows no format.
"""

import contextlib
import hashlib
import os
from pathlib import Path


@contextlib.contextmanager
def atomically(path):
    """A path to write to; it gets its name when all is written and on disk, and is removed where anything fails.

    The draft keeps the suffix, by which libraries choose a format.
    """
    path = Path(path)
    draft = path.with_name(f'.draft.{path.name}')
    try:
        yield draft
        with open(draft, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
        synced(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def synced(folder):
    """Have a folder's names on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path):
    """sha256 of a file, or of all files of a folder by name; '' where there is nothing."""
    path = Path(path)
    if path.is_dir():
        return hashlib.sha256(b''.join(f'{p.relative_to(path)} {digest(p)}\n'.encode() for p in sorted(path.rglob('*')) if p.is_file())).hexdigest()
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except FileNotFoundError:
        return ''
