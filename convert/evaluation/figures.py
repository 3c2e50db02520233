"""A model's own figures as Markdown tables: `python -m convert figures promlstm/models/default.onnx` prints them. Pure."""

from promlstm.card import BUDGETS, KIND_RECALL, MEASURES, threshold_text

OF_SETS = ('events', 'entity_weeks', 'recall_at_1_per_week', 'recall_at_1_per_day', 'best_event_f1', 'median_delay_steps')
OF_SEVERAL = ('auc_pr', 'hit_rate_at_100', 'hit_rate_at_150')
RIVALS = {'': 'the model', '_without_lstm': 'without LSTM', '_best_baseline': 'best baseline'}


def markdown(bundle):
    """Tables of a bundle.Bundle's calibration and evaluation, as text."""
    parts = [_thresholds(bundle.calibration)]
    for name, figures in sorted(bundle.manifest.evaluation.items()):
        if any(key.endswith(KIND_RECALL) for key in figures):
            parts.append(_kinds(name, figures))
        else:
            parts.append(_set(name, figures, OF_SEVERAL if 'auc_pr' in figures else OF_SETS))
    return '\n'.join(parts)


def _thresholds(calibration):
    lines = ['### Surprise at a budget of false alarms', '', *_head('step', 'class', *BUDGETS)]
    for row in calibration.rows:
        found = [threshold_text(calibration, row, alarms) for alarms in BUDGETS.values()]
        lines.append(_line(f'{row.step_seconds[0]:g}–{row.step_seconds[1]:g} s', row.klass, *found))
    return '\n'.join([*lines, ''])


def _kinds(name, figures):
    kinds = [key.removesuffix(KIND_RECALL) for key in figures if key.endswith(KIND_RECALL)]
    lines = [f'### {name}: recall of injected faults at one false alarm per entity-week', '', *_head('fault', *RIVALS.values())]
    for kind in kinds:
        keys = [kind + KIND_RECALL + rival for rival in RIVALS]
        lines.append(_line(kind, *(f'{figures[key]:.2f}' if key in figures else '' for key in keys)))
    return '\n'.join([*lines, ''])


def _set(name, figures, measures):
    lines = [f'### {name}', '', *_head('measure', *RIVALS.values())]
    lines += [_line(MEASURES[key], *(_figure(figures, key + rival) for rival in RIVALS)) for key in measures]
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
