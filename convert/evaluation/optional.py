"""Packages that a row of a benchmark needs and that are no dependency of anything: whether they are installed, and quiet while they work.

Who calls it: isolation_forest, prophet_daily, forecast_packages. It imports none of them.
"""

import contextlib
import importlib.util
import io
import logging
import warnings


def missing(row, module, package=''):
    """Sentences on what the row needs and is not installed: none, or one. package = what to install, where it has another name than the module."""
    return [] if importlib.util.find_spec(module) else [f'{row}: not installed: pip install {package or module}']


@contextlib.contextmanager
def quiet():
    """These packages warn and log at each fit."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)
