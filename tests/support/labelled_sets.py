"""Small folders of labelled telemetry, DIR/SET/ENTITY.npz, of which the right answers are known; numpy only."""

import numpy as np

START = 1_700_000_000 // 604_800 * 604_800


def write(folder, name, values, labels, *, step=300, split=200, note='', start=START):
    """One entity: values float [T] or [T, F], labels 0/1 [T]."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values, float)
    values = values[:, None] if values.ndim == 1 else values
    t = start + step * np.arange(len(values))
    np.savez(folder / f'{name}.npz', t=t, x=values, y=np.asarray(labels, int), split=split, note=note)
    return folder


def quiet(steps, features=1, seed=0):
    """Noise of size 1 around 50."""
    return 50 + np.random.default_rng(seed).normal(size=(steps, features))


def jumps(folder, many=3, steps=2000):
    """Entities with two plain events each, which every detector finds, and nothing else."""
    for n in range(many):
        values, labels = quiet(steps, seed=n), np.zeros(steps)
        for at in (900, 1500):
            values[at : at + 6] += 40
            labels[at : at + 6] = 1
        write(folder, f'e{n}', values, labels)
    return folder
