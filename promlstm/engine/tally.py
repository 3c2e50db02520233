"""What a detector counts beside its verdicts: odd samples and answers.

Who calls it: detector, at each answer; live.report, which tells of it. It judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from promlstm.engine.interfaces import Answer


@dataclass(slots=True)
class Tally:
    """What a detector counts; after telemetry has reported the counts, it sets all but `series` and `dropped` back to 0."""

    warnings: int = 0  # of the query API
    partial: int = 0  # steps whose answers may lack series
    unread: int = 0  # series that were left out: labels or samples that cannot be read, native histograms
    offset_seconds: float = 0.0  # of the samples from the instant of the query, where that is more than a second
    infinite: int = 0  # ±Inf samples
    nan: int = 0  # NaN samples of live steps
    series: int = 0  # in the last answer: those of the feature that has most
    dropped: int = 0  # entities over the limit at the last step
    last_warning: str = ''
    hint: str = ''  # what the query API says of the expression

    def note(self, answers: Sequence[Answer]) -> None:
        """Count warnings, partial answers and unreadable series in the answers for a step or a span."""
        warnings = [text for answer in answers for text in answer.warnings]
        self.warnings += len(warnings)
        self.partial += any(answer.partial for answer in answers)
        self.unread += sum(answer.unread for answer in answers)
        if warnings:
            self.last_warning = warnings[0]
        self.hint = next((text for answer in answers for text in answer.hints), '')
