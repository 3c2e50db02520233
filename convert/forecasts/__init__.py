"""Models that forecast: what comes of any series, 5 minutes to 7 days ahead, as three quantiles.

    contract     what such a model promises
    telemetry    synthetic telemetry to learn from
    memory       what the exporter remembers of series, for any instant of their history
    examples     what is remembered at random instants, and what came
    recorded     the same of labelled sets and of own history
    candidates   what the network sees, and what simple rules would forecast
    network      the network, and the graph
    training     loss and training loop
    widths       how much wider the intervals have to be
    forecaster   a model file as a function from series to forecasts
    measure      errors and coverage beside simple forecasts

convert.forecast makes a model file with them.
"""

__all__ = [
    'candidates', 'contract', 'examples', 'forecaster', 'measure', 'memory', 'network', 'recorded', 'telemetry', 'training',
    'widths',
]  # fmt: skip
