"""What comes: forecasts from the memory of a detector, and when they reach a limit. Columns in, columns out; no HTTP, no thread, no clock.

    model    the model file that forecasts
    inputs   what it gets: the memory of a detector, for instants to come
    predict  the forecast of all entities of a detector
    limit    when a forecast reaches its limit
    quality  how good the forecasts were whose time has come
    trial    the first load of such a file, in a process of its own
"""

__all__ = ['inputs', 'limit', 'model', 'predict', 'quality', 'trial']
