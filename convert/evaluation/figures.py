"""A model's own figures as Markdown tables: `python -m convert figures promlstm/models/default.onnx` prints them. Pure."""

OF_SETS = {
    'events': 'events',
    'entity_weeks': 'entity-weeks',
    'recall_at_1_per_week': 'recall at 1/week',
    'recall_at_1_per_day': 'recall at 1/day',
    'best_event_f1': 'best event F1',
    'median_delay_steps': 'median delay, steps',
}
OF_SEVERAL = {'auc_pr': 'AUC-PR', 'hit_rate_at_100': 'HitRate@100 %', 'hit_rate_at_150': 'HitRate@150 %'}
RIVALS = {'': 'the model', '_without_lstm': 'without LSTM', '_best_baseline': 'best baseline'}
OF_KIND = '_recall_at_1_per_week'       # after the name of a kind of fault
BUDGETS = {'1/month': 7 / 30, '1/week': 1.0, '1/day': 7.0}


def markdown(bundle):
    """Tables of a bundle.Bundle's calibration and evaluation, as text."""
    parts = [_thresholds(bundle.calibration)]
    for name, figures in sorted(bundle.manifest.evaluation.items()):
        if any(key.endswith(OF_KIND) for key in figures):
            parts.append(_kinds(name, figures))
        else:
            parts.append(_set(name, figures, OF_SEVERAL if 'auc_pr' in figures else OF_SETS))
    return '\n'.join(parts)


def _thresholds(calibration):
    lines = ['### Surprise at a budget of false alarms', '', *_head('step', 'class', *BUDGETS)]
    for row in calibration.rows:
        found = [_threshold(calibration, row, alarms) for alarms in BUDGETS.values()]
        lines.append(_line(f'{row.step_seconds[0]:g}–{row.step_seconds[1]:g} s', row.klass, *found))
    return '\n'.join([*lines, ''])


def _threshold(calibration, row, alarms):
    if row.alarms_per_entity_week[-1] > alarms:
        return '–'
    return f'{calibration.threshold(alarms, step_seconds=row.step_seconds[0], klass=row.klass):.2f}'


def _kinds(name, figures):
    kinds = [key.removesuffix(OF_KIND) for key in figures if key.endswith(OF_KIND)]
    lines = [f'### {name}: recall of injected faults at one false alarm per entity-week', '', *_head('fault', *RIVALS.values())]
    for kind in kinds:
        keys = [kind + OF_KIND + rival for rival in RIVALS]
        lines.append(_line(kind, *(f'{figures[key]:.2f}' if key in figures else '' for key in keys)))
    return '\n'.join([*lines, ''])


def _set(name, figures, measures):
    lines = [f'### {name}', '', *_head('measure', *RIVALS.values())]
    lines += [_line(title, *(_figure(figures, key + rival) for rival in RIVALS)) for key, title in measures.items()]
    for budget in ('week', 'day'):
        if (found := figures.get(f'false_alarms_promised_1_per_{budget}')) is not None:
            lines.append(_line(f'false alarms where 1/{budget} is promised', f'{found:.2f}', '', ''))
    return '\n'.join([*lines, ''])


def _figure(figures, key):
    return f'{figures[key]:.3f}'.rstrip('0').rstrip('.') if key in figures else ''


def _head(*cells):
    return [_line(*cells), '|' + '---|' * len(cells)]


def _line(*cells):
    return '| ' + ' | '.join(str(cell) for cell in cells) + ' |'
