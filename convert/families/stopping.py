"""Early stopping: the weights that did best on validation data, and when to stop looking for better ones.

Prechelt 1998, Early Stopping - But When? (https://doi.org/10.1007/3-540-49430-8_3): training goes on until the loss on data that is not
learnt from has not fallen for a while, and the weights of its lowest value are kept.

Who calls it: the fit functions of the families, where a recipe has validation data.
"""

import numpy as np

PATIENCE = 4            # looks in a row without a lower loss, after which training stops


class Best:
    """The best weights of a network so far.

    loss  the lowest loss on validation data; infinite before the first look
    at    number of the look that gave it, from 1; 0 before
    """

    def __init__(self, network, patience=PATIENCE):
        """Keeps nothing yet."""
        self.loss, self.at, self._looks = np.inf, 0, 0
        self._network, self._patience, self._weights = network, patience, None

    def look(self, loss):
        """Note the loss on validation data as it is now; True where it is time to stop."""
        self._looks += 1
        if loss < self.loss:
            self.loss, self.at, self._weights = float(loss), self._looks, self._network.get_weights()
        return self._looks - self.at >= self._patience

    def restore(self):
        """Give the network the best weights; its own where there was no look with a finite loss."""
        if self._weights is not None:
            self._network.set_weights(self._weights)

    def figures(self):
        """What the manifest says of it: {measure: figure}."""
        return {'validation_loss': self.loss, 'validation_looks': float(self._looks), 'validation_best_look': float(self.at)} if self.at else {}
