"""Arguments of the measurements: the help of each is its docstring. Its options are what its function `add_options` adds, if it has one."""

import argparse
import ast
import os
from pathlib import Path

FOLDER = Path(__file__).parent
MODEL = 'a model file, or builtin:NAME (default %(default)s)'


def described(name):
    """The docstring of a measurement, read without an import."""
    return ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text()))


def parser(command, text, **keys):
    """A parser that prints its description unchanged, with the options that all measurements have."""
    made = argparse.ArgumentParser(
        prog=f'python -m {command}', description=text, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **keys
    )
    made.add_argument('--json', metavar='FILE', type=new_file, help='also write the results, with the machine, its load, versions and the date, to a file')
    return made


def new_file(text):
    """A type of argparse: a path that a file can be written to."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'{text}: is a folder')
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f'{text}: cannot be written')
    return path


def at_least(least):
    """A type of argparse: a whole number, such as 1000 or 100_000."""

    def number(text):
        found = _whole(text)
        if found < least:
            raise argparse.ArgumentTypeError(f'expected a whole number of at least {least}, got {text}')
        return found

    return number


def sizes(text):
    """A type of argparse: numbers of entities, two or more each, as a tuple."""
    return tuple(map(at_least(2), text.split(',')))


def _whole(text):
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a whole number, got {text!r}') from None
