"""What kind of series a name speaks of: a resource that runs out, errors, latency, traffic. Read from names alone, for nothing else is there.

Who calls it: the incident table, once for each feature of a detector, and the ranking, which trusts cause-like kinds more. The words are
those of Prometheus's naming conventions, of the exporters most used and of the "golden signals" (Beyer et al., Site Reliability Engineering,
2016, chapter 6). A name that says nothing is OTHER, which counts little and excludes nothing.
"""

import re

import numpy as np

OTHER, SATURATION, HEADROOM, ERRORS, SUCCESS, RESTARTS, LATENCY, TRAFFIC = range(8)
NAMES = ('other', 'saturation', 'headroom', 'errors', 'success', 'restarts', 'latency', 'traffic')

# The direction of harm: +1 above, -1 below what is expected, 0 either.
HARM = np.array([0, 1, -1, 1, -1, 1, 1, 0], np.int8)
# Kinds that say the same the other way round belong together.
FAMILY = np.array([OTHER, SATURATION, SATURATION, ERRORS, ERRORS, RESTARTS, LATENCY, TRAFFIC], np.int8)

# The first that matches counts: "failed requests" are errors, "request duration" is latency, "requests" is traffic.
_WORDS: tuple[tuple[int, str], ...] = (
    (RESTARTS, r'restart\w*|oom|oomkill\w*|evict\w*|crash\w*|reboot\w*|boot|start time'),
    (ERRORS, r'err|error\w*|fail\w*|exception\w*|5xx|4xx|5 x x|drop\w*|retrans\w*|reject\w*|refused|timeout\w*|abort\w*|panic\w*|fatal|unavailab\w*'),
    (SUCCESS, r'availability|success\w*|up|ready|healthy|sli'),
    (LATENCY, r'latenc\w*|duration\w*|response time|delay\w*|lag|rtt|ping|quantile|p50|p9\d|p99\d|wait time|queue time|slow\w*'),
    (HEADROOM, r'free|avail|available|idle|remaining|headroom'),
    (
        SATURATION,
        r'cpu|mem|memory|heap|rss|working set|disk|filesystem|inode\w*|usage|utili[sz]ation|used|busy|saturation|load\d*|queue\w*|backlog|'
        r'pending|pressure|stalled|throttl\w*|connections|pool|threads|goroutines|swap|fds|file descriptors|gc|iowait|steal|full',
    ),
    (TRAFFIC, r'request\w*|rps|qps|throughput|traffic|rate|messages?|packets?|bytes|calls?|hits|queries|receive\w*|transmit\w*|sent|count|volume|visits'),
    (LATENCY, r'seconds|ms|milliseconds'),
)
_KINDS = tuple((kind, re.compile(rf'\b(?:{words})\b')) for kind, words in _WORDS)
_INVERSE = {HEADROOM: SATURATION, SUCCESS: ERRORS}
_CAMEL = re.compile(r'(?<=[a-z0-9])(?=[A-Z])')
_SEPARATOR = re.compile(r'[^a-zA-Z0-9]+')
_FUNCTION = re.compile(r'\b(?:rate|irate|increase|delta|count|sum|avg|min|max|by|without|count_over_time)\s*(?=\()')
_FAILED = re.compile(r'code\w*\s*=~?\s*"5|status\w*\s*=~?\s*"5')
_COMPLEMENT = re.compile(r'^\W*(?:1|100)\s*-')


def of(*texts: str) -> int:
    """The kind of the first of these texts that says one: a feature's name, a detector's name, a metric's name or an expression.

    >>> [NAMES[of(text)] for text in ('container_memory_working_set_bytes', 'http_request_duration_seconds', 'ErrorRate', 'x')]
    ['saturation', 'latency', 'errors', 'other']
    >>> NAMES[of('value', 'sum by (service) (rate(http_requests_total{code=~"5.."}[5m]))')]
    'errors'
    >>> NAMES[of('1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m]))')], NAMES[of('node_filesystem_avail_bytes')]
    ('saturation', 'headroom')
    """
    return next((kind for kind in map(_of, texts) if kind != OTHER), OTHER)


def _of(text: str) -> int:
    if _FAILED.search(text):
        return ERRORS
    words = _SEPARATOR.sub(' ', _CAMEL.sub(' ', _FUNCTION.sub(' ', text))).lower()
    found = next((kind for kind, pattern in _KINDS if pattern.search(words)), OTHER)
    return _INVERSE.get(found, found) if _COMPLEMENT.match(text) else found
