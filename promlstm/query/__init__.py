"""The way to the query API: requests out, columns of samples in.

    http         one bounded HTTP exchange
    oauth2       access tokens of a client
    in_flight    how many bytes of answers are held at once
    prometheus   instant and range queries, decoded into columns
    skew         how far the clock of a server is from ours
    newest       when an expression last returned series
    selector     PromQL selectors, and what they match
"""

__all__ = ['http', 'in_flight', 'newest', 'oauth2', 'prometheus', 'selector', 'skew']
