"""Skip what is up to date: each stage leaves a record of what it was made from, and of the files that it left.

A stage is skipped where recipe, data, tools and inputs are those of its record and its files are still the same. Files appear whole or not
at all, and the record is written last: after a kill at any moment, a run continues with the stage that it was in.

    stages.json    {stage: Record} in the work folder

Who calls it: stages. It knows no stage.
"""

import hashlib
from pathlib import Path

import msgspec

from convert.files import atomically, digest

FILE = 'stages.json'


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Of a stage.

    key   digest of all that it was made from
    left  {file in the work folder: its digest}
    note  text that the stage needs again
    """

    key: str
    left: dict[str, str]
    note: str = ''


def key(*parts):
    """One digest of values that msgspec can encode."""
    return hashlib.sha256(msgspec.json.encode(parts, order='sorted', enc_hook=float)).hexdigest()


def recorded(work, stage):
    """The Record of a stage, or None; an unreadable file has none."""
    return _records(work).get(stage)


def unchanged(work, stage, wanted):
    """Whether a stage was made from this key and its files are still the same."""
    found = recorded(work, stage)
    return bool(found) and found.key == wanted and all(digest(Path(work) / name) == sha256 for name, sha256 in found.left.items())


def record(work, stage, made_from, files, note=''):
    """Record that a stage is done; files that it did not leave are left out."""
    left = {name: sha256 for name in files if (sha256 := digest(Path(work) / name))}
    records = _records(work) | {stage: Record(key=made_from, left=left, note=note)}
    with atomically(Path(work) / FILE) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1) + b'\n')


def _records(work):
    try:
        return msgspec.json.decode((Path(work) / FILE).read_bytes(), type=dict[str, Record])
    except (OSError, msgspec.DecodeError):
        return {}
