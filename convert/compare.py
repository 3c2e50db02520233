"""Two model files side by side: what their cards say, and what they find on the same telemetry in the same run.

    python -m convert compare promlstm/models/default.onnx build/own/own.onnx --recipe own.yml

Figures that stand in the files are of whatever they were measured on; only those of the same run can be compared, so they are made anew.
"""

import msgspec
import numpy as np

from convert import recipe
from convert.evaluation import benchmark, benchmark_sets, gates, report
from promlstm.engine import session

TELEMETRY = tuple(recipe.Telemetry(step_seconds=step, steps=2000, entities=96) for step in (60, 300))
SEED = 4_000_037        # of telemetry that no recipe learns from or is evaluated on


def run(args):
    """Print it, and return 0; what cannot be loaded raises PromlstmError or RecipeError."""
    pair = [session.load(session.resolve(each)) for each in (args.model, args.b)]
    told = recipe.load(args.recipe) if args.recipe else None
    found, sights = compared(*pair, told.evaluation.telemetry if told else TELEMETRY, args.data, told.gates if told else gates.Gates())
    print(report.encoded(found).decode() if args.json else text(*pair, found), end='')
    if args.html:
        table = ''.join(f'<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>' for a, b, c in differences(*pair))
        args.html.write_text(report.page(found, sights, [('What differs', f'<table><tr><th></th><th>A</th><th>B</th></tr>{table}</table>')]))
    return 0


def compared(a, b, telemetry, data, told):
    """(report.Report, contest.Sights) of B against A as the model in service, on telemetry that neither has learnt from."""
    trials = [(benchmark_sets.linked if each.features > 1 else benchmark_sets.injected)(each, SEED) for each in telemetry]
    trials += [part for folder in sorted(data.iterdir()) for part in benchmark_sets.recorded(folder)] if data else []
    rivals = [benchmark.Contestant('B', 'model', b), benchmark.Contestant('A', 'in service', a)]
    results, sights = benchmark.held(rivals, trials, lambda _: None)
    found = report.Report(
        model=b.bundle.manifest.name, family=b.bundle.manifest.family, sha256=b.bundle.sha256, service=a.bundle.sha256,
        budget_per_week=benchmark.BUDGET, results=results, verdicts=gates.judge(results, told), learning=report.learning(()),
    )  # fmt: skip
    return found, sights


def text(a, b, found):
    """For a terminal: what differs, whether it matters, all figures."""
    lines = [f'A = {a.bundle.source}', f'B = {b.bundle.source}', '', *report.columns([['', 'A', 'B'], *map(list, differences(a, b))]), '']
    lines += [f'  {told(each)}' for each in found.verdicts if each.role == 'in service']
    return '\n'.join(lines) + '\n\n' + report.text(found)


def told(verdict):
    """Which of the two is better in one comparison, in words."""
    unit = 'events found at equal false alarms' if verdict.what == 'recall' else 'alarms per entity-week in healthy time'
    better = {True: 'B is better', False: 'A is better'}[(verdict.ours > verdict.theirs) == (verdict.what == 'recall')]
    sure = better if verdict.ours != verdict.theirs and not verdict.low <= 0 <= verdict.high else 'no difference that is more than noise'
    return f'{verdict.trial}: {unit}: A {verdict.theirs:.3f}, B {verdict.ours:.3f}: {sure}'


def differences(a, b):
    """Rows of the two cards that are not the same: [(what, of A, of B)]."""
    cards = [card(each.bundle) for each in (a, b)]
    rows = [(name, cards[0].get(name, '–'), cards[1].get(name, '–')) for name in dict.fromkeys([*cards[0], *cards[1]])]
    return [row for row in rows if row[1] != row[2]] or [('nothing differs', '', '')]


def card(bundle):
    """{what: text} of a bundle.Bundle."""
    manifest = bundle.manifest
    training = msgspec.structs.asdict(manifest.training) | {'digest': manifest.training.digest[:12], 'recipe': manifest.training.recipe[:12]}
    features = len(manifest.features or 'x')
    out = {
        'name': manifest.name, 'family': manifest.family, 'created': manifest.created, 'sha256': bundle.sha256[:12], 'file, bytes': bundle.size_bytes,
        'memory, bytes per entity': bundle.state_bytes(features) + bundle.season_bytes(features), 'warm-up, samples': manifest.warmup_steps,
        'features': 'any' if manifest.features is None else ', '.join(manifest.features), 'views': ', '.join(manifest.views) or 'none',
        'steps': f'{manifest.step_seconds[0]:g} to {manifest.step_seconds[1]:g} s',
    }  # fmt: skip
    out |= {f'training: {name}': value for name, value in training.items()}
    out |= {f'made with {name}': version for name, version in sorted(manifest.tools.items())}
    out |= {f'surprise at 1/week, {row.step_seconds[0]:g} s, class {row.klass}': _threshold(row) for row in bundle.calibration.rows}
    return {name: str(value) for name, value in out.items()}


def _threshold(row):
    alarms = np.log(row.alarms_per_entity_week)
    return f'{np.interp(0, -alarms, row.surprise):.2f}' if alarms[-1] <= 0 else 'not measured'
