"""Whether the cost of a step has grown: ratios and bytes of small fleets compared with bounds, no seconds; status 1 if one exceeds its bound.

Sizes are measured in turn, and the best of all rounds counts, so that other work on the machine does not matter. Run by tests/bench/test_guard.py.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from bench import step, warmed
from bench.answers import config
from promlstm.engine import session as sessions

MODEL = 'builtin:forecaster'  # the one that warms up in a second
SMALL, LARGE = 5_000, 20_000
TURNS, ROUNDS = 3, 6
# What is measured, and the most that it may be.
BOUNDS = {
    'decode, × of msgspec alone': 5.0,
    'judge, × of ONNX Runtime alone': 1.5,
    'render, × of ISA-L alone': 3.0,
    f'an entity of {LARGE}, × of one of {SMALL}': 1.5,
    'resident bytes an entity': 12_000,
    'bytes an entity at the peak of a step': 14_000,
    'bytes of memory an entity': 3_000,
    'bytes an entity on the page': 1_000,
    'bytes an entity on the page, compressed': 150,
}


def main():
    """Print what was measured beside its bound."""
    found = figures(measured())
    for name, figure in found.items():
        print(f'  {name:44}{figure:10.2f}{BOUNDS[name]:10.6g}{"  beyond" * (name in beyond(found))}')
    if beyond(found):
        raise SystemExit(1)
    return found


def beyond(found):
    """The names of the figures above their bounds."""
    return {name for name, bound in BOUNDS.items() if not found[name] <= bound}


def measured():
    """{entities: rows of bench.step}, each in its own process, in turn."""
    session = sessions.load(sessions.resolve(MODEL), prove=False)
    remembered = warmed.memory(config('http://localhost').detectors[0], session)
    rows = {SMALL: [], LARGE: []}
    for _ in range(TURNS):
        for entities, found in rows.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as own:
                found.append(own.submit(step.measure, entities, MODEL, remembered, ROUNDS).result())
    return rows


def figures(rows):
    """{name of BOUNDS: figure}."""
    small, large = rows[SMALL], rows[LARGE]
    page = large[0]['exports']['all']
    ratios = {stage: _best(large, 'seconds', stage) / _best(large, 'floors', stage) for stage in ('decode', 'judge', 'render')}
    growth = _best(large, 'seconds', 'own time') / LARGE / (_best(small, 'seconds', 'own time') / SMALL)
    resident, peak = min(row['bytes_an_entity'] for row in large), min(row['peak_bytes_an_entity'] for row in large)
    numbers = (*ratios.values(), growth, resident, peak, large[0]['memory_bytes'] / LARGE, page['page_bytes'] / LARGE, page['page_gzip_bytes'] / LARGE)
    return dict(zip(BOUNDS, numbers, strict=True))


def _best(rows, kind, name):
    return min(row[kind][name]['best'] for row in rows)
