"""How a worker process of the benchmark begins: before it imports anything of the benchmark, which needs TensorFlow."""

import signal

from convert import tensorflow_import


def begin():
    """Ctrl-C reaches the whole group; only the first process answers it, and then ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tensorflow_import.load()
