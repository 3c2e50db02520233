"""How large `check-config` says that a page is: as large as what a step renders, by whichever key."""

import msgspec
import numpy as np
import pytest
from fakes import raw

from promlstm import check_page, config
from promlstm.engine.columns import READY, Verdicts
from promlstm.serve.exposition import Labels, render
from promlstm.serve.selection import select

(ONE,) = config.parse('prometheus: {url: http://x}\ndetectors: [{name: cpu, expr: up}]').detectors
TWO = msgspec.structs.replace(ONE, expr=None, features={'a': 'up', 'b': 'down'}, by=('instance',))
IDENTITIES = [raw(instance=f'10.0.0.{row}:9100', job='node') for row in range(1000)]


def rendered(detector):
    """Bytes of a step with random numbers, none of them anomalous."""
    rng, shape = np.random.default_rng(1), (len(IDENTITIES), len(detector.queries))
    columns = {name: rng.normal(1000, 500, shape) for name in ('observed', 'expected', 'lower', 'upper', 'usual_lower', 'usual_upper', 'deviation')}
    scores = rng.random(shape[0]).astype(np.float32)
    verdicts = Verdicts(
        time=0.0, status=np.full(shape[0], READY, np.int8), score=scores, surprise=scores, contribution=rng.random(shape).astype(np.float32),
        view=np.empty((shape[0], 0), np.float32), since=np.full(shape[0], np.nan), recurring=np.zeros(shape[0], np.float32), **columns,
    )  # fmt: skip
    missing = np.zeros(shape[0], bool)
    selection = select(detector.export, detector.max_exported, verdicts, missing)
    blocks = render(verdicts, Labels(detector.name, tuple(detector.queries)).of(IDENTITIES), missing=missing, selection=selection)
    return sum(len(piece) for block in blocks.values() for piece in block)


@pytest.mark.parametrize('detector', [ONE, TWO], ids=['one feature', 'two features'])
@pytest.mark.parametrize('keys', [{}, {'export': 'anomalous'}, {'export': 'score'}, {'max_exported': 100}, {'export': 'score', 'max_exported': 300}])
def test_the_size_is_that_of_a_step(detector, keys):
    """Within 3 %, which the number of digits makes."""
    detector = msgspec.structs.replace(detector, **keys)
    assert check_page.size_bytes(detector, IDENTITIES) == pytest.approx(rendered(detector), rel=0.03)


def test_forecasts_are_part_of_it():
    """Three lines for each horizon, and those of a limit."""
    plain, forecast, limited = (
        check_page.size_bytes(msgspec.structs.replace(ONE, forecast=each), IDENTITIES)
        for each in (None, config.Forecast(), config.Forecast(limit=1.0))
    )
    assert plain < forecast < limited


def test_nobody_is_no_page():
    """An expression that returns nothing yet is no reason for a warning."""
    assert check_page.size_bytes(ONE, []) == 0 and check_page.warnings(ONE, [], [0]) == []


def test_a_large_page_has_a_warning_that_says_what_to_choose():
    """What it would be with `export: anomalous`; where that is set already, what else helps; an ordinary page has none."""
    assert check_page.warnings(ONE, IDENTITIES, [check_page.LARGE_BYTES]) == []
    (said,) = check_page.warnings(ONE, IDENTITIES, [check_page.LARGE_BYTES + 1])
    smaller = check_page.size_bytes(msgspec.structs.replace(ONE, export='anomalous'), IDENTITIES)
    assert 'set export: anomalous, with which they are ' in said and f'{smaller / 1024:.1f} KiB' in said
    (said,) = check_page.warnings(msgspec.structs.replace(ONE, export='score'), IDENTITIES, [check_page.LARGE_BYTES + 1])
    assert 'export: ' not in said and 'aggregate the expression' in said


def test_a_part_is_judged_by_its_own_page():
    """A detector whose whole is too large and whose parts are not has no warning; the largest part that is has one, with its shard."""
    large = check_page.LARGE_BYTES
    assert check_page.warnings(ONE, IDENTITIES, [large // 2, large, large // 3]) == []
    (said,) = check_page.warnings(ONE, IDENTITIES, [large, 3 * large])
    smaller = check_page.size_bytes(msgspec.structs.replace(ONE, export='anomalous'), IDENTITIES)
    assert said.startswith('its gauges of shard 1 are 286 MiB of text') and f'{0.75 * smaller / 1024:.1f} KiB' in said and 'among more exporters' in said


def test_what_vmagent_takes_is_told_before_it_is_too_much():
    """From a quarter of its limit on; what to set is said where the page is beyond it, and `export` only where that helps."""
    each, limit = 1060, check_page.VMAGENT_BYTES
    assert check_page.fits(3000 * each, 3000, 500_000) == []
    (near,) = check_page.fits(10_000 * each, 10_000, 1_700_000)
    assert f'about {limit // each} such entities' in near and 'unless max_scrape_size' in near and 'export' not in near
    (beyond,) = check_page.fits(20_000 * each, 20_000, 3_400_000)
    assert 'page of 20.2 MiB' in beyond and f'about {limit // each} such entities: set max_scrape_size' in beyond and 'export: anomalous (3.24 MiB)' in beyond
    (small,) = check_page.fits(20_000 * each, 20_000, 20_000 * each)
    assert 'export' not in small
