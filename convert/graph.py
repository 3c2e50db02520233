"""A graph learnt from history: which names get strange after which others did.

    python -m convert graph promlstm.yml --days 14 --out graph.json

Every detector is replayed over the span by the code that serves, so surprises are those that an operator saw. A name (a service, a pod) has at each
step the largest surprise of its entities. What is left of it when its own past is taken out is compared with what was left of the others one to
LAGS steps earlier: at each turn the other with the largest partial correlation is taken in, given those taken before (forward selection). So of
a chain each link is found, not the chain as a whole.

An edge is kept that was found in both halves of the span, is at least STRONG, is FORWARD times as strong as its reverse, and that no stronger
way round explains. Correlation at the same step tells no direction: where faults travel faster than a step, nothing is found, rather than half of
it wrong. It needs faults to learn from, some for each edge.
"""

from dataclasses import dataclass

import numpy as np

from convert import files
from convert.errors import ConvertError
from convert.evaluation import replay, spreading
from promlstm import __version__
from promlstm.engine import labels, session
from promlstm.engine.detector import Detector
from promlstm.engine.history import aligned
from promlstm.engine.trial import Trials
from promlstm.incidents import edges as linked
from promlstm.incidents import learnt
from promlstm.query.sources import Sources
from promlstm.query.victorialogs import asked_every

LAGS = 5            # steps that a fault may take from one name to the next
OWN_PAST = 3        # steps that a name's own past explains
QUIET = 1.0         # surprises up to here are of healthy time, and alike everywhere
STRONG = 0.2        # least partial correlation of an edge, which also keeps out what is found by chance
FORWARD = 1.5       # how much stronger than its reverse
MOST_OF_ONE = 8     # names that one suffers from
MOST_NAMES = 500    # that are compared with each other: memory grows with the square
LEAST_STEPS = 1000  # in each half
NEEDED = f'at least {2 * LEAST_STEPS} are needed, and some faults in them'
DELAYS = ((1, 2), (0, 1), (0,), ())     # of simulated fleets: steps that faults take along an edge; none = there are no edges
DAY = 86400.0


class GraphError(ConvertError):
    """No graph can be learnt from this history: the message says why."""


@dataclass(frozen=True, slots=True)
class Way:
    """That one name follows another.

    dependant, dependency  columns of the surprises
    strength  partial correlation
    lag       steps
    """

    dependant: int
    dependency: int
    strength: float
    lag: int


