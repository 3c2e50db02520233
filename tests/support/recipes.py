"""Recipes as small as they get, and `python -m convert` on them as a child process."""

import contextlib
import functools
import io
import subprocess
import sys
from dataclasses import replace
from unittest import mock

import servers
import tiny_model
from requirements import is_accept

from promlstm.engine import session

GOOD = """\
name: tiny
description: as small as it gets
seed: 3
training:
  telemetry:
    - {step_seconds: 60, steps: 256, entities: 24}
  window_steps: 64
  batch_series: 16
  epochs: 1
calibration:
  class_features: [1, 3]
  ranges:
    - {low: 1, high: 600, telemetry: {step_seconds: 300, steps: 700, entities: 64}}
    - {low: 600, high: 86401, telemetry: {step_seconds: 3600, steps: 700, entities: 64}}
evaluation:
  telemetry:
    - {step_seconds: 300, steps: 1200, entities: 32}
"""

CLASSIFIER = (
    GOOD.replace('seed: 3', 'family: classifier\nseed: 3').replace('window_steps: 64', 'window_steps: 8\n  faults_per_1000: 3')
    .replace('steps: 256', 'steps: 700').replace('entities: 64', 'entities: 48').replace('entities: 32', 'entities: 16')
)  # fmt: skip

# What the ten lines leave to the shipped recipe, cut small.
SMALL = {
    'training': {'telemetry': [{'step_seconds': 300, 'steps': 640, 'entities': 32}], 'window_steps': 64, 'batch_series': 16, 'epochs': 1},
    'calibration': {
        'class_features': [1, 3],
        'ranges': [
            {'low': 1, 'high': 1800, 'telemetry': {'step_seconds': 300, 'steps': 900, 'entities': 64}},
            {'low': 1800, 'high': 86401, 'telemetry': {'step_seconds': 3600, 'steps': 700, 'entities': 64}},
        ],
    },
    'evaluation': {'telemetry': [{'step_seconds': 300, 'steps': 800, 'entities': 24}]},
}


def convert(*arguments):
    command = [sys.executable, '-m', 'convert', *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=servers.ROOT, capture_output=True, text=True, timeout=300)


VERIFIED_STEPS = 500 if is_accept() else 150  # more than twice the longest warm-up of a family; verify.telemetry visits every branch


def verified():
    """A context in which TensorFlow and ONNX Runtime are compared over VERIFIED_STEPS."""
    from convert import verify

    return mock.patch.object(verify, 'verify', functools.partial(verify.verify, steps=VERIFIED_STEPS))


def convert_here(*arguments):
    """The same in this process, which has TensorFlow loaded: it takes seconds to load. What is about processes and signals has its own.

    Models are verified as in `verified`.
    """
    from convert.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), verified():
        status = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


# The arguments of Python for `python -m convert`, which tells each half second, and not each ten, how far it is.
TALKATIVE = (
    '-c', 'import sys; from convert import progress; progress.EVERY_SECONDS = 0.5; from convert.__main__ import main; sys.exit(main())',
)  # fmt: skip


def interruptible(*arguments):
    """The command of a Python program that Ctrl-C ends, even where the tests run as a background job, which ignores it."""
    code = 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
    return [sys.executable, '-c', code, *arguments]


def forced(folder, recipe):
    """(the done command, the Bundle) of `all` on the text of a recipe; as little as it learns, the gates would refuse it."""
    path, out = folder / 'tiny.yml', folder / 'tiny.onnx'
    path.write_text(recipe)
    done = convert_here('all', path, '--work', folder / 'work', '--out', out, '--force')
    assert done.returncode == 0, done.stderr
    return done, session.load(out).bundle


def job(folder):
    """The job of the tiny recipe."""
    from convert import recipe, stages

    path = folder / 'tiny.yml'
    path.write_text(GOOD)
    return stages.Job(path, recipe.load(path), folder, folder / 'tiny.onnx', None, lambda line: None)


def fake_variants(monkeypatch, folder, benchmark_sets):
    """No variant of a recipe is trained: all are the running mean of tiny_model. Returns the list of their names and windows."""
    from convert import learning_curve, stages
    from convert.evaluation import review
    from promlstm.engine import session

    model, made = session.load(tiny_model.write(folder / 'mean.onnx')), []

    def make_variant(job, name, recipe):
        made.append((name, recipe.training.window_steps))
        work = folder / name
        work.mkdir(parents=True)
        (work / 'training.log').write_text('  1/1 windows, loss 0.5, 1 s\n')
        return replace(job, recipe=recipe, work=work)

    monkeypatch.setattr(learning_curve, 'make_variant', make_variant)
    monkeypatch.setattr(stages, 'bare', lambda part: model)
    monkeypatch.setattr(stages, 'training_of', lambda part: tiny_model.MANIFEST.training)
    monkeypatch.setattr(review, 'sets_to_choose_by', lambda job, seed: benchmark_sets)
    return made
