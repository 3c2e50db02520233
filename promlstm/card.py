"""What a model file is and how good it is, as text: the model card of `check-model`. Pure.

Who calls it: __main__, and convert.evaluation.figures for the names of measures. What flows through: a Bundle; out come lines of text.
It loads no model and runs none.

The manifest holds measures as flat keys, {set: {key: figure}}. A key is a measure and, after it, what was measured: nothing = the model
itself, `_without_lstm`, `_best_baseline` = what it is compared with. In sets of injected faults the measure begins with the kind of fault.
"""

from collections.abc import Mapping, Sequence

from promlstm import terminal
from promlstm.durations import seconds
from promlstm.engine.bundle import FORMAT, Bundle, Calibration, Manifest, Proof, Row, Training
from promlstm.engine.recent import BYTES
from promlstm.forecasts.model import OUTPUT, Model

MEASURES = {
    'events': 'events',
    'entity_weeks': 'entity-weeks',
    'recall_at_1_per_week': 'recall at 1/week',
    'recall_at_1_per_day': 'recall at 1/day',
    'best_event_f1': 'best event F1',
    'median_delay_steps': 'median delay, steps',
    'auc_pr': 'AUC-PR',
    'hit_rate_at_100': 'HitRate@100 %',
    'hit_rate_at_150': 'HitRate@150 %',
    'false_alarms_promised_1_per_week': 'false alarms / budget of 1/week',
    'false_alarms_promised_1_per_day': 'false alarms / budget of 1/day',
}
FORECAST_MEASURES = {  # key: (title, how it is written)
    'error_ratio': ('error', '{:.2f}'),
    'loss_ratio': ('loss', '{:.2f}'),
    'coverage': ('within', '{:.0%}'),
    'series': ('series', '{:.0f}'),
}
RIVALS = {'': 'model', '_without_lstm': 'without LSTM', '_best_baseline': 'best baseline', '_float32': 'float32'}
KIND_RECALL = '_recall_at_1_per_week'  # after the name of a kind of fault
BUDGETS = {'1/month': 7 / 30, '1/week': 1.0, '1/day': 7.0}  # alarms per entity-week
LABEL = 12  # width of the names in the identity block
_WHOLE = {'events', 'median_delay_steps'}  # measures that are counts


def card(bundle: Bundle, width: int | None = None) -> list[str]:
    """The model card, as lines.

    bundle  of a session whose proof was verified on this machine: the card says so
    width   columns of the terminal; None = lines of any length
    """
    lines = [line for name, text in _identity(bundle).items() for line in terminal.wrapped(f'{name:{LABEL}} {text}', width, indent=LABEL + 1)]
    lines += _calibration(bundle, width)
    for name, figures in sorted(bundle.manifest.evaluation.items()):
        lines += ['', *terminal.wrapped(_heading(name, figures), width), *_indented(measure_rows(figures), width)]
    return lines


def forecast_card(model: Model, width: int | None = None) -> list[str]:
    """The card of a model that forecasts, as `card`."""
    about, proof = model.about, model.proof
    rows = sum(case.outputs[OUTPUT].shape[0] for case in proof.cases)
    identity = {
        'model': about.name,
        'description': about.description,
        'file': model.source,
        'sha256': model.sha256,
        'created': about.created,
        'forecasts': f'from {terminal.duration(about.horizons_seconds[0])} to {terminal.duration(about.horizons_seconds[1])} ahead; '
        f'{about.coverage:.0%} of what comes is between lower and upper',
        'steps': f'{terminal.duration(about.step_seconds[0])} to {terminal.duration(about.step_seconds[1])}',
        'memory': f'{BYTES} bytes per entity and feature beside the seasonal memory',
        'trained on': _training(about.training),
        'made with': ', '.join(f'{name} {version}' for name, version in sorted(about.tools.items())),
        'digest': _digest(FORMAT),
        'proof': f'verified on this machine: {rows} rows, relative tolerance {proof.relative_tolerance:g} ({proof.reason})',
    }
    lines = [line for name, text in identity.items() for line in terminal.wrapped(f'{name:{LABEL}} {text}', width, indent=LABEL + 1)]
    heading = 'Evaluation: error and loss of the quantiles as a share of those of "the same as a day ago", and the share of the values that came within'
    return [*lines, '', *terminal.wrapped(heading, width), *_indented(_forecast_rows(about.evaluation), width)]


