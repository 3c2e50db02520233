"""How well a forecast scales workloads: seconds short of capacity and pod-hours, compared with Kubernetes' own autoscaler and an oracle.

The same autoscaler (autoscaler.py) and the same pods for all; what differs is the metric. Every scaler but the oracle has the observed load
as a metric, and the higher of its two metrics counts; a forecast that is missing is the load, as in the guard of docs/how-to/scaling.md.

    reactive              the load alone
    reactive, 10 % more   the same, for the target divided by 1.1: the result of 10 % more pods without a forecast
    predict_linear [1h]   over --window, what PromQL forecasts, at the horizon: a value, no bound
    a forecast, bound     its middle and its upper bound at the horizon: of the seasonal naive, and of --model
    oracle                the most that will come until a pod that is ordered now serves

Capacity: the 99th percentile of the load before the simulated days is what --pods pods serve, and a scaler aims at --target of what a pod
serves. The load goes straight from sample to sample; metrics are DELAY_SECONDS late. The horizon is start-up + sync + delay + step of the
series, in whole minutes, at least five. A workload is short of capacity where its load is more than what its ready pods serve.
"""

import argparse
from typing import NamedTuple

import numpy as np

from bench import autoscaler, traffic
from promlstm import durations, terminal

POD = 1000.0                # of the load's unit, what one pod serves: everything is brought to it
DELAY_SECONDS = 45          # a scrape, and half of a rate() over a minute
LEAST_HORIZON_SECONDS = 300
REACTIVE, MORE, LINEAR, ORACLE = 'reactive', 'reactive, 10 % more', 'predict_linear', 'oracle'
BOUNDS = {'middle': 1, 'upper': 2}  # places in a forecast
RESAMPLES = 1000


class Setting(NamedTuple):
    """Properties of pods, the same for all scalers."""

    startup_seconds: float = 180
    target: float = 0.8             # share of what a pod serves, at which the autoscaler aims
    pods: int = 20                  # that serve the 99th percentile
    least: int = 1

    @property
    def rules(self):
        """Of the autoscaler; three times the pods at most."""
        return autoscaler.Rules(self.startup_seconds, self.least, 3 * self.pods)


class Result(NamedTuple):
    """Results of one scaler over the simulated days of each workload, float [N] each."""

    days: np.ndarray
    short_seconds: np.ndarray       # the load was more than the ready pods serve
    missed: np.ndarray              # of the load, what was beyond that, pods × seconds
    load: np.ndarray                # all of it, the same
    pod_hours: np.ndarray           # ordered, whether they served or not


def main(**options):
    """Print a table for each set."""
    options = argparse.Namespace(**options)
    from convert.errors import ConvertError
    from convert.evaluation import forecast_baselines, forecasting
    from promlstm.errors import PromlstmError

    points = {
        f'{LINEAR} [{terminal.duration(options.window)}]': forecast_baselines.predict_linear(options.window),
        forecast_baselines.NAIVE: forecast_baselines.POINTS[forecast_baselines.NAIVE],
    }
    forecasters = {name: forecast_baselines.Baseline(point) for name, point in points.items()}
    setting = Setting(options.start_up, options.target, options.pods)
    try:
        forecasters |= {name: forecasting.forecaster_of(name) for name in options.model}
        print(f'  pods start in {setting.startup_seconds:g} s, {setting.pods} of them serve the 99th percentile, aimed at {setting.target:.0%}', flush=True)
        total = {}
        for each in _sets(options):
            results = simulated(each, forecasters, setting)
            _print(each.name, f'{len(each.names)} workloads, steps of {each.step_seconds:g} s', results)
            for name, result in results.items():
                total.setdefault(name, []).append(result)
    except (ConvertError, PromlstmError) as error:
        raise SystemExit(f'bench: {error}') from error
    if len(total[REACTIVE]) > 1:
        whole = {name: Result(*(np.concatenate(part) for part in zip(*each, strict=True))) for name, each in total.items()}
        _print('all', 'every day of a workload counts alike', whole)


def add_options(parser):
    """Add the options of `main`."""
    parser.add_argument('--data', metavar='DIR', help='labelled telemetry, DIR/SET/ENTITY.npz: also simulate its traffic, not only the shop\'s')
    parser.add_argument('--model', metavar='MODEL', action='append', default=[], help='a forecast model, or builtin:NAME; repeatable')
    parser.add_argument('--window', metavar='DURATION', type=_up_to_an_hour, default=3600, help='range of predict_linear (default 1h)')
    parser.add_argument('--start-up', metavar='DURATION', type=_up_to_an_hour, default=180, help='start-up time of a pod (default 3m)')
    parser.add_argument('--target', metavar='SHARE', type=_within(float, 0.1, 1), default=0.8, help='target load of a pod, as a share (default 0.8)')
    parser.add_argument('--pods', metavar='N', type=_within(int, 1, 1000), default=20, help='number of pods that serve the 99th percentile (default 20)')
    parser.add_argument('--days', metavar='N', type=_within(float, 0.1, 365), default=7, help='days to simulate, the last ones of each series (default 7)')


def _within(kind, least, most):
    """A type of argparse: a number of a kind within bounds."""

    def number(text):
        found = kind(text)
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f'expected {least} to {most}, got {text}')
        return found

    number.__name__ = kind.__name__     # in argparse's words for what is no number
    return number


def _up_to_an_hour(text):
    """A type of argparse: a duration of up to an hour."""
    try:
        found = durations.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not 0 < found <= 3600:
        raise argparse.ArgumentTypeError(f'expected up to 1h, got {text}')
    return found


