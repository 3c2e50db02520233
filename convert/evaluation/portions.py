"""What several processes measure of one evaluation, on disk until it is put together.

    KEY/SET.npz        Results, and the scores of the first method with the band around them
    KEY/FOLDER.json    figures of a labelled set for the manifest

KEY is a digest of all that the evaluation depends on, so what is put together is of the same model, data and recipe. A file appears whole or not at all.

Who calls it: stages (the stage `evaluate`) and review.
"""

from pathlib import Path
from urllib.parse import quote, unquote

import msgspec
import numpy as np

from convert import files
from convert.errors import ConvertError
from convert.evaluation import benchmark, replay


class PortionError(ConvertError):
    """Some parts have not measured theirs."""


class Portions:
    """What one part measures (parts.Part), or what all parts have measured; without a part all is measured here, and nothing is kept."""

    def __init__(self, folder, part):
        self._folder, self._part, self._missing = Path(folder), part, {}

    @property
    def whole(self):
        """Whether there is all of it at the end."""
        return self._part is None or self._part.number is None

    def measured(self, number, benchmark_set, measure):
        """(Results, list of at most one Scored) of the set of this number: what measure() gives, or gave; of a set of another part nothing."""
        file = self._folder / f'{quote(benchmark_set.name, safe="")}.npz'
        return self._one('set', number, file, measure, _write_set, lambda: _read_set(file, benchmark_set)) or ([], [])

    def figures(self, number, name, measure):
        """{measure: figure} of the labelled folder of this number, as `measured`."""
        file = self._folder / f'{quote(name, safe="")}.json'
        return self._one('figures', number, file, measure, _write_figures, lambda: _read_figures(file)) or {}

    def _one(self, kind, number, file, measure, write, read):
        if self._part is None:
            return measure()
        if self.whole:
            if file.exists():
                return read()
            owner = next(each for each in self._part.all() if each.has(kind, number))
            self._missing.setdefault(owner, []).append(unquote(file.stem))
        elif self._part.has(kind, number) and not file.exists():
            files.folder(self._folder)
            write(file, measure())
        return None

    def check(self):
        """PortionError naming the parts that have not measured theirs."""
        if self._missing:
            why = ''.join(f'\n  part {each}: {", ".join(names)}' for each, names in sorted(self._missing.items()))
            raise PortionError(f'{len(self._missing)} of {self._part.of} parts are not completely measured; run them, then run this again:{why}')


def _write_set(file, measured):
    results, scored = measured
    arrays = {'results': np.frombuffer(msgspec.msgpack.encode(results), np.uint8)}
    for each in scored:
        arrays |= {'scores': each.scores, **(each.seen._asdict() if each.seen else {})}
    with files.atomically(file) as draft:
        np.savez_compressed(draft, **arrays)


def _read_set(file, benchmark_set):
    with np.load(file, allow_pickle=False) as arrays:
        results = msgspec.msgpack.decode(arrays['results'].tobytes(), type=list[benchmark.Result])
        seen = replay.Seen(*(arrays[name] for name in replay.Seen._fields)) if 'expected' in arrays else None
        return results, [benchmark.Scored(benchmark_set, arrays['scores'], seen)] if 'scores' in arrays else []


def _read_figures(file):
    return msgspec.json.decode(file.read_bytes(), type=dict[str, float])


def _write_figures(file, figures):
    with files.atomically(file) as draft:
        draft.write_bytes(msgspec.json.encode(figures))
