"""The smallest candidate that is as good as the best, within noise, is chosen."""

import pytest

pytestmark = pytest.mark.train


@pytest.fixture
def candidate():
    from convert.search import Candidate

    def make(size, recall, low, high):
        return Candidate(family='forecaster', window_steps=size, units=(size, 8), entity_bytes=size, file_bytes=1, event_recall=recall, low=low, high=high)

    return make


def test_the_smallest_within_noise_is_chosen(candidate):
    """A smaller one that is significantly worse is not, however small; among equals the smallest is."""
    from convert import search

    found = search.chosen([candidate(300, 0.80, 0, 0), candidate(100, 0.50, -0.4, -0.2), candidate(200, 0.78, -0.05, 0.01)])
    assert [(each.entity_bytes, each.chosen) for each in found] == [(100, False), (200, True), (300, False)]
    text = search.text(found)
    assert 'chosen: family: forecaster, training.window_steps: 200, training.units: [200, 8]: ' in text and text.count('chosen') == 2


def test_candidates_are_made_from_one_recipe(monkeypatch, tmp_path):
    """Each family and size once, in a folder of its own, measured on the same telemetry."""
    from benchmark_results import benchmark_set
    from recipes import fake_variants, job

    from convert import search

    made = fake_variants(monkeypatch, tmp_path, [benchmark_set()])
    sizes = {'forecaster': ((1.0, (16, 8)), (1.0, (32, 16))), 'classifier': ((0.05, (8, 8)), (0.01, (8, 8)), (0.5, (8, 8)))}
    out = search.run(job(tmp_path), sizes)
    names = [('forecaster_64_16_8', 64), ('forecaster_64_32_16', 64), ('classifier_8_8_8', 8), ('classifier_32_8_8', 32)]
    assert made == [(f'search/{name}', window) for name, window in names]
    assert sum(each.chosen for each in out) == 1 and (tmp_path / 'search.json').exists() and 'chosen' in (tmp_path / 'search.txt').read_text()
