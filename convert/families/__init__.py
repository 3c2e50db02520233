"""The families of models: one file each, one contract for all.

    registry      FAMILIES: what each family takes, gives and learns
    warmup        samples before the first surprise, and how far one may move what is learnt
    steps         the arithmetic of one step that families share
    choices       choices in a graph without `Where`
    daytime       what is usual at this time of the day
    views         statistical views of a series: the arithmetic of the ensemble
    scales        what the deviations that they look at usually are
    patterns      training of the ensemble's LSTM
    ensemble      statistical views, and an LSTM that has learnt from injected faults
    recurrent     LSTMs whose state is carried from step to step
    window        the ring of the last inputs, for families that look at a window
    learning      the training loop, and whether a training diverges
    training      training of the forecaster: features and loss
    forecaster    an LSTM that forecasts
    autoencoder   an LSTM that reconstructs a window
    classifier    an LSTM that gives the probability of an anomaly
"""

__all__ = [
    'autoencoder', 'choices', 'classifier', 'daytime', 'ensemble', 'forecaster', 'learning', 'patterns', 'recurrent', 'registry', 'scales', 'steps',
    'training', 'views', 'warmup', 'window',
]  # fmt: skip
