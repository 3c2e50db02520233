"""What a detector says of itself: whether it scores, and if not, why not. A word for rules, a sentence for people.

Who calls it: report (writes it), scheduler and the server (read it: /-/ready, the landing page).
"""

from dataclasses import dataclass, replace

# Values of the label `reason`, beside the stages in which a step may fail.
STARTING, CLOCK, WARMING_UP, NEVER_WARM, NOT_A_NUMBER, EMPTY, RESTING = 'starting', 'clock', 'warming', 'never_warm', 'nan', 'empty', 'resting'


@dataclass(slots=True)
class Status:
    """State of a detector since the start: has it computed a step, has it scored an entity, and if not, why not.

    note  what is odd although it scores, such as clocks that disagree

    >>> str(Status()), str(Status(scored=True)), str(Status(scored=True, note='the clock of the query API is 1h ahead'))
    ('starting', 'scoring', 'scoring; the clock of the query API is 1h ahead')
    """

    stepped: bool = False
    scored: bool = False
    reason: str = ''
    note: str = ''

    @property
    def scores(self) -> bool:
        """Whether it scores, for all that it knows of itself."""
        return self.scored and not self.reason

    def noted(self, note: str) -> 'Status':
        """The same with another note beside its own.

        >>> str(Status(scored=True, note='late').noted('changed'))
        'scoring; late; changed'
        """
        return replace(self, note='; '.join(filter(None, (self.note, note))))

    def __str__(self) -> str:
        said = self.reason or ('scoring' if self.scored else 'starting')
        return f'{said}; {self.note}' if self.note else said
