"""The way to the query API: requests out, columns of samples in.

    http         one bounded HTTP exchange
    prometheus   instant and range queries, decoded into columns
    selector     PromQL selectors, and what they match
"""

__all__ = ['http', 'prometheus', 'selector']
