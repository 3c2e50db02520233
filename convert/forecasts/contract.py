"""What forecast models promise. Their inputs and their output are promlstm.forecasts.model's, what is remembered promlstm.engine.recent's."""

QUANTILES = (0.1, 0.5, 0.9)
COVERAGE = 0.8              # share of the values that come between the lowest and the highest of them
HORIZON_SECONDS = (300.0, 604800.0)
STEP_SECONDS = (1.0, 3600.0)        # of the detectors that a model is trained for
