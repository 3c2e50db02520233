"""The demo: a fleet with injected faults behind an embedded Prometheus-compatible API. Tests and benchmarks use its source as well.

    fleet      telemetry as a function of seed and time, with injected faults
    shop       services in tiers, with faults that travel along their dependencies
    estate     both of them, as the demo watches them
    source     the HTTP API over that telemetry
    answers    what the API answers, and what can go wrong with it
    scraped    our own gauges in that API, as if it scraped the exporter
    scoring    which faults were found, and which alarms were false
    spreading  what the incidents say of faults that spread
    display    the live table, the event lines and the summary
    run        `promlstm demo`
"""

__all__ = ['answers', 'display', 'estate', 'fleet', 'run', 'scoring', 'scraped', 'shop', 'source', 'spreading']
