"""Threads and time: each detector runs in a thread, at instants that are multiples of its step.

    clock       the time of a detector, and waiting for it
    runner      one detector: warm up, step, commit, publish
    scheduler   all detectors of a configuration
"""

__all__ = ['clock', 'runner', 'scheduler']