def _forecast_rows(evaluation: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """A row for each telemetry and horizon, nearest first.

    >>> for row in _forecast_rows({'ASD at 300 s, 24h': {'error_ratio': 0.82}, 'ASD at 300 s, 5m': {'error_ratio': 0.4, 'coverage': 0.8}}): print(row)
    ('telemetry', 'ahead', 'error', 'loss', 'within', 'series')
    ('ASD at 300 s', '5m', '0.40', '', '80%', '')
    ('', '1d', '0.82', '', '', '')
    """
    rows, before = [('telemetry', 'ahead', *(title for title, _ in FORECAST_MEASURES.values()))], ''
    named = sorted((name.rpartition(', ')[0], seconds(name.rpartition(', ')[2]), name) for name in evaluation)
    for telemetry, ahead, name in named:
        figures = [text.format(evaluation[name][key]) if key in evaluation[name] else '' for key, (_, text) in FORECAST_MEASURES.items()]
        rows.append(('' if telemetry == before else telemetry, terminal.duration(ahead), *figures))
        before = telemetry
    return rows


def _identity(bundle: Bundle) -> dict[str, str]:
    manifest, calibration, proof = bundle.manifest, bundle.calibration, bundle.proof
    features = 1 if manifest.features is None else len(manifest.features)
    unit = 'per entity and feature' if manifest.features is None else 'per entity'
    measured = f'{calibration.status}: {calibration.source}, {calibration.entity_weeks:.0f} entity-weeks'
    return {
        'model': manifest.name,
        'description': manifest.description,
        'family': manifest.family,
        'file': f'{bundle.source} ({terminal.quantity(bundle.size_bytes, "size_bytes")})',
        'sha256': bundle.sha256,
        'created': manifest.created,
        'features': 'any number' if manifest.features is None else ', '.join(manifest.features),
        'steps': f'{terminal.duration(manifest.step_seconds[0])} to {terminal.duration(manifest.step_seconds[1])}',
        'memory': f'{bundle.state_bytes(features)} bytes of state and {bundle.season_bytes(features)} bytes of seasonal memory {unit}',
        'warm-up': f'{manifest.warmup_steps} samples before the first score; a start reads {_replayed(manifest)} of history',
        'season': f'{manifest.season_slots} slots in {terminal.duration(manifest.season_period_seconds)}' if manifest.season_slots else 'none',
        'views': ', '.join(manifest.views) or 'none',
        'trained on': _training(manifest.training),
        'made with': ', '.join(f'{name} {version}' for name, version in sorted(manifest.tools.items())),
        'calibration': 'none: the model gives surprise but no score' if calibration.status == 'none' else measured,
        'digest': _digest(manifest.format),
        'proof': f'verified on this machine: {_proven(proof)}, relative tolerance {proof.relative_tolerance:g} ({proof.reason})',
    }


def _replayed(manifest: Manifest) -> str:
    """What a warm start replays."""
    return f'{manifest.replay_steps} steps' + (f', or {terminal.duration(manifest.replay_seconds)} if that is more,' if manifest.replay_seconds else '')


def _training(training: Training) -> str:
    return (
        f'{training.data}; {training.entity_steps} samples in {training.seconds:.0f} s, '
        f'seed {training.seed}, data {training.digest[:12]}, recipe {training.recipe[:12]}'
    )


def _digest(version: int) -> str:
    if version > 1:
        return 'verified: every byte of the file is as it was released'
    return 'none (format 1): a damaged byte may go unseen; make the file again with `python -m convert`'


def _proven(proof: Proof) -> str:
    """At which steps a proof was replayed, and how many of them."""
    cases = sorted(proof.cases, key=lambda case: case.step_seconds)
    count = sum(case.inputs['value'].shape[0] for case in cases)
    return f'{count} steps of {", ".join(terminal.duration(case.step_seconds) for case in cases)}'


def _calibration(bundle: Bundle, width: int | None) -> list[str]:
    """The surprise at a few budgets, one line per step range and class."""
    calibration, longest = bundle.calibration, bundle.manifest.step_seconds[1]
    if not calibration.rows:
        return []
    rows, before = [('step', 'class', *BUDGETS, 'floor')], ''
    for row in calibration.rows:
        low, high = row.step_seconds
        steps = f'{terminal.duration(low)} to {terminal.duration(min(high, longest))}'
        thresholds = [threshold_text(calibration, row, alarms) for alarms in BUDGETS.values()]
        rows.append(('' if steps == before else steps, str(row.klass), *thresholds, f'{row.alarms_per_entity_week[-1]:.3g}'))
        before = steps
    heading = 'Surprise that each budget of false alarms per entity allows (floor: lowest budget measured, alarms per entity-week)'
    return ['', *terminal.wrapped(heading, width), *_indented(rows, width)]


def threshold_text(calibration: Calibration, row: Row, alarms_per_week: float) -> str:
    """The surprise of a budget in a calibration row; a dash where the budget lies below the floor of the row."""
    if row.alarms_per_entity_week[-1] > alarms_per_week:
        return '–'
    return f'{calibration.threshold(alarms_per_week, step_seconds=row.step_seconds[0], klass=row.klass):.2f}'


def _heading(name: str, figures: Mapping[str, float]) -> str:
    if any(key.endswith(KIND_RECALL) for key in figures):
        return f'Evaluation on {name}: recall of injected faults at 1 false alarm per entity-week'
    return f'Evaluation on {name}'


def measure_rows(figures: Mapping[str, float]) -> list[tuple[str, ...]]:
    """One set's figures as a table: a header, then one row per measure; columns without any figure are left out.

    >>> for row in measure_rows({'events': 61, 'best_event_f1': 0.38, 'best_event_f1_without_lstm': 0.4}): print(row)
    ('measure', 'model', 'without LSTM')
    ('events', '61', '')
    ('best event F1', '0.380', '0.400')
    >>> measure_rows({'spike_recall_at_1_per_week': 0.5})
    [('fault', 'model'), ('spike', '0.500')]
    """
    by_measure: dict[str, dict[str, float]] = {}
    for key, value in figures.items():
        rival = next((suffix for suffix in RIVALS if suffix and key.endswith(suffix)), '')
        by_measure.setdefault(key.removesuffix(rival), {})[rival] = value
    rivals = [rival for rival in RIVALS if any(rival in found for found in by_measure.values())]
    injected = any(measure.endswith(KIND_RECALL) for measure in by_measure)
    rows: list[tuple[str, ...]] = [('fault' if injected else 'measure', *(RIVALS[rival] for rival in rivals))]
    for measure, found in by_measure.items():
        title = MEASURES.get(measure) or measure.removesuffix(KIND_RECALL).replace('_', ' ')
        rows.append((title, *(_figure(measure, found[rival]) if rival in found else '' for rival in rivals)))
    return rows


def _figure(measure: str, value: float) -> str:
    """Three places after the point, where they mean something.

    >>> _figure('auc_pr', 1), _figure('events', 779), _figure('entity_weeks', 182.157)
    ('1.000', '779', '182')
    """
    if measure in _WHOLE:
        return f'{value:g}'
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3f}'


def _indented(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """A table below its heading; the first row is the header."""
    room = None if width is None else width - 2
    header = [text.upper() for text in rows[0]]
    return ['  ' + line for line in terminal.table([header, *rows[1:]], room, right=True)]
