"""promlstm with another clock: `python tests/torture/shifted.py OFFSET run …`, where the file OFFSET holds seconds to add to the time.

Only the wall clock is moved, at its one source in Python, so that waits keep their length, as they do where a clock is set. (libfaketime does
the same from outside and slows the arithmetic of ONNX Runtime down tenfold.)
"""

import os
import runpy
import sys
import time


def shifted(path, wall):
    """`time.time` with the offset that stands in a file at each look."""
    read = {'at': None, 'seconds': 0.0}

    def now():
        changed = os.stat(path).st_mtime_ns
        if changed != read['at']:
            with open(path) as file:
                read['seconds'] = float(file.read() or read['seconds'])  # it may be empty while it is being written
            read['at'] = changed
        return wall() + read['seconds']

    return now


if __name__ == '__main__':
    time.time = shifted(sys.argv.pop(1), time.time)  # before anything of promlstm takes a reference to it
    runpy.run_module('promlstm', run_name='__main__')
