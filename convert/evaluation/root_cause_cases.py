"""Incidents of which the cause is known: a folder of recorded ones, and the simulated shop. Data only; it scores nothing.

    DIR/SCENARIO__ISSUE.npz      t int64 [T] unix seconds; x float64 [T, S], NaN = none; node, metric, stat: str [S], what each series is;
                                 edges str [E, 2]: caller, callee; target_node, target_metric, target_stat, target_time: the alert;
                                 cause_node: the answer
    DIR/SCENARIO__healthy.npz    t, x, node, metric, stat of healthy time; where it is empty, that of another scenario is used

Healthy time lies whenever it was recorded. It is moved by whole days to end at most a day before the issue, so that the time of day fits.
Who calls it: root_cause.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convert.errors import ConvertError
from promlstm.demo.fleet import DAY
from promlstm.demo.shop import Shop
from promlstm.incidents import kinds

EXPECTED = 'expected recorded incidents, DIR/SCENARIO__ISSUE.npz and DIR/SCENARIO__healthy.npz'
HEALTHY = '__healthy'
SHOP_STEP, SHOP_STEPS_BEFORE, SHOP_FAULTS = 60.0, 600, 24
SHOP_START = 1_760_000_040.0        # aligned to the step, and to nothing else
SHOP_SECONDS = 600.0                # after a fault began: when the incident is looked at
SHOP_COARSE, SHOP_DAYS = 900.0, 14  # history for the seasonal memory


class CaseError(ConvertError):
    """A folder has no recorded incidents, or a file of it is not as expected."""


class Incident(NamedTuple):
    """One incident: when it is looked at, what is asked, and the answer."""

    name: str
    group: str                  # scenario, or kind of fault
    first: float                # unix seconds from which on an onset belongs to it
    last: float                 # when it is looked at
    target: int                 # the thing whose alert it is
    target_series: tuple        # of int: the series of that alert
    alert: int | None           # its kind
    cause: int                  # the answer, a thing


class Telemetry(NamedTuple):
    """Series on one clock with the incidents in them."""

    step_seconds: float
    times: np.ndarray           # float64 [T] unix seconds; a gap is a time without recording
    values: np.ndarray          # float64 [T, S]
    seasonal: tuple             # (times [H], values [H, S]) for the seasonal memory at the start
    series: tuple               # of str [S]: what each is, within its thing
    thing: np.ndarray           # int64 [S]
    kind: np.ndarray            # int8 [S]
    things: tuple               # of str: their names
    edges: np.ndarray           # int64 [E, 2] (dependant, dependency)
    incidents: tuple


def check(folder):
    """The names of the incidents of a folder; CaseError where there are none. Called before anything takes minutes."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CaseError(f'{folder}: {"a file, not a folder" if folder.exists() else "no such folder"}: {EXPECTED}')
    found = sorted(path.stem for path in folder.glob('*__*.npz') if not path.stem.endswith(HEALTHY))
    if not found:
        raise CaseError(f'{folder}: no incident in it: {EXPECTED}')
    return found


def recorded(folder):
    """Telemetry of each incident of a folder, one at a time, in the order of their names."""
    names = check(folder)
    files = sorted(Path(folder).glob(f'*{HEALTHY}.npz'))
    read = {path.stem.removesuffix(HEALTHY): _read(path, ('t', 'x', 'node', 'metric', 'stat')) for path in files}
    healthy = {name: data for name, data in read.items() if len(data['t'])}
    if not healthy:
        raise CaseError(f'{folder}: no healthy time in it: {EXPECTED}')
    keys = ('t', 'x', 'node', 'metric', 'stat', 'edges', 'target_node', 'target_metric', 'target_stat', 'target_time', 'cause_node')
    for name in names:
        issue = _read(Path(folder) / f'{name}.npz', keys)
        yield _telemetry(name, issue, healthy, Path(folder) / f'{name}.npz')


