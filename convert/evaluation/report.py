"""What a benchmark found, for people and programs: report.txt, report.json, and report.html, one page that opens anywhere.

Who calls it: review (the stage `evaluate`) and compare. In come benchmark.Results and Scored sets, gates.Verdicts and the log of the training;
out comes text. It measures nothing.
"""

import re
from html import escape

import msgspec
import numpy as np

from convert.evaluation import benchmark, charts, gates, measures, plots
from convert.evaluation.document import document
from promlstm import terminal
from promlstm.card import BUDGETS

FORMAT = 2              # of report.json; part of what the stage `evaluate` depends on

DRAWN = 10              # best and worst detections
LOSS = re.compile(r'(\d+)/(\d+)\b.*?loss (-?[\d.]+)')
COLUMNS = {
    'event_recall': 'events found', 'event_precision': 'event precision', 'event_f1': 'event F1', 'accuracy': 'accuracy', 'precision': 'precision',
    'recall': 'recall', 'f1': 'F1', 'false_alarms_per_week': 'false alarms', 'delay_steps': 'delay',
}  # fmt: skip


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


class Verdicts(msgspec.Struct, frozen=True):
    """The part of report.json that a release reads."""

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
    for name, results in _by_set(report).items():
        budget = f'{report.budget_per_week:g} false alarm per entity-week'
        parts += ['', f'{name}: each at {budget} in hindsight; "as it runs" at the calibrated threshold']
        parts += table([['', *COLUMNS.values(), 'AUC-PR'], *_rows(results)])
        if results[0].alarms:
            parts.append(_alarms_text(results[0]))
    return '\n'.join([*parts, '', *_gates_text(report.verdicts)]) + '\n'


def table(rows):
    """Rows of text as aligned lines, indented; the first column to the left, numbers to the right.

    >>> table([['', 'F1'], ['model', '0.9']])
    ['         F1', '  model 0.9']
    """
    return [f'  {line}' for line in terminal.columns(rows, gap=1, right=True)]


def _rows(results):
    out = []
    for each in results:
        name = each.method if each.role in ('baseline', 'other') else each.role
        if each.equal:
            out.append([name, *_cells(each.equal), _cell(each.auc_pr)])
        if each.run:
            out.append([f'{name}, as it runs', *_cells(each.run), ''])
    return out


def _cells(points):
    return [_cell(getattr(points, name)) for name in COLUMNS]


def _cell(number):
    if number is None or not np.isfinite(number):
        return ''
    return f'{number:.3f}' if abs(number) < 10 else f'{number:.0f}'


def _alarms_text(result):
    parts = ', '.join(f'{name} promised: {alarms / BUDGETS[name]:.2f} of it' for name, alarms in result.alarms.items())
    unlabelled = '' if result.equal else ' (real incidents may be among them, so no threshold is moved)'
    return f'alarms where nothing is known to be wrong: {parts}{unlabelled}'


def _gates_text(verdicts):
    refused = gates.refusals(verdicts)
    lines = [*refused, *gates.weak(verdicts)]
    return [f'gates: {len(verdicts)} comparisons, {len(refused)} against a release', *(f'  {line}' for line in lines)]


def _by_set(report):
    """{name of a benchmark set: its Results}, in the order of the report."""
    out = {}
    for each in report.results:
        out.setdefault(each.benchmark_set, []).append(each)
    return out


def page(report, scored, sections=()):
    """report.html as text.

    scored    benchmark.Scored sets of the model, whose events are drawn
    sections  further (title, HTML) parts
    """
    parts = [_title(report), _gates_html(report.verdicts)]
    if report.learning['loss']:
        curve = plots.lines({'loss': (report.learning['done'], report.learning['loss'])}, x='share of the training', y='loss')
        parts.append(f'<h2>Learning</h2><figure>{curve}</figure>')
    parts += [f'<h2>{escape(title)}</h2>{body}' for title, body in sections]
    drawn = {each.benchmark_set.name: each for each in scored}
    pictures = []
    parts += [_set_html(name, results, drawn.get(name), pictures) for name, results in _by_set(report).items()]
    return document(f'{report.model}: evaluation', parts, charts=pictures)


def _title(report):
    service = report.service[:16] or 'none'
    return (
        f'<h1>{escape(report.model)}</h1>'
        f'<p>{escape(report.family)}, sha256 <code>{report.sha256[:16]}</code>; in service: <code>{service}</code></p>'
    )


def _gates_html(verdicts):
    if not verdicts:
        return '<p>No rival to be compared with.</p>'
    weak = ''.join(f'<p>{escape(each)}</p>' for each in gates.weak(verdicts))
    refused = ''.join(f'<li>{escape(reason)}</li>' for reason in gates.refusals(verdicts))
    if not refused:
        return f'<p class="good">May be released: none of {len(verdicts)} comparisons speaks against it.</p>{weak}'
    return f'<p class="bad">Not to be released:</p><ul>{refused}</ul>{weak}'