def learn(surprises):
    """Who suffers from whom, list of Way, the strongest first.

    surprises  float [T, M]  of M names in time order, NaN = not judged
    raises     GraphError    with fewer than LEAST_STEPS in each half
    """
    steps = len(surprises)
    if steps < 2 * LEAST_STEPS:
        raise GraphError(f'{steps} steps of history: {NEEDED}')
    halves = [_ways(half) for half in (surprises[: steps // 2], surprises[steps // 2 :])]
    return sorted((way for pair, way in halves[0].items() if pair in halves[1]), key=lambda way: -way.strength)


def _ways(surprises):
    """{(dependant, dependency): Way} of one span."""
    rest = _without_own_past(np.maximum(np.nan_to_num(surprises.astype(np.float64)), QUIET) - QUIET)
    names, count = rest.shape[1], len(rest)
    together = [rest[lag:].T @ rest[: count - lag] / count for lag in range(LAGS + 1)]      # [lag][i, j]: of i with j that much earlier
    found = {}
    for way in (way for name in range(names) for way in _selected(together, name)):
        if way.strength > found.get((way.dependant, way.dependency), way).strength or (way.dependant, way.dependency) not in found:
            found[way.dependant, way.dependency] = way
    found = {pair: way for pair, way in found.items() if pair[::-1] not in found or way.strength > FORWARD * found[pair[::-1]].strength}
    return {pair: way for pair, way in found.items() if not _explained(way, found)}


def _without_own_past(columns):
    """What the own past of each column does not explain, in units of its standard deviation; 0 of one that never changes."""
    columns = columns - columns.mean(0)
    out = np.zeros((len(columns) - OWN_PAST, columns.shape[1]))
    for name in range(columns.shape[1]):
        past = np.stack([columns[OWN_PAST - lag : len(columns) - lag, name] for lag in range(1, OWN_PAST + 1)], axis=1)
        out[:, name] = columns[OWN_PAST:, name] - past @ np.linalg.lstsq(past, columns[OWN_PAST:, name], rcond=None)[0]
    deviation = out.std(0)
    return out / np.where(deviation > 1e-9, deviation, np.inf)


def _selected(together, name):
    """The Ways to what one name follows, by forward selection; its own past is given."""
    names = len(together[0])
    lags, others = (part.ravel() for part in np.meshgrid(np.arange(1, LAGS + 1), np.arange(names), indexing='ij'))
    with_name = np.array([together[lag][name, other] for lag, other in zip(lags, others, strict=True)])
    own = others == name
    taken = np.flatnonzero(own).tolist()
    with_taken = np.stack([_with(together, lags, others, each) for each in taken], axis=1)
    variance = np.diag(together[0])[others]
    for _ in range(MOST_OF_ONE):
        inverse = np.linalg.pinv(with_taken[taken], rcond=1e-9, hermitian=True)
        left = with_name - with_taken @ (inverse @ with_name[taken])
        of_others = np.maximum(variance - np.einsum('ij,jk,ik->i', with_taken, inverse, with_taken), 1e-6)
        of_name = max(together[0][name, name] - with_name[taken] @ inverse @ with_name[taken], 1e-6)
        partial = np.where(own, 0.0, left / np.sqrt(of_others * of_name))
        best = int(partial.argmax())
        if partial[best] < STRONG:
            return
        yield Way(name, int(others[best]), float(min(1.0, partial[best])), int(lags[best]))
        taken.append(best)
        with_taken = np.concatenate([with_taken, _with(together, lags, others, best)[:, None]], axis=1)


def _with(together, lags, others, one):
    """Covariance of all that may be taken in with one of it, [LAGS * M]."""
    out = np.empty(len(lags))
    for lag in range(1, LAGS + 1):
        rows, between = lags == lag, lags[one] - lag
        out[rows] = together[between][:, others[one]] if between >= 0 else together[-between][others[one], :]
    return out


def _explained(way, found):
    """Whether a stronger way round leads there, or both follow somebody more than one another."""
    for middle in {pair[1] for pair in found if pair[0] == way.dependant} - {way.dependency}:
        first = found[way.dependant, middle].strength
        for second in (found.get((middle, way.dependency)), found.get((way.dependency, middle))):
            if second and min(first, second.strength) > way.strength:
                return True
    return False


def collect(config, chosen, wanted, start, end, progress=lambda what: iter, sources=None):
    """Surprises of all names by replaying detectors over a span.

    config    promlstm.config.Config
    chosen    its detectors to replay
    wanted    linking labels
    start, end  unix seconds
    progress  progress(name of a detector) gives a function of an iterable of steps
    sources   by name; None = those of the configuration
    returns   ([(scope, name)] of M, float32 [T, M], step in seconds, {detector: sha256 of its model})
    """
    sources = sources or Sources(config.named_sources, root=config.root)
    step, trials = max(each.step for each in chosen), Trials()
    first, steps = aligned(start, step) + step, int((end - start) / step)
    numbers, models = {}, {}
    at_step = [np.empty(0, np.float32)] * steps     # of as many names as were known then
    for each in chosen:
        source = asked_every(sources[config.source_name(each)], each.step)
        model = session.load(session.resolve(each.model, config.root), sha256=each.sha256, trial=trials)
        models[each.name] = model.bundle.sha256
        detector = Detector(each, model, source)
        for _ in detector.warm(lambda each=each: first - each.step):
            pass
        rows, places = np.empty(0, np.int64), np.empty(0, np.int64)
        met = 0
        for _, _, verdicts in progress(each.name)(detector.replay(first, end)):
            new = detector.entities.identities[met:]
            pairs = [(met + row, at) for row, one in enumerate(new) for at in _numbers(one, config.root_cause.within, wanted, numbers)]
            if pairs:
                rows, places = np.concatenate([[rows, places], np.array(pairs, np.int64).T], axis=1)
            met += len(new)
            at = int((verdicts.time - first) // step)
            if 0 <= at < steps:
                at_step[at] = _padded(at_step[at], len(numbers))
                np.fmax.at(at_step[at], places, verdicts.surprise[rows])
    return list(numbers), np.stack([_padded(row, len(numbers)) for row in at_step]), step, models


def _padded(row, names):
    return np.concatenate([row, np.full(names - len(row), np.nan, np.float32)])


def _numbers(identity, within, wanted, numbers):
    """Numbers of the names of an entity; new names get one."""
    own = dict(labels.pairs(identity))
    scope = tuple((label, own[label]) for label in within if label in own)
    return [numbers.setdefault((scope, (label, own[label])), len(numbers)) for label in wanted if label in own]


def make(config, *, detectors, wanted, days, now, out, say, progress=lambda what: iter, sources=None):
    """Learn a graph and write it; returns lines of text.

    detectors  names of those to replay; none = all
    wanted     linking labels; none = those of the configuration
    now        unix seconds, where the span ends
    out        the file
    say        function of a line: how far it is
    raises     GraphError, PromlstmError, files.WriteError
    """
    linking = linked.linking(config.root_cause)
    chosen = [each for each in config.detectors if not detectors or each.name in detectors]
    if unknown := sorted({*detectors} - {each.name for each in chosen}):
        raise GraphError(f'--detector {unknown[0]}: no such detector; detectors: {", ".join(each.name for each in config.detectors)}')
    if unknown := sorted({*wanted} - {*linking}):
        raise GraphError(f'--label {unknown[0]}: links no entities; root_cause.labels and edges have {", ".join(linking)}')
    if (steps := int(days * DAY / max((each.step for each in chosen), default=DAY))) < 2 * LEAST_STEPS:
        raise GraphError(f'{steps} steps of history: {NEEDED}')
    names, surprises, step, models = collect(config, chosen, wanted or linking, now - days * DAY, now, progress, sources)
    if len(names) < 2:
        raise GraphError(f'{len(names)} names: entities of these detectors have none of the labels {", ".join(wanted or linking)}')
    ways = []
    for scope in dict.fromkeys(scope for scope, _ in names):
        among = [number for number, (own, _) in enumerate(names) if own == scope]
        if len(among) > MOST_NAMES:
            raise GraphError(f'{len(among)} names are more than {MOST_NAMES}: choose a --label, or a --detector')
        ways += [(among[way.dependant], among[way.dependency], way) for way in (learn(surprises[:, among]) if len(among) > 1 else ())]
    say(f'{len(names)} names, {len(surprises)} steps of {step:g} s')
    made = learnt.Learnt(
        format=learnt.FORMAT, promlstm=__version__, start=now - days * DAY, end=now, step_seconds=float(step), within=config.root_cause.within,
        labels=tuple(wanted or linking), detectors=models, names=len(names),
        edges=tuple(
            learnt.Edge(names[one][1], names[other][1], dict(names[one][0]), round(way.strength, 4), way.lag * float(step)) for one, other, way in ways
        ),
    )  # fmt: skip
    data = learnt.encoded(made)
    learnt.edges_for(learnt.decoded(data, str(out)), config.root_cause.within, linking, str(out))
    with files.atomically(out) as draft:
        draft.write_bytes(data)
    return text(made, files.digest(out), out)


def simulated(count, progress=iter):
    """What is found where the edges are known, lines of text: a row for each fleet and each time that faults take."""
    model = session.load(session.resolve('builtin:forecaster'))
    fleets = [(seed, delays, spreading.fleet(seed, delays=delays or (1,), linked=bool(delays))) for seed in range(count) for delays in DELAYS]
    latency = np.concatenate([fleet.latency for _, _, fleet in fleets], axis=1)     # entities know nothing of each other
    found = replay.surprises(model, fleets[0][2].times, latency, step_seconds=spreading.STEP_SECONDS, progress=progress)
    lines = [f'{"fleet":>5}  {"delay in steps":>14}  {"edges":>5}  {"found":>5}  {"precision":>9}  {"recall":>6}']
    for (seed, delays, fleet), columns in zip(fleets, np.split(found, len(fleets), axis=1), strict=True):
        ways = learn(columns)
        precision, recall = spreading.shares({(way.dependant, way.dependency) for way in ways}, fleet.edges)
        words = ' or '.join(map(str, delays)) or 'no edges'
        lines.append(f'{seed:>5}  {words:>14}  {len(fleet.edges):>5}  {len(ways):>5}  {precision:>9.2f}  {recall:>6.2f}')
    return lines


def text(made, sha256, out):
    """What was found, list of lines."""
    lines = [
        f'{labels.selector([edge.dependant])} suffers from {labels.selector([edge.dependency])} {edge.delay_seconds:g} s later ({edge.strength:.2f})'
        for edge in made.edges
    ]
    found = len({end for edge in made.edges for end in (edge.dependant, edge.dependency)})
    lines.append(f'{out}: {len(made.edges)} edges between {found} of {made.names} names, sha256 {sha256}')
    if not made.edges:
        lines.append('none was found in both halves of the span: too few faults, or they travel faster than a step')
    return lines