def _read(path, keys):
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {key: data[key] for key in keys if key in data.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CaseError(f'{path}: not a numpy file: {error}') from error
    if missing := [key for key in keys if key not in found]:
        raise CaseError(f'{path}: no {", ".join(missing)} in it: {EXPECTED}')
    series = len(found['node'])
    if found['x'].shape != (len(found['t']), series) or len(found['metric']) != series or len(found['stat']) != series:
        raise CaseError(f'{path}: x is {found["x"].shape}, expected ({len(found["t"])}, {series}): samples of t, series of node')
    return found


def _telemetry(name, issue, healthy, path):
    series = list(zip(*(issue[key].tolist() for key in ('node', 'metric', 'stat')), strict=True))
    things = tuple(sorted({node for node, _, _ in series} | set(issue['edges'].ravel().tolist())))
    number = {thing: n for n, thing in enumerate(things)}
    target, cause = str(issue['target_node']), str(issue['cause_node'])
    if unknown := {target, cause} - number.keys():
        raise CaseError(f'{path}: {", ".join(sorted(unknown))}: no node of it has this name')
    t = issue['t'].astype(float)
    step = float(np.median(np.diff(t)))
    scenario = name.split('__')[0]
    candidates = [scenario] if scenario in healthy else list(healthy)
    before = issue['x'][: max(1, int(np.searchsorted(t, float(issue['target_time']) - step, side='right')))]
    past_times, past = min((_fitted(healthy[each], series, before) for each in candidates), key=lambda found: found[0])[1:]
    past_times = past_times + np.floor((t[0] - step - past_times[-1]) / DAY) * DAY
    alert = (target, str(issue['target_metric']))
    incident = Incident(
        name, scenario, t[0], t[-1], number[target], tuple(n for n, (node, metric, _) in enumerate(series) if (node, metric) == alert),
        kinds.of(alert[1]), number[cause],
    )  # fmt: skip
    return Telemetry(
        step, np.concatenate([past_times, t]), np.concatenate([past, issue['x']]), (past_times, past),
        tuple(f'{metric} {stat}' for _, metric, stat in series), np.array([number[node] for node, _, _ in series]),
        np.array([kinds.of(metric) for _, metric, _ in series], np.int8), things,
        np.array([[number[a], number[b]] for a, b in issue['edges'].tolist()], np.int64).reshape(-1, 2), (incident,),
    )  # fmt: skip


def _fitted(healthy, series, before):
    """(how far the level of the last samples before the alert is from healthy time, its times, its values in the columns of the issue)."""
    column = {key: n for n, key in enumerate(zip(*(healthy[key].tolist() for key in ('node', 'metric', 'stat')), strict=True))}
    values = np.full((len(healthy['t']), len(series)), np.nan)
    for n, key in enumerate(series):
        if key in column:
            values[:, n] = healthy['x'][:, column[key]]
    with np.errstate(all='ignore'):
        usual, now = (_median(each) for each in (values, before))
        both = (usual > 0) & (now > 0)
        away = float(np.median(np.abs(np.log(usual[both] / now[both])))) if both.any() else np.inf
    return away, healthy['t'].astype(float), values


def _median(values):
    """float64 [S]: the median of each column, NaN where it has no sample."""
    return np.array([np.median(column[~np.isnan(column)]) if (~np.isnan(column)).any() else np.nan for column in values.T])


def simulated(seed, faults=SHOP_FAULTS):
    """Telemetry of the simulated shop with so many faults; see promlstm.demo.shop."""
    shop = Shop(seed, SHOP_START)
    things = tuple(sorted({name for edge in shop.edges for name in edge} | {shop.thing(series) for series in shop.series}))
    number = {thing: n for n, thing in enumerate(things)}
    thing = np.array([number[shop.thing(series)] for series in shop.series])
    kind = np.array([kinds.of(series.metric) for series in shop.series], np.int8)
    period = shop.fault_seconds + shop.quiet_seconds
    end = SHOP_START + shop.first_fault_seconds + faults * period
    times = np.arange(SHOP_START - SHOP_STEPS_BEFORE * SHOP_STEP, end, SHOP_STEP)
    coarse = times[0] - SHOP_COARSE * np.arange(SHOP_DAYS * DAY / SHOP_COARSE, 0, -1)
    target = number['service', 'frontend']
    of_target = tuple(np.flatnonzero((thing == target) & (kind == kinds.LATENCY)).tolist())
    incidents = tuple(
        Incident(
            f'{seed} {fault.kind} {fault.cause[1]}' + (f', {fault.loud[1]} loud' if fault.loud else ''), fault.kind, fault.start - SHOP_STEP,
            fault.start + SHOP_SECONDS, target, of_target, None, number[fault.cause],
        )
        for fault in shop.faults(SHOP_START, end)[:faults]
    )  # fmt: skip
    edges = np.array([[number[a], number[b]] for a, b in shop.edges])
    names = tuple(f'{label}={value}' for label, value in things)
    series = tuple(each.metric for each in shop.series)
    return Telemetry(SHOP_STEP, times, shop.values(times), (coarse, shop.values(coarse)), series, thing, kind, names, edges, incidents)
