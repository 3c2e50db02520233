"""One process at a time in a folder: a lock that ends with the process that holds it, however that ends.

Who calls it: the command line (work folder) and data.store (folder of telemetry).
"""

import contextlib
import fcntl
import os
from pathlib import Path

from convert import files
from convert.errors import ConvertError

FILE = '.lock'


class LockError(ConvertError):
    """Another process works in the folder, or its file system has no locks."""


@contextlib.contextmanager
def held(folder):
    """Hold the lock of a folder, which is made if need be; LockError where another process holds it, WriteError where it cannot be written."""
    folder = Path(folder)
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / FILE).open('a+')
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            who = handle.read(40).strip()
            named = f' (process {who})' if who.isdigit() else ''
            raise LockError(f'{folder}: another process is writing here{named}: wait until it ends, or name another folder') from error
        except OSError as error:
            raise LockError(f'{folder}: cannot be locked: {error.strerror}: name a folder on another file system') from error
        with files.writing(folder):
            handle.truncate(0)
            handle.write(f'{os.getpid()}\n')
            handle.flush()
        yield
