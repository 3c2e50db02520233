"""Incidents: alarms that belong together, and which of them is to blame. It asks nobody, has no thread, and knows no clock.

    edges      which queries tell of edges, and what their answers mean
    graph      what depends on what
    learnt     edges that were learnt from history, in a file
    kinds      what kind of series a name speaks of: cause-like or effect-like
    ranking    evidence and dependencies to the probability of being the cause
    rises      what a score was before it rose, and which rise without an alarm
    words      the evidence for one thing in words
    lookback   how far back an expression looks
    members    alarms as columns
    grouping   which of them belong together
    spans      incidents as columns
    record     all of it as columns by name, and the way back
    view       all of it as of an instant
    leaning    entities that rose lately without an alarm
    table      the incidents of all detectors
    blame      evidence and edges made of the members of an incident, ranked
    listing    incidents as people read them
    surroundings  the graph around the names of one of them
"""

__all__ = [
    'blame', 'edges', 'graph', 'grouping', 'kinds', 'leaning', 'learnt', 'listing', 'lookback', 'members', 'ranking', 'record', 'rises', 'spans',
    'surroundings', 'table', 'view', 'words',
]  # fmt: skip
