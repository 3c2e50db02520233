"""What a contest found, for people and programs: report.txt, report.json, and report.html, one page that opens anywhere.

Who calls it: make (evaluate) and compare. What flows through: contest.Results and Sights, gates.Verdicts, the log of the training; out
comes text. It measures nothing.
"""

import re
from html import escape

import msgspec
import numpy as np

from convert.evaluation import benchmark, gates, measures, plots

DRAWN = 10              # best and worst detections
AROUND = 120            # steps drawn before and after an event
LOSS = re.compile(r'(\d+)/(\d+)\b.*?loss (-?[\d.]+)')
COLUMNS = {
    'event_recall': 'events found', 'event_precision': 'event precision', 'event_f1': 'event F1', 'accuracy': 'accuracy', 'precision': 'precision',
    'recall': 'recall', 'f1': 'F1', 'false_alarms_per_week': 'false alarms', 'delay_steps': 'delay',
}  # fmt: skip
STYLE = """body{font:15px/1.45 system-ui,sans-serif;color:#1c2733;max-width:1060px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{margin-top:2em;border-bottom:1px solid #d5dce3}h3{margin:1.4em 0 .3em;font-size:1em}
table{border-collapse:collapse;font-size:13px;margin:.5em 0}td,th{padding:2px 9px;text-align:right;white-space:nowrap}
td:first-child,th:first-child{text-align:left}th{border-bottom:1px solid #9aa7b4;font-weight:600}tr.model td{background:#e8f0fa;font-weight:600}
.wide{overflow-x:auto}.bad{color:#b01818;font-weight:600}.good{color:#3f6b12;font-weight:600}.note{color:#52606d;font-size:13px}
.grid2{display:grid;grid-template-columns:1fr 1fr;gap:1em}@media(max-width:800px){.grid2{display:block}}
svg{width:100%;max-width:640px;height:auto;font-size:11px}svg path{fill:none;stroke-width:1.3}.axis{stroke:#7b8794}.grid{stroke:#e8ecf0}
.mark{stroke:#c81e1e;stroke-dasharray:4 3}.end{text-anchor:end}.middle{text-anchor:middle}.title{fill:#52606d}
.legend{font-size:12px;margin:.2em 0}.legend i{display:inline-block;width:11px;height:11px;margin:0 4px 0 10px;border-radius:2px}
figure{margin:.6em 0}figcaption{font-size:12px;color:#52606d}"""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """report.json. `service` is the sha256 of the model in service, or empty; numbers that are not there are null."""

    model: str
    family: str
    sha256: str
    service: str
    budget_per_week: float
    results: list[benchmark.Result]
    verdicts: list[gates.Verdict]
    learning: dict[str, list[float]]


class Judged(msgspec.Struct, frozen=True):
    """What a release reads of report.json: figures that are not there (null) do not concern it."""

    verdicts: list[gates.Verdict]


def encoded(report):
    """report.json as bytes."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b'\n'


def learning(lines):
    """The learning curve of a training log: {'done': share of the training, 'loss': likewise}.

    >>> learning(['  10/20 windows, loss 1.5000, 3 s', 'train: 4 s'])
    {'done': [0.5], 'loss': [1.5]}
    """
    found = [match.groups() for match in map(LOSS.search, lines) if match]
    return {'done': [int(at) / int(total) for at, total, _ in found], 'loss': [float(loss) for _, _, loss in found]}


def text(report):
    """For a terminal."""
    parts = [f'{report.model} ({report.family}, {report.sha256[:12]}), in service: {report.service[:12] or "none"}']
    for trial in _trials(report):
        rows = [each for each in report.results if each.trial == trial]
        parts += ['', f'{trial}: each at {report.budget_per_week:g} false alarm per entity-week in hindsight; "as it runs" at the calibrated threshold']
        parts += columns([['', *COLUMNS.values(), 'AUC-PR'], *_rows(rows)])
        if rows[0].alarms:
            parts.append(_promise(rows[0]))
    return '\n'.join([*parts, '', *_told(report.verdicts)]) + '\n'


def columns(rows):
    """Rows of text under each other, the first column to the left.

    >>> columns([['', 'F1'], ['model', '0.9']])
    ['         F1', '  model 0.9']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    told = [' '.join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]) for row in rows]
    return [f'  {line}'.rstrip() for line in told]


