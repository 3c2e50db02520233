"""The first screen of a benchmark's HTML report, in a real browser: the shipped model beside the simple detectors, on injected faults."""

import os
import shutil
import subprocess

from convert import recipe
from convert.evaluation import benchmark, benchmark_sets, gates, report
from promlstm.engine import session

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
TELEMETRY = recipe.Telemetry(step_seconds=300, steps=3000, entities=192)
SEED = 4_000_037  # of telemetry that the model has not learnt from
WIDTH, HEIGHT = 1100, 1075  # the table and the three plots
LIMIT_SECONDS = 120


def browser():
    """Path of a browser without a window; None = there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def page(log):
    """report.html of the default model, as `python -m convert evaluate` writes it; takes a minute. log: function of a line of text."""
    model = session.load(session.resolve('builtin:default'))
    card = model.bundle.manifest
    results, scored = benchmark.measure_all([benchmark.Method(card.name, 'model', model)], [benchmark_sets.injected(TELEMETRY, SEED)], log)
    found = report.Report(
        model=card.name,
        family=card.family,
        sha256=model.bundle.sha256,
        service='',
        budget_per_week=benchmark.BUDGET,
        results=results,
        verdicts=gates.judge(results, gates.Gates()),
        learning=report.learning(()),
    )
    return report.page(found, scored)


def picture(directory, log):
    """The top of the page as PNG bytes."""
    source, target = directory / 'report.html', directory / 'report.png'
    source.write_text(page(log))
    options = ['--headless', '--disable-gpu', '--hide-scrollbars', f'--user-data-dir={directory / "browser"}']
    if os.geteuid() == 0:
        options.append('--no-sandbox')  # it refuses to run as root otherwise; the page is ours
    command = [browser(), *options, f'--window-size={WIDTH},{HEIGHT}', f'--screenshot={target}', source.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if done.returncode or not target.exists():
        raise RuntimeError(f'{command[0]} made no picture, status {done.returncode}:\n{done.stderr}')
    return target.read_bytes()
