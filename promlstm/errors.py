"""Everything that can go wrong, and what an operator can do about it.

    PromlstmError
    ├── ConfigError          the configuration file: correct the key that the message names
    ├── BundleError          the model file
    │   ├── BundleFormatError    missing, truncated, of another format, a wrong axis: export it again or use another file
    │   ├── ProofError           the file is complete but this machine computes other numbers: do not serve from here
    │   └── BudgetError          the calibration ends before the configured budget: use the budget that the message names
    ├── SourceError          the Prometheus query API
    │   ├── QueryRejected        the expression is wrong (400, 422): never retried, correct the expression
    │   ├── SourceUnavailable    connection, time-out, 429, 5xx: asked again within the step
    │   │   └── SourceRefused        password, certificate (401, 403, TLS): replace the file that holds it
    │   └── ResponseError        not JSON, truncated, too large, of an unknown shape: check proxies in between
    ├── CheckpointError      a file with a detector's memory is not used, and memory is built from history: nothing has to be done
    ├── SeriesError          series with the same labels: use label_replace or an aggregation, as the message says
    └── StageError           a stage of a step failed: holds the stage and its cause

A message says what happened, where (file, key, detector or series), what was found and what was expected.
"""


class PromlstmError(Exception):
    """The root of all errors that promlstm raises on purpose."""


class ConfigError(PromlstmError):
    """The configuration cannot be used.

    problems  all that was found, one line each; as text the error is the first of them, and how many more there are

    >>> str(ConfigError('a.yml: step: missing')), str(ConfigError('a.yml: step: missing', 'a.yml: by: empty'))
    ('a.yml: step: missing', 'a.yml: step: missing (and 1 more problem)')
    """

    def __init__(self, *problems: str) -> None:
        more = len(problems) - 1
        super().__init__(f'{problems[0]} (and {more} more problem{"s" * (more > 1)})' if more else problems[0])
        self.problems = problems


class BundleError(PromlstmError):
    """A model file cannot be served."""


class BundleFormatError(BundleError):
    """A model file is missing, truncated or not of this format."""


class ProofError(BundleError):
    """A model file computes other numbers on this machine than where it was made."""


class BudgetError(BundleError):
    """A false-alarm budget lies outside the range that the model's calibration was measured for."""


class SourceError(PromlstmError):
    """The query API gave no usable answer."""


class QueryRejected(SourceError):
    """The query API says that the expression is wrong."""


class SourceUnavailable(SourceError):
    """The query API could not be reached, was too slow or too busy."""

    retry_after_seconds: float | None = None  # what the server asked for with Retry-After; None = nothing


class SourceRefused(SourceUnavailable):
    """The query API does not let us in: a password, a certificate. Tried again at the next step, since files are rotated."""


class ResponseError(SourceError):
    """The query API answered with something that is not a query result."""


class CheckpointError(PromlstmError):
    """A file with the memory of a detector cannot be used for this detector, this model or now."""


class SeriesError(PromlstmError):
    """Two series would be the same entity."""


class StageError(PromlstmError):
    """One stage of a detector's step failed; nothing was committed."""

    def __init__(self, detector: str, stage: str, cause: Exception) -> None:
        super().__init__(f'detector {detector!r}: {stage}: {cause}')
        self.detector, self.stage, self.cause = detector, stage, cause


def describe(error: BaseException) -> str:
    """The cause of a failed step in one line, for logs and readiness."""
    return str(error) if isinstance(error, PromlstmError) else f'{type(error).__name__}: {error}'
