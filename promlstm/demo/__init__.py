"""The demo: a fleet with injected faults behind an embedded Prometheus-compatible API. Tests and benchmarks use its source as well.

    fleet     telemetry as a function of seed and time, with injected faults
    shop      services in tiers, with faults that travel along their dependencies
    source    the HTTP API over that telemetry
    answers   what the API answers, and what can go wrong with it
    scoring   which faults were found, and which alarms were false
    display   the live table, the event lines and the summary
    run       `promlstm demo`
"""

__all__ = ['answers', 'display', 'fleet', 'run', 'scoring', 'shop', 'source']
