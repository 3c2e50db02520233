"""How often the ranking of an incident names its cause: promlstm and simple rankings on recorded and simulated incidents, in one run.

    python -m convert benchmark --root-cause DIR

The series are scored by the model file through the code that serves it: healthy history is replayed into memory, then the incident, with the
default budget of one false alarm per entity-week. Every method sees the same series up to the same instant.
"""

import time
from typing import NamedTuple

import msgspec
import numpy as np

from convert.evaluation import replay, root_cause_cases, root_cause_rankings
from promlstm import terminal
from promlstm.incidents import words
from promlstm.incidents.members import SCRAPE_SECONDS
from promlstm.incidents.ranking import Evidence
from promlstm.incidents.rises import Rises

FORMAT = 1                          # of the JSON
ALARMS_PER_WEEK = 1.0               # the default budget
SEEDS = (11, 12, 13)                # of the simulated shop: not those that the numbers of the ranking were chosen with
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)  # lower borders of the reliability table
RESAMPLES = 2000
RECORDED, SIMULATED = 'recorded', 'simulated'
# What is published with the data set that recorded incidents mostly come from, of all its issues and of each scenario: [AC@1, AC@3].
PUBLISHED = {
    'high_traffic': (0.62, 0.88), 'low_traffic': (0.69, 0.77), 'temporal_traffic1': (0.88, 1.0), 'temporal_traffic2': (0.88, 1.0),
    '': (0.71, 0.87),
}  # fmt: skip
SOURCE = "PetShop's own traversal, of all 68 issues, the two temporal scenarios together (Hardt et al. 2023, arXiv 2311.04806)"


