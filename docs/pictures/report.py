"""The first screen of a benchmark's HTML report, in a real browser: the shipped model beside the simple detectors, on injected faults."""

import browser

from convert import recipe
from convert.evaluation import benchmark, benchmark_sets, gates, report
from promlstm.engine import session

TELEMETRY = recipe.Telemetry(step_seconds=300, steps=3000, entities=192)
SEED = 4_000_037  # of telemetry that the model has not learnt from
WIDTH, HEIGHT = 1100, 1500  # the table, the three plots, the best and the worst detection


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
    source = directory / 'report.html'
    source.write_text(page(log))
    with browser.chromium() as chromium:
        opened = chromium.new_page(viewport={'width': WIDTH, 'height': HEIGHT}, locale='en-GB', timezone_id='UTC')
        opened.goto(source.as_uri())
        opened.locator('.charts').nth(1).locator('canvas').first.wait_for()
        return opened.screenshot()
