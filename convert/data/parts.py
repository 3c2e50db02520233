"""Several processes that share the work of a stage, on machines of their own, and a folder that all of them see.

Who calls it: option_types, collect (fetch) and review (evaluate). Pure, but for the environment. Nobody is asked: each process finds its part from the
work, its own number and the number of parts. Each writes into files of its own; the one that puts them together waits for nobody.
"""

import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

INDEX = 'JOB_COMPLETION_INDEX'  # that Kubernetes gives the pods of an indexed Job
MOST = 1000
UNIT_SECONDS = {'fine': 86400, 'coarse': 7 * 86400}  # of history, that one part fetches


class Part(NamedTuple):
    """One of several processes; without a number the one that puts together what they made."""

    number: int | None
    of: int

    def __str__(self):
        return f'{self.number} of {self.of}'

    def all(self):
        """All parts, in order."""
        return [Part(number, self.of) for number in range(self.of)]

    def folder(self, root):
        """Where this part keeps what it fetched, below the folder of the whole."""
        return Path(root) / 'parts' / f'{self.number}-of-{self.of}'

    def has(self, name, number=0):
        """Whether a thing of this name, or the `number`th of this name, is this part's own. Neighbours go to different parts.

        >>> [sum(Part(number, 3).has('cpu', day) for day in range(30)) for number in range(3)]
        [10, 10, 10]
        """
        return (zlib.crc32(name.encode()) + number) % self.of == self.number

    def pieces(self, detector, grid, step_seconds, pieces):
        """What of the pieces (first, end) of a detector's history is this part's own: whole days, of the coarse grid whole weeks.

        >>> [Part(number, 2).pieces('cpu', 'fine', 43200, [(1, 5)]) for number in range(2)]
        [[(1, 2), (4, 5)], [(2, 4)]]
        """
        length = max(1, round(UNIT_SECONDS[grid] / step_seconds))
        return [
            (max(first, length * unit), min(end, length * (unit + 1)))
            for first, end in pieces
            for unit in range(first // length, (end - 1) // length + 1)
            if self.has(f'{detector} {grid}', unit)
        ]


def parse(text, environment=os.environ):
    """A Part of NUMBER/OF, auto/OF (the number is that of the pod in its Job) or all/OF; ValueError where the text is none.

    >>> parse('2/5'), parse('auto/5', {INDEX: '3'}), parse('all/5')
    (Part(number=2, of=5), Part(number=3, of=5), Part(number=None, of=5))
    >>> parse('5/5')
    Traceback (most recent call last):
    ValueError: expected 0/5 to 4/5, auto/5 or all/5, with 1000 parts at most, got '5/5'
    """
    found = re.fullmatch(r'(all|auto|[0-9]{1,4})/([0-9]{1,4})', text, re.ASCII)
    number, of = found.groups() if found else ('', '5')
    of = int(of)
    if number == 'auto':
        number = environment.get(INDEX, '')
        if not re.fullmatch('[0-9]{1,9}', number, re.ASCII):
            raise ValueError(f'auto/{of}: expected the number in {INDEX}, which Kubernetes sets in the pods of an indexed Job; it is {number or "not set"}')
    if number == 'all' and 1 <= of <= MOST:
        return Part(None, of)
    if not (number and of <= MOST and int(number) < of):
        raise ValueError(f'expected 0/{of} to {max(0, of - 1)}/{of}, auto/{of} or all/{of}, with {MOST} parts at most, got {text!r}')
    return Part(int(number), of)