class Answer(NamedTuple):
    """What one method says of one incident."""

    method: str
    group: str
    rank: float                     # of the cause
    seconds: float
    probability: float = float('nan')   # of the first thing, where the method says one
    right: bool = False


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How one method does on some incidents; intervals are 95 % of a bootstrap over incidents."""

    method: str
    incidents: int
    ac1: float
    ac1_interval: tuple[float, float]
    ac3: float
    ac3_interval: tuple[float, float]
    avg5: float
    avg5_interval: tuple[float, float]
    mean_rank: float
    milliseconds: float


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of incidents: figures of all methods, of promlstm by group, and the reliability of its probabilities.

    reliability  {method: [[lower border, how many, how many right, mean of what was said], …]}
    examples     [[incident, its first thing, reason, …], …], the first of each group
    misses       a sentence for each incident of which the first thing is not the cause
    """

    name: str
    figures: list[Figures]
    groups: dict[str, list[Figures]]
    reliability: dict[str, list[list[float]]]
    examples: list[list[str]]
    misses: list[str]


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a whole run."""

    format: int = FORMAT
    model: str
    sets: list[Set]


def run(session, name, folder, say, log, seeds=SEEDS):
    """Measure, and give the text of each set to `say` when it is finished; returns the Board.

    session  promlstm.engine.session.Session of the model file; name: how it is called
    folder   recorded incidents, see root_cause_cases
    seeds    of the simulated shop, each with a row of faults; none = only recorded incidents
    raises   CaseError
    """
    board = Board(model=name, sets=[])
    sources = {RECORDED: (len(root_cause_cases.check(folder)), root_cause_cases.recorded(folder))}
    if seeds:
        sources[SIMULATED] = (len(seeds) * root_cause_cases.SHOP_FAULTS, map(root_cause_cases.simulated, seeds))
    for title, (many, source) in sources.items():
        answers, misses, examples = [], [], {}
        for telemetry in source:
            for incident, evidence, rows in evidences(session, telemetry):
                answers += asked(telemetry, incident, evidence, misses)
                if incident.group not in examples:
                    examples[incident.group] = explained(telemetry, incident, evidence, [telemetry.series[row] for row in rows])
            log(f'  {title}: {len(answers) // len(_methods())} of {many} incidents')
        board.sets.append(summary(title, answers, misses, examples.values()))
        say(text(board.sets[-1]))
    return board


def _methods():
    return [*root_cause_rankings.PROMLSTM, *root_cause_rankings.OTHERS]


def evidences(session, telemetry):
    """(Incident, Evidence, int [n]: the columns of its series) of each incident, as the incident table has it when it is looked at."""
    waiting = sorted(telemetry.incidents, key=lambda incident: incident.last)
    rises = Rises.blank(telemetry.values.shape[1])
    values, (past_times, past) = telemetry.values[..., None], telemetry.seasonal
    steps = replay.steps(
        session, telemetry.times, values, telemetry.step_seconds, (past_times, past[..., None]), alarms_per_week=ALARMS_PER_WEEK
    )
    for t, verdicts, _ in steps:
        rises = rises.after(verdicts, telemetry.step_seconds)
        following = telemetry.times[t + 1] if t + 1 < len(telemetry.times) else np.inf
        while waiting and following > waiting[0].last:
            incident = waiting.pop(0)
            rows = np.flatnonzero(rises.onset >= incident.first)
            yield incident, _evidence(rises, telemetry, rows), rows


def _evidence(rises, telemetry, rows):
    uncertainty = np.maximum(rises.gap[rows], telemetry.step_seconds) + SCRAPE_SECONDS
    return Evidence(
        thing=telemetry.thing[rows], onset=rises.onset[rows], uncertainty=uncertainty, score=rises.peak[rows], direction=rises.direction[rows],
        kind=telemetry.kind[rows], missing=np.zeros(len(rows), bool), before=rises.before[rows],
    )  # fmt: skip


def asked(telemetry, incident, evidence, misses):
    """The Answers of all methods; a sentence is added to `misses` where promlstm's first is not the cause."""
    out = []
    for method, (graph, alert) in root_cause_rankings.PROMLSTM.items():
        begin = time.perf_counter()
        found = root_cause_rankings.blamed(telemetry, incident, evidence, graph, alert)
        seconds = time.perf_counter() - begin
        first = int(found.order[0])
        rank = 1 + float(np.flatnonzero(found.order == incident.cause)[0])
        if not found.cause[incident.cause]:
            rank = root_cause_rankings.place(found.cause, incident.cause)
        out.append(Answer(method, incident.group, rank, seconds, float(found.cause[first]), first == incident.cause))
        if graph and alert and rank > 1:
            things = telemetry.things
            misses.append(
                f'{incident.name}: {things[incident.cause]} is number {rank:g} ({found.cause[incident.cause]:.2f}); '
                f'first is {things[first]} ({found.cause[first]:.2f})'
            )
    for method, function in root_cause_rankings.OTHERS.items():
        begin = time.perf_counter()
        scores = function(telemetry, incident, evidence)
        out.append(Answer(method, incident.group, root_cause_rankings.place(scores, incident.cause), time.perf_counter() - begin))
    return out


def explained(telemetry, incident, evidence, names):
    """[name of the incident, its first thing with the probability, reason in words, …]; names: of the series of the evidence."""
    found = root_cause_rankings.blamed(telemetry, incident, evidence, graph=True, alert=True)
    first = int(found.order[0])
    said = f'{telemetry.things[first]}, {found.cause[first]:.2f}'
    return [incident.name, said, *words.reasons(evidence, found, telemetry.edges, first, names, telemetry.things)]


def summary(name, answers, misses=(), examples=()):
    """The Set of all Answers."""
    groups = sorted({answer.group for answer in answers})
    return Set(
        name=name,
        figures=[figures(method, [a for a in answers if a.method == method]) for method in _methods()],
        groups={
            group: [figures(method, [a for a in answers if (a.method, a.group) == (method, group)]) for method in root_cause_rankings.PROMLSTM]
            for group in groups
        },
        reliability={method: reliability([a for a in answers if a.method == method]) for method in root_cause_rankings.PROMLSTM},
        examples=list(examples),
        misses=list(misses),
    )


