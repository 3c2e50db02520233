"""Threads and time: each detector runs in a thread, at instants that are multiples of its step.

    clock       the time of a detector, and waiting for it
    status      what a detector says of itself
    facts       what is known of the server beside its samples: its clock, how long it keeps them
    dependencies  what depends on what, asked again and again
    feedback    silences that say what is a false alarm
    models      model files as they are now, read beside the steps
    checkpoint  a file with the memory of a detector
    storage     the folder of these files
    incidents   what alarms of all detectors belong together, beside the steps
    heap        the heap of this process: what a step has freed goes back to the system
    relay       what a runner says, passed on while its detector is its own
    report      what is said of a detector: telemetry, status, log lines
    reload      the configuration file, read again
    shards      the part of a configuration that one of several processes runs
    runner      one detector: warm up, step, commit, publish
    scheduler   all detectors of a configuration
"""

__all__ = [
    'checkpoint', 'clock', 'dependencies', 'facts', 'feedback', 'heap', 'incidents', 'models', 'relay', 'reload', 'report', 'runner', 'scheduler',
    'shards', 'status', 'storage',
]  # fmt: skip
