"""The way to the query API: requests out, columns of samples in.

    http          one bounded HTTP exchange
    oauth2        access tokens of a client
    in_flight     how many bytes of answers are held at once
    dialect       what differs between the kinds of query APIs
    ahead         one answer fetched while the last one is in use
    prometheus    instant and range queries, decoded into columns
    victorialogs  windows of logs, as instants
    skew          how far the clock of a server is from ours
    newest        when an expression last returned series
    sources       the query APIs of a configuration, by name
    silences      silences of an Alertmanager
    selector      PromQL selectors, and what they match
"""

__all__ = ['ahead', 'dialect', 'http', 'in_flight', 'newest', 'oauth2', 'prometheus', 'selector', 'silences', 'skew', 'sources', 'victorialogs']
