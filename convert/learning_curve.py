"""How much data is enough: the recipe's model made again and again from more and more of its data, and what each model finds.

    python -m convert evaluate own.yml --learning-curve

A team's own history is shortened from its beginning, so that the newest weeks are in every part; without a data section it is the
entities of the synthetic telemetry that grow. Each part has its own work folder, so an interrupted run continues where it was.

The parts are compared on the spans `validate` and on synthetic telemetry of their own, never on what later judges the finished model.

    curve.json, curve.txt, curve.html   in the work folder
"""

from dataclasses import replace

import msgspec

from convert import files, stages
from convert.data import spans
from convert.evaluation import benchmark, gates, plots, report, review
from convert.evaluation.document import document

SHARES = (0.1, 0.25, 0.5, 1.0)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One part: its share of the data, what was learnt from, and the share of all events found at the budget of false alarms."""

    share: float
    data: str
    entity_steps: int
    loss: float | None
    event_recall: float
    low: float          # of the difference to all the data, 90 % paired bootstrap
    high: float


def run(job, shares=SHARES):
    """[Point] of growing parts, the last one being all; written into the work folder."""
    parts = [make_variant(job, f'curve/{share:g}', shortened(job.recipe, share)) for share in shares]
    sets = review.sets_to_choose_by(job, job.recipe.seed + stages.CHOICE_SEED)
    tallies = [_measure(part, sets, job.log) for part in parts]
    points = [_point(share, part, tally, tallies[-1]) for share, part, tally in zip(shares, parts, tallies, strict=True)]
    _write(job, points)
    return points


def _point(share, part, tally, of_all):
    recall, _, low, high = gates.paired((tally.found, tally.events), (of_all.found, of_all.events), confidence=0.9, seed=0)
    losses = report.learning((part.work / 'training.log').read_text().splitlines())['loss']
    return Point(
        share=share,
        data=amount(part.recipe),
        entity_steps=stages.training_of(part).entity_steps,
        loss=losses[-1] if losses else None,
        event_recall=recall,
        low=low,
        high=high,
    )


def make_variant(job, name, recipe):
    """The job of another recipe in a work folder of its own, made up to the proof."""
    work = job.work / name
    files.folder(work)
    data = job.work / 'data'
    if data.exists() and not (work / 'data').exists():
        with files.writing(work / 'data'):
            (work / 'data').unlink(missing_ok=True)     # a link whose target has moved
            (work / 'data').symlink_to(data.resolve())
    variant = replace(job, recipe=recipe, work=work, out=work / f'{recipe.name}.onnx', log=lambda line: job.log(f'    {line}'))
    job.log(f'  {name}: {amount(recipe)}')
    stages.run_all(variant, ('train', 'export', 'verify'))
    return variant


def shortened(recipe, share):
    """The recipe with that share of its data: of the training spans the newest part, or of the synthetic entities as many."""
    change = msgspec.structs.replace
    if recipe.data:
        parts = change(recipe.data.spans, train=newest(recipe.data.spans.train, share))
        return change(recipe, data=change(recipe.data, spans=parts))
    telemetry = tuple(change(each, entities=max(1, round(share * each.entities))) for each in recipe.training.telemetry)
    series = sum(each.entities * each.features for each in telemetry)
    return change(recipe, training=change(recipe.training, telemetry=telemetry, batch_series=min(recipe.training.batch_series, series)))


def newest(train, share):
    """The newest share of some spans.

    >>> newest(((0, 100), (200, 300)), 0.75)
    ((50.0, 100), (200, 300))
    """
    left, out = share * sum(end - start for start, end in train), []
    for start, end in sorted(train, reverse=True):
        if left > 0:
            out.append((start if left >= end - start else spans.Instant(end - left), end))
            left -= end - start
    return tuple(sorted(out))


def _measure(part, sets, log):
    """The Tallies of a part's model on all sets with faults, as one."""
    method = benchmark.Method(part.work.name, 'model', stages.bare(part))
    results, _ = benchmark.measure_all([method], sets, log, baselines=False)
    return pooled(results)


def pooled(results):
    """One Tally of the results that have one."""
    tallies = [each.tally for each in results if each.tally]
    return benchmark.Tally(**{name: [value for each in tallies for value in getattr(each, name)] for name in benchmark.Tally.__struct_fields__})


def amount(recipe):
    """How much data a recipe trains on, in words."""
    if recipe.data:
        days = sum(end - start for start, end in recipe.data.spans.train) / 86400
        return f'{days:.3g} days'
    return f'{sum(each.entities for each in recipe.training.telemetry)} synthetic entities'


def text(points):
    """The curve as a table, and its conclusion as a sentence."""
    rows = [['share', 'data', 'samples learnt from', 'loss', 'events found', 'less all the data']]
    for each in points:
        loss = f'{each.loss:.3f}' if each.loss is not None else ''
        rows.append([f'{each.share:.0%}', each.data, str(each.entity_steps), loss, f'{each.event_recall:.3f}', f'{each.low:+.3f} to {each.high:+.3f}'])
    enough = next(each for each in points if each.high >= 0)
    if enough.low > 0:
        more = 'a model of all the data finds significantly less, which is no reason to drop data but one to look at the recipe'
    else:
        more = 'more data makes no difference beyond noise'
    return '\n'.join([*report.table(rows), '', f'  enough: {enough.data}; {more} (on this telemetry, with this seed)']) + '\n'


def _write(job, points):
    line = plots.lines({'events found': ([p.share for p in points], [p.event_recall for p in points])}, x='share of the data', y='events found')
    title = 'How much data is enough'
    numbers = msgspec.json.format(msgspec.json.encode(points), indent=1).decode() + '\n'
    contents = {'json': numbers, 'txt': text(points), 'html': document(title, [f'<h1>{title}</h1>', line, f'<pre>{text(points)}</pre>'])}
    for suffix, content in contents.items():
        with files.atomically(job.work / f'curve.{suffix}') as draft:
            draft.write_text(content)
    job.log(text(points).rstrip('\n'))
