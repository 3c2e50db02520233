"""Two model files side by side: what their cards say, and what they find on the same telemetry in the same run.

    python -m convert compare promlstm/models/default.onnx build/own/own.onnx --recipe own.yml

The figures in a file are of whatever that model was measured on. Only figures of the same run can be compared, so both are measured again.
"""

from html import escape

import msgspec
import numpy as np

from convert import files, recipe
from convert.data import labelled
from convert.evaluation import benchmark, benchmark_sets, gates, report
from promlstm.engine import session

TELEMETRY = tuple(recipe.Telemetry(step_seconds=step, steps=2000, entities=96) for step in (60, 300))
SEED = 4_000_037        # of telemetry that no recipe learns from or is evaluated on


def compare(a, b, *, recipe_path, data, html, as_json, log):
    """The comparison of two model files as text for standard output.

    a, b         a file or builtin:NAME
    recipe_path  recipe whose evaluation and gates to use; None = TELEMETRY and the default gates
    data         folder of labelled sets to measure on as well; None = none
    html         file to write a page with plots to; None = none
    as_json      the report as JSON in place of text
    log          function of a line of text: how far it is
    raises       PromlstmError, RecipeError
    """
    pair = [session.load(session.resolve(each)) for each in (a, b)]
    chosen = recipe.load(recipe_path) if recipe_path else None
    telemetry, rules = (chosen.evaluation.telemetry, chosen.gates) if chosen else (TELEMETRY, gates.Gates())
    found, scored = measure(*pair, telemetry, data, rules, log)
    if html:
        with files.atomically(html) as draft:
            draft.write_text(report.page(found, scored, [('What differs', _differences_html(*pair))]))
    return report.encoded(found).decode() if as_json else text(*pair, found)


def measure(a, b, telemetry, data, rules, log):
    """(report.Report, benchmark.Scored) of B against A as the model in service, on telemetry that neither has learnt from."""
    sets = [(benchmark_sets.linked if each.features > 1 else benchmark_sets.injected)(each, SEED) for each in telemetry]
    sets += [part for folder in labelled.sets(data) for part in benchmark_sets.recorded(folder)] if data else []
    methods = [benchmark.Method('B', 'model', b), benchmark.Method('A', 'in service', a)]
    results, scored = benchmark.measure_all(methods, sets, log)
    found = report.Report(
        model=b.bundle.manifest.name,
        family=b.bundle.manifest.family,
        sha256=b.bundle.sha256,
        service=a.bundle.sha256,
        budget_per_week=benchmark.BUDGET,
        results=results,
        verdicts=gates.judge(results, rules),
        learning=report.learning(()),
    )
    return found, scored


def text(a, b, found):
    """For a terminal: what differs, whether it matters, all figures."""
    lines = [f'A = {a.bundle.source}', f'B = {b.bundle.source}', '']
    lines += [*report.table([['', 'A', 'B'], *map(list, differences(a, b))]), '']
    lines += [f'  {conclusion(each)}' for each in found.verdicts if each.role == 'in service']
    return '\n'.join(lines) + '\n\n' + report.text(found)


def conclusion(verdict):
    """Which of the two is better in one comparison, in words."""
    unit = 'events found at equal false alarms' if verdict.what == 'recall' else 'alarms per entity-week in healthy time'
    higher_is_better = verdict.what == 'recall'
    better = 'B is better' if (verdict.ours > verdict.theirs) == higher_is_better else 'A is better'
    significant = verdict.ours != verdict.theirs and not verdict.low <= 0 <= verdict.high
    words = better if significant else 'no difference that is more than noise'
    return f'{verdict.benchmark_set}: {unit}: A {verdict.theirs:.3f}, B {verdict.ours:.3f}: {words}'


def _differences_html(a, b):
    rows = [''.join(f'<td>{escape(cell)}</td>' for cell in row) for row in differences(a, b)]
    return '<table><tr><th></th><th>A</th><th>B</th></tr>' + ''.join(f'<tr>{row}</tr>' for row in rows) + '</table>'


def differences(a, b):
    """Rows of the two cards that are not the same: [(what, of A, of B)]."""
    cards = [card(each.bundle) for each in (a, b)]
    rows = [(name, cards[0].get(name, '–'), cards[1].get(name, '–')) for name in dict.fromkeys([*cards[0], *cards[1]])]
    return [row for row in rows if row[1] != row[2]] or [('nothing differs', '', '')]


def card(bundle):
    """{what: text} of a bundle.Bundle."""
    manifest = bundle.manifest
    features = len(manifest.features or 'x')
    out = {
        'name': manifest.name,
        'family': manifest.family,
        'created': manifest.created,
        'sha256': bundle.sha256[:12],
        'file, bytes': bundle.size_bytes,
        'memory, bytes per entity': bundle.state_bytes(features) + bundle.season_bytes(features),
        'warm-up, samples': manifest.warmup_steps,
        'features': 'any' if manifest.features is None else ', '.join(manifest.features),
        'views': ', '.join(manifest.views) or 'none',
        'steps': f'{manifest.step_seconds[0]:g} to {manifest.step_seconds[1]:g} s',
    }
    training = msgspec.structs.asdict(manifest.training)
    training |= {name: training[name][:12] for name in ('digest', 'recipe')}
    out |= {f'training: {name}': value for name, value in training.items()}
    out |= {f'made with {name}': version for name, version in sorted(manifest.tools.items())}
    out |= {f'surprise at 1/week, {row.step_seconds[0]:g} s, class {row.klass}': _threshold(row) for row in bundle.calibration.rows}
    return {name: str(value) for name, value in out.items()}


def _threshold(row):
    alarms = np.log(row.alarms_per_entity_week)
    return f'{np.interp(0, -alarms, row.surprise):.2f}' if alarms[-1] <= 0 else 'not measured'