def figures(method, answers):
    """Figures of the Answers of one method."""
    ranks = np.array([answer.rank for answer in answers])
    right = np.array([ranks <= 1, ranks <= 3, np.mean([ranks <= k for k in range(1, 6)], axis=0)], float)
    picks = np.random.default_rng(0).integers(0, len(ranks), (RESAMPLES, len(ranks)))
    intervals = [tuple(ends) for ends in np.percentile(right[:, picks].mean(axis=2), [2.5, 97.5], axis=1).T.tolist()]
    ac1, ac3, avg5 = right.mean(axis=1).tolist()
    return Figures(
        method=method, incidents=len(ranks), ac1=ac1, ac1_interval=intervals[0], ac3=ac3, ac3_interval=intervals[1], avg5=avg5,
        avg5_interval=intervals[2], mean_rank=float(ranks.mean()), milliseconds=1000 * float(np.median([answer.seconds for answer in answers])),
    )  # fmt: skip


def reliability(answers):
    """[[lower border, how many were said with so much, how many were right, mean of what was said]] of LEVELS that occur.

    >>> reliability([Answer('', '', 1, 0, 0.9, True), Answer('', '', 3, 0, 0.3, False), Answer('', '', 1, 0, 0.7, True)])
    [[0.2, 1, 0, 0.3], [0.6, 1, 1, 0.7], [0.8, 1, 1, 0.9]]
    """
    said, right = (np.array([getattr(answer, name) for answer in answers]) for name in ('probability', 'right'))
    level = np.searchsorted(LEVELS, said, side='right') - 1
    return [
        [border, int(inside.sum()), int(right[inside].sum()), float(said[inside].mean())]
        for n, border in enumerate(LEVELS)
        if (inside := level == n).any()
    ]


def text(one):
    """One Set for a terminal."""
    many = one.figures[0].incidents
    lines = [f'{one.name}: {many} incidents, of {len(one.groups)} kinds; 95 % intervals of a bootstrap over incidents']
    lines += _table([['', 'AC@1', '', 'AC@3', '', 'Avg@5', '', 'mean rank', 'ms'], *map(_row, one.figures)])
    known = one.name == RECORDED and set(one.groups) <= set(PUBLISHED)
    rows = [['AC@1 / AC@3 of', 'incidents', *root_cause_rankings.PROMLSTM, *(['published'] if known else [])]]
    for group, found in one.groups.items():
        rows.append([group, str(found[0].incidents), *(f'{f.ac1:.2f} / {f.ac3:.2f}' for f in found)])
        if known:
            rows[-1].append('{:.2f} / {:.2f}'.format(*PUBLISHED[group]))
    lines += ['', *_table(rows)]
    if known:
        lines.append(f'  published: {SOURCE}: {PUBLISHED[""][0]:.2f} and {PUBLISHED[""][1]:.2f} in all')
    lines += ['', '  how often the first is right, by the probability that was said']
    borders = sorted({level[0] for levels in one.reliability.values() for level in levels})
    rows = [['', *(f'from {border:.1f}' for border in borders)]]
    for method, levels in one.reliability.items():
        cells = {border: f'{right} of {count}' for border, count, right, _ in levels}
        rows.append([method, *(cells.get(border, '') for border in borders)])
    lines += _table(rows)
    for incident, said, *why in one.examples:
        lines += ['', f'  why: {incident}', f'    {said}', *(f'      {reason}' for reason in why)]
    if one.misses:
        lines += ['', '  where promlstm is wrong', *(f'    {miss}' for miss in one.misses)]
    return '\n'.join([*lines, ''])


def _table(rows):
    return [f'  {line}' for line in terminal.columns(rows, gap=1, right=True)]


def _row(f):
    pairs = ((f.ac1, f.ac1_interval), (f.ac3, f.ac3_interval), (f.avg5, f.avg5_interval))
    cells = [cell for value, (low, high) in pairs for cell in (f'{value:.2f}', f'[{low:.2f}, {high:.2f}]')]
    return [f.method, *cells, f'{f.mean_rank:.1f}', f'{f.milliseconds:.1f}']


def encoded(boards):
    """A list of Boards as JSON bytes."""
    return msgspec.json.format(msgspec.json.encode(boards), indent=1) + b'\n'
