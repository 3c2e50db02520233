"""The names of time zones that the image knows, for the chart to refuse others by: `python helm/timezones.py`."""

from importlib import resources
from pathlib import Path

NAMES = Path(__file__).parent / 'promlstm/timezones.txt'


def names():
    """Names, one a line, of the package tzdata, which the image has in the same version as the tests."""
    return resources.files('tzdata').joinpath('zones').read_text()


if __name__ == '__main__':
    NAMES.write_text(names())
