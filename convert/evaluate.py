"""What a model finds at a bearable rate of false alarms, beside simple baselines and beside itself without the LSTM.

Two kinds of telemetry: synthetic with injected faults of known kinds, held out from training and calibration by its seed; and, where a
folder is given, labelled telemetry of others (labelled.py). One threshold for all entities of a set.
"""

import functools
import itertools
import tempfile
from pathlib import Path

import numpy as np

from convert import baselines, export, faults, forecaster, labelled, measures, replay, synthesis
from convert.measures import Entity

BUDGETS = {'per_week': 1.0, 'per_day': 7.0}
SETTLED = 600               # steps of a synthetic series before a fault may be injected
FAULTS_EACH = 2             # faults injected per series


def without_lstm(release):
    """A Session of the same rule with "no change" for a forecast; release(model, path) writes and reads back."""
    model = export.export(functools.partial(forecaster.step, None), lstms=0)
    with tempfile.TemporaryDirectory() as folder:
        return release(model, Path(folder) / 'without_lstm.onnx')


def injected(session, rival, telemetry, *, seed, log):
    """Recall of each kind of fault at one false alarm per entity-week, of the model, without LSTM, and of the best baseline.

    session, rival  promlstm.session.Session of the model and of the rule without LSTM
    telemetry       recipe.Telemetry
    returns         {measure: figure}
    """
    step = telemetry.step_seconds
    batch, kinds = _with_faults(telemetry, seed)
    history = (batch.history_times, batch.history)
    rows = [_univariate(s, batch.times, batch.values, step, history) for s in (session, rival)]
    rows += list(baselines.scores(batch.values[..., 0], step).values())
    names = ('model', 'without_lstm', *baselines.NAMES)
    tested = slice(SETTLED, None)
    found = {}
    for name, scores in zip(names, rows, strict=True):
        entities = [Entity(scores[tested, n], batch.faulty[tested, n, 0], step) for n in range(len(kinds))]
        found[name] = _recall_by_kind(entities, kinds)
    best = {kind: max(found[name][kind] for name in baselines.NAMES) for kind in found['model']}
    for kind in found['model']:
        log(f'  {kind:14} model {found["model"][kind]:.2f}, without LSTM {found["without_lstm"][kind]:.2f}, best baseline {best[kind]:.2f}')
    tables = {'': found['model'], '_without_lstm': found['without_lstm'], '_best_baseline': best}
    return {f'{kind}_recall_at_1_per_week{suffix}': round(float(recall), 3) for suffix, table in tables.items() for kind, recall in table.items()}


def _with_faults(telemetry, seed):
    """A healthy batch and, in each entity, faults of one kind."""
    step = telemetry.step_seconds
    batch = synthesis.batch(seed, step_seconds=step, steps=telemetry.steps, entities=telemetry.entities)
    rng, kinds = np.random.default_rng([seed, 1]), [tuple(faults.KINDS)[n % len(faults.KINDS)] for n in range(telemetry.entities)]
    values, faulty = batch.values[..., 0], batch.faulty[..., 0]
    for n, kind in enumerate(kinds):
        for _ in range(FAULTS_EACH):
            at = int(rng.integers(SETTLED, max(SETTLED + 1, telemetry.steps - 100)))
            faults.plant(values, faulty, at, n, kind, step_seconds=step, size=3 * 10 ** rng.uniform(0, 1), rng=rng)
    return batch, kinds


def _recall_by_kind(entities, kinds):
    """Recall of each kind at the lowest threshold that keeps to one false alarm per entity-week over all entities."""
    fits = [t for t in measures.thresholds(entities) if measures.false_alarms_per_week(entities, t) <= 1]
    threshold = min(fits, default=np.inf)
    out = {}
    for kind in faults.KINDS:
        mine = [e for e, k in zip(entities, kinds, strict=True) if k == kind]
        events = sum(len(measures.runs(e.labels)) for e in mine)
        if events:
            out[kind] = sum(len(measures.outcome(e, threshold)[0]) for e in mine) / events
    return out


