"""Threads and time: one aligned clock per detector.

    clock       the time of a detector, and waiting for it
    runner      one detector on its clock: warm up, step, commit, publish
    scheduler   all detectors of a configuration
"""

__all__ = ['clock', 'runner', 'scheduler']
