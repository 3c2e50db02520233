"""Which family, and how large: all candidates made from the same recipe, and the smallest that is as good as the best, within noise.

    python -m convert evaluate own.yml --search

Smallest means fewest bytes of memory per entity, since that is what a fleet pays for; then fewest bytes of the file. Each candidate has its
own work folder, so an interrupted run continues where it was.

They are compared on the spans `validate` and on synthetic telemetry of their own, never on what later judges the finished model.

    search.json, search.txt     in the work folder
"""

import msgspec

from convert import files, learning_curve, stages
from convert.evaluation import benchmark, gates, report, review
from convert.families import classifier

# family: (window in the recipe's training.window_steps, units). The window of a forecaster is no size.
SIZES = {
    'forecaster': ((1.0, (16, 8)), (1.0, (32, 16)), (1.0, (64, 32))),
    'autoencoder': ((0.25, (24,)), (0.5, (24,))),
    'classifier': ((0.25, (64, 32)), (0.25, (128, 64)), (0.5, (128, 64))),
}
LEAST_STEPS = 8


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What one found. `beside_best`: interval of the difference to the best, 90 % paired bootstrap over entities."""

    family: str
    window_steps: int
    units: tuple[int, ...]
    entity_bytes: int
    file_bytes: int
    event_recall: float
    low: float
    high: float
    chosen: bool = False


def run(job, sizes=SIZES):
    """[Candidate], smallest first, one of them chosen; written into the work folder."""
    sets = review.sets_to_choose_by(job, job.recipe.seed + stages.CHOICE_SEED)
    made = []
    for recipe in _recipes(job.recipe, sizes):
        name = '_'.join(map(str, (recipe.family, recipe.training.window_steps, *recipe.training.units)))
        try:
            session = stages.bare(learning_curve.make_variant(job, f'search/{name}', recipe))
        except classifier.NoLabels as error:
            job.log(f'  left out: {recipe.family}: {error}')
            continue
        results, _ = benchmark.measure_all([benchmark.Method(name, 'model', session)], sets, job.log, baselines=False)
        made.append((recipe, session.bundle, learning_curve.pooled(results)))
    best = max((tally for _, _, tally in made), key=lambda tally: sum(tally.found) / max(sum(tally.events), 1))
    out = chosen([_candidate(*each, best) for each in made])
    _write(job, out)
    return out


def _recipes(recipe, sizes):
    """The recipe in each family and size, each once."""
    out = []
    for family, pairs in sizes.items():
        for share, units in pairs:
            steps = max(LEAST_STEPS, round(share * recipe.training.window_steps))
            training = msgspec.structs.replace(recipe.training, window_steps=steps, units=units)
            variant = msgspec.structs.replace(recipe, family=family, training=training)
            if variant not in out:
                out.append(variant)
    return out


def _candidate(recipe, bundle, tally, best):
    recall, _, low, high = gates.paired((tally.found, tally.events), (best.found, best.events), confidence=0.9, seed=0)
    return Candidate(
        family=recipe.family,
        window_steps=recipe.training.window_steps,
        units=recipe.training.units,
        entity_bytes=bundle.state_bytes(1) + bundle.season_bytes(1),
        file_bytes=bundle.size_bytes,
        event_recall=recall,
        low=low,
        high=high,
    )


def _write(job, candidates):
    with files.atomically(job.work / 'search.json') as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(candidates), indent=1) + b'\n')
    with files.atomically(job.work / 'search.txt') as draft:
        draft.write_text(text(candidates))
    job.log(text(candidates).rstrip('\n'))


def chosen(candidates):
    """Candidates, smallest first; the first one that may be as good as the best is chosen.

    >>> kind = dict(family='forecaster', window_steps=64, units=(8, 4), file_bytes=1)
    >>> small, best = (Candidate(**kind, entity_bytes=b, event_recall=r, low=-.1, high=h) for b, r, h in ((1, .4, -.05), (2, .6, 0)))
    >>> [each.chosen for each in chosen([best, small])]
    [False, True]
    """
    ranked = sorted(candidates, key=lambda each: (each.entity_bytes, each.file_bytes))
    first = next(number for number, each in enumerate(ranked) if each.high >= 0)
    return [msgspec.structs.replace(each, chosen=number == first) for number, each in enumerate(ranked)]


def text(candidates):
    """All candidates as a table, and the choice."""
    rows = [['family', 'window', 'units', 'bytes per entity', 'bytes', 'events found', 'less the best', '']]
    for each in candidates:
        sizes = [str(each.window_steps), ' '.join(map(str, each.units)), str(each.entity_bytes), str(each.file_bytes)]
        rows.append([each.family, *sizes, f'{each.event_recall:.3f}', f'{each.low:+.3f} to {each.high:+.3f}', 'chosen' if each.chosen else ''])
    best = next(each for each in candidates if each.chosen)
    keys = f'family: {best.family}, training.window_steps: {best.window_steps}, training.units: {list(best.units)}'
    return '\n'.join([*report.table(rows), '', f'  chosen: {keys}: the smallest that is as good as the best, within noise']) + '\n'