def _sets(options):
    """Traffic, set by set."""
    yield traffic.of_shop(options.days)
    if options.data:
        from convert.data import labelled

        for folder in labelled.sets(options.data):
            yield from traffic.of_recordings(folder.name, labelled.read(folder), options.days)


def horizon(setting, step_seconds):
    """How far ahead to look, seconds.

    >>> horizon(Setting(startup_seconds=180), 60), horizon(Setting(startup_seconds=20), 60), horizon(Setting(startup_seconds=240), 60)
    (300, 300, 360)
    """
    late = setting.startup_seconds + setting.rules.sync_seconds + DELAY_SECONDS + step_seconds
    return max(LEAST_HORIZON_SECONDS, int(-(-late // 60) * 60))


def simulated(source, forecasters, setting):
    """{scaler: Result} of Traffic. forecasters: {name: callable}, as convert.evaluation.forecasting has them."""
    values = source.values / capacity(source, setting.pods)
    clock = Clock(source, setting.rules.sync_seconds)
    load = clock.at(values, 0)
    seen = clock.at(values, DELAY_SECONDS)
    target = setting.target * POD
    metrics = {REACTIVE: ([seen], target), MORE: ([seen], target / 1.1)}
    origins, which = np.unique(clock.newest(DELAY_SECONDS), return_inverse=True)
    ahead = np.array([float(horizon(setting, source.step_seconds))])
    for name, forecast in forecasters.items():
        found = forecast(source.times, values, origins, ahead)[which, :, 0]
        for bound, place in BOUNDS.items():
            plain = name.startswith(LINEAR)
            if not plain or bound == 'middle':
                said = np.where(np.isfinite(found[..., place]), found[..., place], seen)
                metrics[name if plain else f'{name}, {bound}'] = ([seen, said], target)
    metrics[ORACLE] = ([ahead_most(load, setting)], target)
    return {name: _measured(load, autoscaler.run(each, aim, setting.rules, clock.alive), clock) for name, (each, aim) in metrics.items()}


def capacity(source, pods):
    """The unit of the load, float [N], for which one pod serves POD."""
    return np.nanpercentile(np.where(_before(source.counted), source.values, np.nan), 99, axis=0) / pods / POD


def _before(counted):
    """bool [T, N]: before the first simulated day."""
    return np.cumsum(counted, axis=0) == 0


class Clock:
    """The syncs of the autoscaler over the simulated days, and samples at them."""

    def __init__(self, source, sync_seconds):
        first, last = np.flatnonzero(source.counted.any(1))[[0, -1]]
        self.samples, self.sync_seconds = source.times, sync_seconds
        self.times = np.arange(source.times[first], source.times[last] + source.step_seconds, sync_seconds)
        self.alive = source.counted[self.newest(0)]

    def newest(self, late_seconds):
        """The newest sample that is known at each sync, int [T]."""
        found = np.searchsorted(self.samples, self.times - late_seconds, side='right') - 1
        return np.maximum(found, 0)

    def at(self, values, late_seconds):
        """Samples float [S, N] at each sync, so late, float [T, N]: straight from one to the next, over gaps too."""
        out = np.empty((len(self.times), values.shape[1]))
        for n, column in enumerate(values.T):
            known = ~np.isnan(column)
            out[:, n] = np.interp(self.times - late_seconds, self.samples[known], column[known])
        return out


def ahead_most(load, setting):
    """The maximum load from each sync until pods that the next sync starts are ready, float [T, N]."""
    syncs = int(np.ceil(setting.startup_seconds / setting.rules.sync_seconds)) + 1
    out = load.copy()
    for k in range(1, syncs + 1):
        np.maximum(out[:-k], load[k:], out=out[:-k])
    return out


def _measured(load, pods, clock):
    seconds, alive = clock.sync_seconds, clock.alive
    beyond = np.where(alive, np.maximum(load - pods.ready * POD, 0), 0)
    return Result(
        alive.sum(0) * seconds / 86400, (beyond > 0).sum(0) * seconds, beyond.sum(0) * seconds / POD,
        np.where(alive, load, 0).sum(0) * seconds / POD, pods.there.sum(0, dtype=np.int64) * seconds / 3600,
    )  # fmt: skip


def ratio(result, other, of, rng):
    """(a sum as a share of another scaler's, and the 95 % interval of it over workloads drawn again); NaN where that of the other is 0."""
    ours, theirs = getattr(result, of), getattr(other, of)
    drawn = rng.integers(0, len(ours), (RESAMPLES, len(ours)))
    drawn = drawn[theirs[drawn].sum(1) > 0]
    if not len(drawn):
        return np.nan, np.nan, np.nan
    return ours.sum() / theirs.sum(), *np.percentile(ours[drawn].sum(1) / theirs[drawn].sum(1), (2.5, 97.5))


def _print(name, of_what, results):
    """A row for each scaler."""
    print(f'\n  {name}: {of_what}, {results[REACTIVE].days.sum():.0f} days of a workload')
    print(f'  {"":28}  short, s a day    share of reactive   load missed   pods on average   share of reactive')
    for scaler, found in results.items():
        days = found.days.sum()
        short, more = (ratio(found, results[REACTIVE], of, np.random.default_rng(1)) for of in ('short_seconds', 'pod_hours'))
        share = '–' if np.isnan(short[0]) else '{:.2f} ({:.2f} to {:.2f})'.format(*short)
        missed = found.missed.sum() / found.load.sum()
        print(
            f'  {scaler:28}  {found.short_seconds.sum() / days:14.1f}   {share:>18}   {missed:11.4%}'
            f'   {found.pod_hours.sum() / days / 24:15.2f}   {more[0]:17.3f}',
            flush=True,
        )