NOTE = (
    'False alarms per entity-week; delay in steps. Without "as it runs": the threshold that keeps to the budget, found in '
    'hindsight, the same for every method.'
)


def _set_html(name, results, scored, pictures):
    """One benchmark set: the table of all methods, plots, and the events of the model, whose charts are added to `pictures`."""
    parts = [f'<h2>{escape(name)}</h2>']
    if rows := [(each.role, row) for each in results for row in _rows([each])]:
        parts.append(f'{_table_html(rows)}<p class="note">{NOTE}</p>')
    first = results[0]
    parts.append(f'<div class="grid2">{_kinds(results)}{_alarms(first)}{_distribution(first)}</div>')
    if scored:
        parts.append(_detections(scored, pictures))
    return ''.join(parts)


def _table_html(rows):
    """Rows (role, cells) under the titles of COLUMNS; those of the model stand out."""
    head = ''.join(f'<th>{escape(title)}</th>' for title in ('', *COLUMNS.values(), 'AUC-PR'))
    body = []
    for role, row in rows:
        cells = ''.join(f'<td>{escape(cell)}</td>' for cell in row)
        body.append(f'<tr class="{"model" if role == "model" else ""}">{cells}</tr>')
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def _kinds(results):
    kinds = results[0].by_kind
    if not kinds:
        return ''
    baselines = [each for each in results if each.role == 'baseline']
    shown = {each.role: each for each in results if each.role in ('model', 'in service', 'without LSTM')}
    groups = {}
    for kind in kinds:
        bars = {role: each.by_kind.get(kind, np.nan) for role, each in shown.items()}
        best = max((each.by_kind.get(kind, 0) for each in baselines), default=np.nan)
        groups[kind.replace('_', ' ')] = {**bars, 'best baseline': best}
    caption = 'Events found, by kind of fault; the best baseline is chosen for each kind.'
    return f'<figure>{plots.bars(groups, y="events found")}<figcaption>{caption}</figcaption></figure>'


def _alarms(result):
    if not result.alarms:
        return ''
    groups = {name: {'promised': BUDGETS[name], 'counted': alarms} for name, alarms in result.alarms.items()}
    return f'<figure>{plots.bars(groups, y="alarms per entity-week")}<figcaption>{escape(_alarms_text(result))}</figcaption></figure>'


def _distribution(result):
    edges = benchmark.BINS
    middle = np.r_[edges[1] / 1.2, np.sqrt(edges[1:-2] * edges[2:-1]), edges[-2] * 1.1]
    series = {name: (middle, np.log10(np.maximum(row, 1e-6))) for name, row in result.shares.items() if any(row)}
    curve = plots.lines(series, x='score (1 = alarm)', y='log10 of the share', log_x=True)
    return f'<figure>{curve}<figcaption>How samples are spread over scores.</figcaption></figure>'


EVENTS = (
    'Orange is what is labelled as a fault, red where the model alarms; the band is that of a score of about 1. Times are those of the replay: '
    'of recorded sets whole weeks apart from the truth.'
)


def _detections(scored, pictures):
    events = strongest_events(scored)
    titles = {'The strongest alarms': events[:DRAWN]}
    if scored.benchmark_set.labels is not None:
        titles = {'Best detections': events[:DRAWN], 'Worst detections': events[::-1][: max(0, min(DRAWN, len(events) - DRAWN))]}
    halves = ''.join(f'<div><h3>{title}</h3>{_event_plots(scored, some, pictures)}</div>' for title, some in titles.items())
    return f'<p class="note">{EVENTS}</p><div class="grid2">{halves}</div>'


def strongest_events(scored):
    """Events of a Scored set by their highest score, falling: [(score, entity, first, end)]; without labels its alarms."""
    subject, out = scored.benchmark_set, []
    tolerance, merge = measures.windows(subject.step_seconds)
    scores = np.nan_to_num(np.where(subject.counted, scored.scores, np.nan))
    for n in range(scores.shape[1]):
        if subject.labels is None:
            spans = measures.alarms(scores[:, n] >= 1, merge)
        else:
            spans = measures.runs(subject.labels[:, n] & subject.counted[:, n])
        for first, end in spans:
            out.append((float(scores[first : end + tolerance, n].max()), n, first, end))
    return sorted(out, key=lambda event: -event[0])


def _event_plots(scored, events, pictures):
    subject, parts = scored.benchmark_set, []
    for score, n, first, end in events:
        kind = f'{subject.kinds[n].replace("_", " ")}, ' if subject.kinds else ''
        title = f'{escape(kind)}score {score:.2f}, {escape(subject.names[n][:90])}'
        parts.append(f'<div class="event"><h4>{title}</h4><div class="charts" data-chart="{len(pictures)}"></div></div>')
        pictures.append(charts.event(scored, n, first, end))
    return ''.join(parts) or '<p class="note">none</p>'