def _rows(results):
    out = []
    for each in results:
        name = each.contestant if each.role in ('baseline', 'other') else each.role
        if each.equal:
            out.append([name, *_cells(each.equal), _cell(each.auc_pr)])
        if each.run:
            out.append([f'{name}, as it runs', *_cells(each.run), ''])
    return out


def _cells(points):
    return [_cell(getattr(points, name)) for name in COLUMNS]


def _cell(number):
    return '' if number is None or not np.isfinite(number) else f'{number:.3f}' if abs(number) < 10 else f'{number:.0f}'


def _promise(result):
    told = ', '.join(f'{name} promised: {alarms / benchmark.BUDGETS[name]:.2f} of it' for name, alarms in result.alarms.items())
    unknown = '' if result.equal else ' (real incidents may be among them, so no threshold is moved)'
    return f'alarms where nothing is known to be wrong: {told}{unknown}'


def _told(verdicts):
    bad = gates.refusals(verdicts)
    return [f'gates: {len(verdicts)} comparisons, {len(bad)} against a release', *(f'  {line}' for line in [*bad, *gates.weak(verdicts)])]


def _trials(report):
    return list(dict.fromkeys(each.trial for each in report.results))


def page(report, sights, threads=()):
    """report.html as text. `sights` are drawn: contest.Sights of the model; `threads` further (title, HTML) parts."""
    parts = [f'<h1>{escape(report.model)}</h1><p>{escape(report.family)}, sha256 <code>{report.sha256[:16]}</code>; in service: '
             f'<code>{report.service[:16] or "none"}</code></p>', _gates(report.verdicts)]  # fmt: skip
    if report.learning['loss']:
        curve = plots.lines({'loss': (report.learning['done'], report.learning['loss'])}, x='share of the training', y='loss')
        parts.append(f'<h2>Learning</h2><figure>{curve}</figure>')
    parts += [f'<h2>{escape(title)}</h2>{body}' for title, body in threads]
    drawn = {sight.trial.name: sight for sight in sights}
    for trial in _trials(report):
        parts.append(_trial(trial, [each for each in report.results if each.trial == trial], drawn.get(trial)))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(report.model)}: evaluation</title><style>{STYLE}</style><body>{"".join(parts)}</body></html>\n'
    )


def _gates(verdicts):
    bad, weak = gates.refusals(verdicts), ''.join(f'<p>{escape(each)}</p>' for each in gates.weak(verdicts))
    if not verdicts:
        return '<p>No rival to be compared with.</p>'
    if not bad:
        return f'<p class="good">May be released: none of {len(verdicts)} comparisons speaks against it.</p>{weak}'
    return '<p class="bad">Not to be released:</p><ul>' + ''.join(f'<li>{escape(reason)}</li>' for reason in bad) + f'</ul>{weak}'


def _trial(name, results, sight):
    parts = [f'<h2>{escape(name)}</h2>']
    if rows := [(each, row) for each in results for row in _rows([each])]:
        head = ''.join(f'<th>{escape(title)}</th>' for title in ('', *COLUMNS.values(), 'AUC-PR'))
        body = ''.join(
            f'<tr class="{"model" if each.role == "model" else ""}">' + ''.join(f'<td>{escape(cell)}</td>' for cell in row) + '</tr>' for each, row in rows
        )
        parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')
        parts.append('<p class="note">False alarms per entity-week; delay in steps. Without "as it runs": the threshold that keeps to the budget, found in '
                     'hindsight, the same chance for everybody.</p>')  # fmt: skip
    first = results[0]
    figures = [_kinds(results), _alarms(first), _distribution(first)]
    parts.append('<div class="grid2">' + ''.join(figures) + '</div>')
    if sight:
        parts.append(_detections(sight))
    return ''.join(parts)


