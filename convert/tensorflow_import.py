"""Import TensorFlow without the lines that it prints to standard error before anybody can tell it not to.

Who calls it: the command line, before it imports what needs TensorFlow, and worker processes as they start.
"""

import os
import shutil
import sys
import tempfile


def load():
    """Import keras and TensorFlow; ModuleNotFoundError where the extra `train` is not installed.

    What they print, from C++ and so past sys.stderr, is shown only where the import fails.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except BaseException:
            said.seek(0)
            with os.fdopen(os.dup(before), 'wb') as stderr:
                shutil.copyfileobj(said, stderr)
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
