"""The way to the query API: requests out, columns of samples in.

    http         one bounded HTTP exchange
    in_flight    how many bytes of answers are held at once
    prometheus   instant and range queries, decoded into columns
    skew         how far the clock of a server is from ours
    newest       when an expression last returned series
    sources      the query APIs of a configuration, by name
    selector     PromQL selectors, and what they match
"""

__all__ = ['http', 'in_flight', 'newest', 'prometheus', 'selector', 'skew', 'sources']
