"""The first load of a forecast model, in a process of its own, as engine.trial does it for other model files.

Who calls it: live.models (MODULE, for its Trials); the child runs it.
"""

from promlstm.engine import trial
from promlstm.forecasts import model

MODULE = __spec__.name


def prove(data: bytes, source: str) -> None:
    """Load a forecast model and replay its proof."""
    model.of(data, source, threads=1).prove()


if __name__ == '__main__':
    trial.run(prove)
