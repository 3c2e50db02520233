"""What a fault gave, and the table of all."""

import statistics
from dataclasses import dataclass, field

COLUMNS = ('fault', 'tries', 'survived', 'steps to recovery', 'reason in', 'same scores', 'holds')
LIMIT_STEPS = 15  # a recovery that takes longer does not hold; how long it took is in the table
LIMIT_DIFFERENCE = 0.001  # of a score and that of the undisturbed twin, which has read the same samples


@dataclass
class Attempt:
    """One try.

    survived   the process lived, or ended as it should
    steps      steps until fresh scores, one number for each detector that was struck
    seen       {place: whether the reason is there} of the places where it has to be: ready, log, metric
    problems   what did not hold, in words
    compared   (pairs of scores, largest difference) with the undisturbed twin; None = does not apply
    """

    survived: bool = True
    steps: list = field(default_factory=list)
    seen: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    compared: tuple | None = None


@dataclass
class Row:
    """All tries of a fault; `skipped` says why there was none."""

    fault: str
    attempts: list = field(default_factory=list)
    skipped: str = ''

    @property
    def problems(self):
        """What did not hold in any try, each thing once.

        >>> Row('x', [Attempt(steps=[0.5]), Attempt(seen={'log': False})]).problems
        ['the reason is not in log']
        """
        found = []
        for attempt in self.attempts:
            found += attempt.problems
            found += [] if attempt.survived else ['the process did not survive']
            found += [f'the reason is not in {place}' for place, there in attempt.seen.items() if not there]
            found += [f'{max(attempt.steps):.1f} steps to recovery'] if attempt.steps and max(attempt.steps) > LIMIT_STEPS else []
            if attempt.compared and attempt.compared[1] > LIMIT_DIFFERENCE:
                found.append(f'a score differs by {attempt.compared[1]:.2f} from that of the twin')
        return list(dict.fromkeys(found))

    @property
    def holds(self):
        return not self.problems and (bool(self.attempts) or bool(self.skipped))

    def cells(self):
        """The row of the table.

        >>> Row('refused', [Attempt(steps=[0.5, 1], seen={'log': True}, compared=(40, 0.001))]).cells()
        ('refused', '1', '1', '0.5 / 0.8 / 1.0', 'log', 'yes (40)', 'yes')
        >>> Row('clock', skipped='no libfaketime').cells()
        ('clock', '0', '', '', '', '', 'not tried: no libfaketime')
        """
        if self.skipped:
            return (self.fault, '0', '', '', '', '', f'not tried: {self.skipped}')
        steps = [each for attempt in self.attempts for each in attempt.steps]
        recovery = f'{min(steps):.1f} / {statistics.median(steps):.1f} / {max(steps):.1f}' if steps else '–'
        places = dict.fromkeys(place for attempt in self.attempts for place, there in attempt.seen.items() if there)
        compared = [attempt.compared for attempt in self.attempts if attempt.compared]
        pairs, worst = sum(pairs for pairs, _ in compared), max((difference for _, difference in compared), default=0)
        same = '–' if not compared else f'yes ({pairs})' if worst <= LIMIT_DIFFERENCE else f'NO: {worst:.2f}'
        survived = sum(attempt.survived for attempt in self.attempts)
        return (self.fault, str(len(self.attempts)), str(survived), recovery, ', '.join(places) or '–', same, 'yes' if self.holds else 'NO')


def table(rows):
    """The table as text, and below it what did not hold."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS) - 1)]
    lines = ['  '.join([cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)]).rstrip() for line in cells]
    lines.insert(1, '  '.join('-' * width for width in [*widths, len(COLUMNS[-1])]))
    lines += [f'\n{row.fault}:\n' + '\n'.join(f'  {problem}' for problem in row.problems) for row in rows if not row.holds]
    return '\n'.join(lines)