def _univariate(session, times, values, step_seconds, history=None):
    return replay.surprises(session, times, values, step_seconds=step_seconds, history=history)


def univariate(folder):
    """Whether a folder holds labelled series of one feature (entities of several are measured otherwise)."""
    with np.load(next(iter(sorted(Path(folder).glob('*.npz'))))) as data:
        return data['x'].shape[1] == 1


def recorded(session, rival, folder, *, log):
    """A labelled set (univariate): operating points of the model, without LSTM and of the best baseline by recall at 1 per week.

    returns  {measure: figure}
    """
    parts = {}
    cut = sorted((piece for r in labelled.read(folder) for piece in labelled.pieces(r)), key=lambda r: r.step_seconds)
    for step, group in itertools.groupby(cut, key=lambda r: r.step_seconds):
        group = list(group)
        times, values, first = labelled.together(group)
        rows = {'model': _univariate(session, times, values, step), 'without_lstm': _univariate(rival, times, values, step)}
        rows |= baselines.scores(values[..., 0], step)
        for name, scores in rows.items():
            for n, r in enumerate(group):
                parts.setdefault((name, r.name), []).append((scores[first[n] + r.place, n], r.labels, step))
    entities = {}
    for (name, _), pieces in parts.items():
        scores, labels = (np.concatenate(column) for column in zip(*[p[:2] for p in pieces], strict=True))
        entities.setdefault(name, []).append(Entity(scores, labels, pieces[0][2]))
    return _told(entities, session.bundle.calibration, log)


def _told(entities, calibration, log):
    points = {name: measures.operating_points(each) for name, each in entities.items()}
    best = max(baselines.NAMES, key=lambda name: points[name]['recall_at_1_per_week'])
    out = {}
    for name, suffix in (('model', ''), ('without_lstm', '_without_lstm'), (best, '_best_baseline')):
        log(f'  {name:14} ' + ', '.join(f'{measure} {figure:.3f}' for measure, figure in points[name].items()))
        out |= {measure + suffix: round(float(figure), 3) for measure, figure in points[name].items() if np.isfinite(figure)}
    for name, budget in BUDGETS.items() if calibration.status == 'measured' else ():
        found = [promised(e, calibration, budget) for e in entities['model']]
        out[f'false_alarms_promised_1_{name}'] = round(float(sum(n for n, _ in found) / sum(w for _, w in found) / budget), 2)
        log(f'  promised 1 {name}: {out[f"false_alarms_promised_1_{name}"]:.2f} false alarms')
    return out


def promised(entity, calibration, alarms_per_week):
    """(False alarms, weeks judged) of an entity at the threshold that the calibration gives for a budget."""
    threshold = calibration.threshold(alarms_per_week, step_seconds=entity.step_seconds)
    return measures.outcome(entity, threshold)[1], measures.judged_days([entity]) / 7


def several(session, rival, folder, *, log):
    """A labelled set of entities with several features: mean AUC-PR over entities, and how often the right features are blamed.

    returns  {measure: figure}
    """
    recordings = labelled.read(folder)
    step = recordings[0].step_seconds
    times, values, first = labelled.together(recordings)
    out = {}
    for name, each in (('', session), ('_without_lstm', rival)):
        scores, shares = replay.surprises(each, times, values, step_seconds=step, contributions=True)
        found = [(scores[first[n] + r.place, n], shares[first[n] + r.place, n], r) for n, r in enumerate(recordings)]
        out[f'auc_pr{name}'] = float(np.mean([measures.average_precision(s, r.labels) for s, _, r in found]))
        blame = [np.concatenate(part) for part in zip(*[(c, labelled.culprits(r, values.shape[2])) for _, c, r in found], strict=True)]
        for percent in (100, 150):
            out[f'hit_rate_at_{percent}{name}'] = measures.hit_rate(*blame, percent / 100)
    log('  ' + ', '.join(f'{measure} {figure:.3f}' for measure, figure in out.items()))
    return {measure: round(float(figure), 3) for measure, figure in out.items()}