def _kinds(results):
    if not results[0].by_kind:
        return ''
    best = lambda kind: max((each.by_kind.get(kind, 0) for each in results if each.role == 'baseline'), default=np.nan)  # noqa: E731 (once)
    shown = {each.role: each for each in results if each.role in ('model', 'in service', 'without LSTM')}
    groups = {kind.replace('_', ' '): {role: each.by_kind.get(kind, np.nan) for role, each in shown.items()} | {'best baseline': best(kind)}
              for kind in results[0].by_kind}  # fmt: skip
    caption = 'Events found, by kind of fault; the best baseline is chosen for each kind.'
    return f'<figure>{plots.bars(groups, y="events found")}<figcaption>{caption}</figcaption></figure>'


def _alarms(result):
    if not result.alarms:
        return ''
    groups = {name: {'promised': benchmark.BUDGETS[name], 'counted': alarms} for name, alarms in result.alarms.items()}
    return f'<figure>{plots.bars(groups, y="alarms per entity-week")}<figcaption>{escape(_promise(result))}</figcaption></figure>'


def _distribution(result):
    middle = np.r_[benchmark.BINS[1] / 1.2, np.sqrt(benchmark.BINS[1:-2] * benchmark.BINS[2:-1]), benchmark.BINS[-2] * 1.1]
    series = {name: (middle, np.log10(np.maximum(row, 1e-6))) for name, row in result.shares.items() if any(row)}
    curve = plots.lines(series, x='score (1 = alarm)', y='log10 of the share', log_x=True)
    return f'<figure>{curve}<figcaption>How samples are spread over scores.</figcaption></figure>'


def _detections(sight):
    events = strongest(sight)
    if sight.trial.labels is None:
        return '<h3>The strongest alarms</h3>' + _drawn(sight, events[:DRAWN])
    best, worst = events[:DRAWN], events[::-1][: max(0, min(DRAWN, len(events) - DRAWN))]
    halves = ''.join(f'<div><h3>{title}</h3>{_drawn(sight, some)}</div>' for title, some in (('Best detections', best), ('Worst detections', worst)))
    return f'<div class="grid2">{halves}</div>'


def strongest(sight):
    """Events of a Sight by their highest score, falling: [(score, entity, first, end)]; without labels its alarms."""
    trial, out = sight.trial, []
    tolerance, merge = measures.windows(trial.step_seconds)
    scores = np.nan_to_num(np.where(trial.counted, sight.scores, np.nan))
    for n in range(scores.shape[1]):
        spans = measures.alarms(scores[:, n] >= 1, merge) if trial.labels is None else measures.runs(trial.labels[:, n] & trial.counted[:, n])
        for first, end in spans:
            out.append((float(scores[first : end + tolerance, n].max()), n, first, end))
    return sorted(out, key=lambda event: -event[0])


def _drawn(sight, events):
    trial, parts = sight.trial, []
    for score, n, first, end in events:
        span = slice(max(0, first - AROUND), min(end + AROUND, len(trial.times)))
        column = trial.values[span, n, int(np.nanargmax(_moved(trial.values[span, n], first - span.start)))]
        labels = trial.labels[span, n] if trial.labels is not None else np.zeros(len(column), bool)
        told = f'{trial.kinds[n].replace("_", " ")}, ' if trial.kinds else ''
        svg = plots.trace(column, sight.scores[span, n], measures.runs(labels), unit=f'steps of {trial.step_seconds:g} s')
        parts.append(f'<figure>{svg}<figcaption>{escape(told)}score {score:.2f}, {escape(trial.names[n][:90])}</figcaption></figure>')
    return ''.join(parts) or '<p class="note">none</p>'


def _moved(values, at):
    """How far each feature moves at a step, in its own spread: float [F]."""
    with np.errstate(all='ignore'):
        spread = np.nanmax(np.abs(np.diff(values, axis=0)), 0, initial=0)
        return np.nan_to_num(np.nanmax(np.abs(values[at : at + 5] - np.nanmean(values[:at] if at else values, 0)), 0, initial=0) / np.maximum(spread, 1e-30))
