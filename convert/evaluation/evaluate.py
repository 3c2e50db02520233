"""Figures for the manifest: what a model finds at a bearable rate of false alarms, beside baselines and beside itself without the LSTM.

Two kinds of telemetry: injected faults of known kinds, measured by the benchmark; and, where a folder is given, labelled telemetry of others
(labelled.py). One threshold for all entities of a set.
"""

import itertools
from pathlib import Path

import numpy as np

from convert.data import labelled
from convert.evaluation import baselines, measures, replay
from convert.evaluation.measures import Entity

BUDGETS = {'per_week': 1.0, 'per_day': 7.0}


def injected(results):
    """Recall of each kind of injected fault, from benchmark.Results: of the model, without LSTM where that was measured, and of the best baseline.

    returns  {benchmark set: {measure: figure}} of the sets with faults of known kinds
    """
    out = {}
    for result in results:
        suffix = {'model': '', 'without LSTM': '_without_lstm', 'baseline': '_best_baseline'}.get(result.role)
        if result.by_kind and suffix is not None and (result.role != 'baseline' or result.method in baselines.NAMES):
            table = out.setdefault(result.benchmark_set, {})
            for kind, recall in result.by_kind.items():
                measure = f'{kind}_recall_at_1_per_week{suffix}'
                table[measure] = max(table.get(measure, 0.0), round(float(recall), 3))
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
    return _figures(entities, session.bundle.calibration, log)


def _figures(entities, calibration, log):
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
