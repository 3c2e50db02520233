"""Small folders of recorded incidents, DIR/SCENARIO__ISSUE.npz, of which the cause is known; numpy only."""

import numpy as np

STEP = 300
START = 1_700_000_100
SERIES = [(node, metric, 'Average') for node in ('front', 'middle', 'database', 'batch') for metric in ('latency', 'availability', 'requests')]
USUAL = {'latency': 0.1, 'availability': 99.0, 'requests': 500.0}
CALLS = [('front', 'middle'), ('middle', 'database')]


def healthy(steps, seed=0, level=1.0):
    """Values [steps, S]: noise of three percent around what is usual."""
    noise = np.random.default_rng(seed).normal(size=(steps, len(SERIES)))
    return level * np.array([USUAL[metric] for _, metric, _ in SERIES]) * (1 + 0.03 * np.clip(noise, -3, 3))


def columns(*keys):
    return [SERIES.index((*key, 'Average')) for key in keys]


def scenario(folder, name, *, steps=300, level=1.0, start=START):
    """Healthy time of a scenario; no steps = an empty file."""
    folder.mkdir(parents=True, exist_ok=True)
    node, metric, stat = (np.array(column) for column in zip(*SERIES, strict=True))
    t = start + STEP * np.arange(steps)
    np.savez(folder / f'{name}__healthy.npz', t=t, x=healthy(steps, level=level), node=node, metric=metric, stat=stat)


def issue(folder, name, cause, *, begin=START + 100 * 86400, level=1.0, **other):
    """Six samples in which latency grows from the third on, at the cause and at all that waits for it, and a batch job is loud."""
    node, metric, stat = (np.array(column) for column in zip(*SERIES, strict=True))
    x = healthy(6, seed=7, level=level)
    waiting = {'database': ('front', 'middle', 'database'), 'middle': ('front', 'middle'), 'front': ('front',)}[cause]
    x[2:, columns(*((each, 'latency') for each in waiting))] *= 5
    x[2:, columns(('batch', 'requests'))] *= 50
    kept = {
        't': begin + STEP * np.arange(6), 'x': x, 'node': node, 'metric': metric, 'stat': stat, 'edges': np.array(CALLS), 'target_node': 'front',
        'target_metric': 'latency', 'target_stat': 'Average', 'target_time': begin + int(1.5 * STEP), 'cause_node': cause, 'cause_metric': '',
    }  # fmt: skip
    np.savez(folder / f'{name}.npz', **{key: value for key, value in (kept | other).items() if value is not None})
