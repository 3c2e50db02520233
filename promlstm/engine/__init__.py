"""One step of a detector: columns in, columns out. It knows no HTTP, no text format and no clock of its own.

    columns    the two values that flow: Frame and Verdicts
    interfaces what the engine expects from outside: source, configuration
    bundle     the model contract: what a model file holds
    manifest   its part about the model itself
    tensors    its part about the inputs and outputs of the graph
    proof      its part about the numbers that the graph must give
    wire       what the bytes of a model file may be
    digest     whether a model file is what was released
    session    a model file in ONNX Runtime
    trial      the first load of a model file, in a process of its own
    budget     which budgets of false alarms a detector can have
    labels     the identity of a series
    entities   which row belongs to which series
    presence   at which times of the day an entity is there
    season     the seasonal memory
    tables     tables of the time of day
    recent     what forecasts need beside it: the last day and the last eight days
    score      surprise to score; policy
    latch      a lasting shift stays an alarm
    tolerance  alarms of a noisy entity raise its threshold for some days
    memory     everything that is carried from step to step
    snapshot   all of it at one instant, as columns by name
    history    the past, frame by frame
    advance    one step as a pure function: what it judges and what it leaves to remember
    tally      what a detector counts beside its verdicts
    detector   the order of the stages; the caller commits
"""

__all__ = [
    'advance', 'budget', 'bundle', 'columns', 'detector', 'digest', 'entities', 'history', 'interfaces', 'labels', 'latch', 'manifest', 'memory',
    'presence', 'proof', 'recent', 'score', 'season', 'session', 'snapshot', 'tables', 'tally', 'tensors', 'tolerance', 'trial', 'wire',
]  # fmt: skip
