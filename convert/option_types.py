"""What the texts of options on the command line mean; each raises argparse's error where a text means nothing.

Who calls it: arguments. Pure.
"""

import argparse

from convert.data import parts
from promlstm.config import seconds


def days(text):
    """At least five."""
    found = count(text)
    if found < 5:
        raise argparse.ArgumentTypeError(f'{found} days: expected at least 5, because the count begins on the fourth day')
    return found


def duration(text):
    """A duration such as 30s, in seconds."""
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def standing(text):
    """A duration, or 0."""
    return 0.0 if text == '0' else duration(text)


def part(text):
    """One of several processes that share the work, or `all` of them."""
    try:
        return parts.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def names(text):
    """Names with commas between them."""
    found = tuple(name.strip() for name in text.split(',') if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(f'got {text!r}, expected names of sets, such as WSD,AIOPS')
    return found


def share(text):
    """Above 0 and not above 1."""
    try:
        if 0 < float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f'got {text!r}, expected a share above 0 and not above 1')


def count(text):
    """A whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'got {text!r}, expected a whole number of at least 1')
    return int(text)


def number(text):
    """A whole number, 0 included."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'got {text!r}, expected a whole number')
    return int(text)
