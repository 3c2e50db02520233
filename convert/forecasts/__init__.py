"""Models that forecast: what comes of any series, 5 minutes to 7 days ahead, as three quantiles. One ONNX file without state or calibration.

    recipe       the recipe of such a model
    contract     what the graph takes and gives
    telemetry    synthetic telemetry to learn from
    memory       what the exporter remembers of series, for any instant of their history
    examples     what is remembered at random instants, and what came
    recorded     the same of labelled sets and of own history
    candidates   what the network sees, and what simple rules would forecast
    network      the network, and the graph
    training     loss and training loop
    release      graph, proof and metadata as one file
    forecaster   a model file as a function from series to forecasts
    measure      errors and coverage beside simple forecasts
    make         all of it in order
"""

from convert.forecasts import recipe

FAMILY = 'forecast'
__all__ = [
    'FAMILY', 'candidates', 'contract', 'examples', 'forecaster', 'make', 'measure', 'memory', 'network', 'recipe', 'recorded', 'release', 'telemetry',
    'training',
]  # fmt: skip
