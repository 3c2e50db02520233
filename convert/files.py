"""Files that appear whole or not at all, what to do where they cannot be written, and digests of what is on disk.

Who calls it: every part of convert that writes a result. It knows no format.
"""

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from convert.errors import ConvertError

DRAFT = '.draft.'       # begins the name of a file that is being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)      # that only writing can meet
REMEDIES = {
    errno.ENOSPC: 'free some space',
    errno.EDQUOT: 'free some space: the quota is used up',
    errno.EFBIG: 'raise the limit on the size of files (ulimit -f)',
    errno.EROFS: 'name a place that can be written to',
    errno.EACCES: 'name a place that this user may write to',
    errno.EPERM: 'name a place that this user may write to',
    errno.ENOTDIR: 'a file is where a folder is expected: name another place',
    errno.EEXIST: 'a file or a dangling link is where a folder is expected: name another place',
    errno.EISDIR: 'a folder is where a file is expected: name another place',
    errno.ENOENT: 'a folder above it is missing, or a link to one dangles: name another place',
}


class WriteError(ConvertError):
    """A file or folder cannot be written: the message has its path, the disk's reason and what to do."""


@contextlib.contextmanager
def writing(path):
    """Turn an OSError in this block into a WriteError about a path."""
    try:
        yield
    except OSError as error:
        raise WriteError(f'{path}: cannot be written: {reason(error)}') from error


def reason(error):
    """Why an OSError happened and what to do, without the path.

    >>> reason(OSError(errno.ENOSPC, 'No space left on device'))
    'No space left on device; what was there before is whole: free some space, then run the same command again'
    """
    kept = '' if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT) else '; what was there before is whole'
    text = f'{error.strerror or error}{kept}'
    remedy = REMEDIES.get(error.errno)
    again = ', then run the same command again' if error.errno in FULL[:3] else ''
    return f'{text}: {remedy}{again}' if remedy else text


@contextlib.contextmanager
def atomically(path):
    """A draft to write to; it takes the place of `path` when it is whole and on disk, and is removed where anything fails.

    The draft keeps the suffix, by which libraries choose a format. A process that is killed leaves its draft behind (see `clean`).
    raises WriteError for any OSError in the block or afterwards
    """
    path = Path(path)
    draft = path.with_name(f'{DRAFT}{path.name}')
    with writing(path):
        try:
            yield draft
            with open(draft, 'rb') as file:
                os.fsync(file.fileno())
            os.replace(draft, path)
            _sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):      # where nothing can be written there is nothing to remove
                draft.unlink(missing_ok=True)


def folder(path):
    """Make a folder, with those above it, and check that a file can be written into it; WriteError where not."""
    path = Path(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    probe = path / f'{DRAFT}probe'
    with writing(path):
        try:
            probe.write_bytes(bytes(64))
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)


def clean(folder):
    """Remove the drafts of a killed run; only for the process that holds the lock of the folder."""
    for draft in Path(folder).glob(f'{DRAFT}*'):
        with writing(draft):
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
