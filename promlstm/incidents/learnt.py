"""A file of edges that were learnt from history: its format, and why one is refused.

`python -m convert graph` writes it, for what no query tells of. Like a model file it says what it was made from, and carries a digest of all that
is in it.

Who calls it: live.dependencies, past_incidents and check_edges (read), convert.graph (writes, and reads back what it wrote).
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from promlstm.errors import ConfigError
from promlstm.incidents.edges import Found, linking
from promlstm.incidents.graph import MOST_EDGES, Name, Scope
from promlstm.settings import Config

FORMAT = 1
NAME = 'graph_file'  # who tells of these edges, where a query has its name: the key of root_cause
LARGEST_BYTES = 64_000_000
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`dependant` suffers from `dependency`.

    within    what the edge is limited to
    strength  0 to 1: the partial correlation of its surprises with those of the other, earlier ones
    delay_seconds  how much earlier
    """

    dependant: tuple[_Text, _Text]
    dependency: tuple[_Text, _Text]
    within: dict[str, str]
    strength: _Share
    delay_seconds: Annotated[float, msgspec.Meta(gt=0)]


class Learnt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the file holds.

    promlstm   version that wrote it
    start, end of the history, unix seconds
    within     labels that nothing was compared across
    labels     linking labels whose values the names are
    detectors  {name: sha256 of the model that its surprises are of}
    names      how many there were, found to be linked or not
    """

    format: int
    promlstm: str
    start: float
    end: float
    step_seconds: float
    within: tuple[str, ...]
    labels: tuple[str, ...]
    detectors: dict[str, str]
    names: int
    edges: Annotated[tuple[Edge, ...], msgspec.Meta(max_length=MOST_EDGES)]


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    graph: Learnt
    sha256: str  # of the graph, encoded without spaces


class _Any(msgspec.Struct, frozen=True):
    """What every version has."""

    graph: '_Version'


class _Version(msgspec.Struct, frozen=True):
    format: int


def encoded(learnt: Learnt) -> bytes:
    """The file, with the digest of what is in it."""
    return msgspec.json.format(msgspec.json.encode(_Sealed(learnt, _digest(learnt)))) + b'\n'


def _digest(learnt: Learnt) -> str:
    return hashlib.sha256(msgspec.json.encode(learnt)).hexdigest()


def path_of(config: Config) -> Path | None:
    """Where the file of a configuration is; None = it has none."""
    file = config.root_cause.graph_file
    return Path(config.root) / file if file else None


def configured(config: Config, path: Path) -> tuple[Learnt, Found, str]:
    """(what the file of a configuration holds, its edges as Graph.observed takes them, its SHA-256); ConfigError where it cannot be used."""
    cause = config.root_cause
    content, sha256 = load(path, cause.graph_sha256)
    return content, edges_for(content, cause.within, linking(cause), str(path)), sha256


def load(path: str | Path, sha256: str | None = None) -> tuple[Learnt, str]:
    """(what a file holds, its SHA-256), as `decoded`; ConfigError also where it cannot be read. A pipe is not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, 'rb') as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ConfigError(f'{path}: not a regular file')
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read: {error.strerror or error}') from error
    return decoded(data, str(path), sha256=sha256), hashlib.sha256(data).hexdigest()


def decoded(data: bytes, source: str, *, sha256: str | None = None) -> Learnt:
    """What a file holds.

    source  how to name it in a message
    sha256  that the file must have, or None
    raises  ConfigError  where it is of another format, damaged, or not the file that is meant
    """
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f'{source}: larger than {LARGEST_BYTES} bytes: not a graph')
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ConfigError(f'{source}: its sha256 is {found}, but graph_sha256 is {sha256.lower()}')
    try:
        version = msgspec.json.decode(data, type=_Any).graph.format
        if version != FORMAT:
            raise ConfigError(f'{source}: its format is {version}, and this version of promlstm reads {FORMAT}')
        sealed = msgspec.json.decode(data, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f'{source}: not a graph that `python -m convert graph` wrote: {error}') from error
    if _digest(sealed.graph) != sealed.sha256:
        raise ConfigError(f'{source}: it was changed or damaged: its content does not match its digest')
    return sealed.graph


def edges_for(learnt: Learnt, within: Sequence[str], links: Sequence[str], source: str) -> Found:
    """Its edges as Graph.observed takes them; ConfigError where it does not fit the configuration."""
    if set(learnt.within) != set(within):
        raise ConfigError(f'{source}: it was learnt within {_listed(learnt.within)}, and root_cause.within is {_listed(within)}: learn it again')
    used = {label for edge in learnt.edges for label in (edge.dependant[0], edge.dependency[0])}
    if unknown := sorted(used - set(links)):
        raise ConfigError(f'{source}: its names are values of the label {unknown[0]}, which links no entities: add it to root_cause.labels')
    pairs: list[tuple[Name, Name]] = [(edge.dependant, edge.dependency) for edge in learnt.edges]
    scopes: list[Scope] = [tuple(edge.within.items()) for edge in learnt.edges]
    return Found(pairs, scopes, () if pairs else ('no edges',))


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names) or 'nothing'
