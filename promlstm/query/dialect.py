"""What differs between the query APIs that answer in Prometheus' format: paths, what they take, how they refuse. Pure.

Who calls it: prometheus, for each query. What flows through: the kind of a source; out comes its Dialect.

    prometheus    https://prometheus.io/docs/prometheus/latest/querying/api/, and what Thanos, Mimir, Cortex and VictoriaMetrics make of it
    loki          https://grafana.com/docs/loki/latest/reference/loki-http-api/: a time with a point is in seconds; errors are plain text
    victorialogs  https://docs.victoriametrics.com/victorialogs/querying/#querying-log-stats: see victorialogs.py for the windows
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the servers of a kind are asked.

    instant, ranged     paths below the URL
    build               path of what the server says of itself; '' = it does not say
    keeps               path that says how long samples are kept; '' = it does not say
    probe               an expression that needs no data
    takes_timeout       it knows the parameter `timeout`
    refuses_in_text     a wrong expression is answered with 400 and plain text
    windowed            values are of a window of time that the question gives, not the expression
    """

    instant: str
    ranged: str
    build: str = ''
    keeps: str = ''
    probe: str = 'vector(1)'
    takes_timeout: bool = True
    refuses_in_text: bool = False
    windowed: bool = False


DIALECTS = {
    'prometheus': Dialect('api/v1/query', 'api/v1/query_range', build='api/v1/status/buildinfo', keeps='api/v1/status/runtimeinfo'),
    'loki': Dialect(
        'loki/api/v1/query', 'loki/api/v1/query_range', build='loki/api/v1/status/buildinfo', takes_timeout=False, refuses_in_text=True
    ),
    'victorialogs': Dialect(
        'select/logsql/stats_query', 'select/logsql/stats_query_range', probe='{promlstm="probe"} | stats count() probe', windowed=True
    ),
}
