"""The demo's source has our own gauges, as a Prometheus that scrapes promlstm: the same lines, until they are stale."""

import re
from types import SimpleNamespace

import numpy as np
from prometheus_client.parser import text_string_to_metric_families as parse
from standings import NOW, identity, standing

from promlstm import config as configuration
from promlstm.demo.scraped import Scraped
from promlstm.query.selector import selector
from promlstm.serve import exposition

ASKED = 'promlstm_(observed|expected|expected_lower|expected_upper|usual_lower|usual_upper|anomaly_score|entity_missing|view)'
CONFIG = 'prometheus: {url: http://p}\ndetectors: [{name: cpu, expr: a}, {name: other, expr: b}]'


def observed(scraped, config, steps):
    """Let it see steps of a detector; gives what each was on the page, {time: text}."""
    pages = {}
    for each in steps:
        session = SimpleNamespace(bundle=SimpleNamespace(manifest=SimpleNamespace(views=each.views)))
        detector = SimpleNamespace(config=config, session=session, entities=SimpleNamespace(identities=each.identities))
        scraped.observe(detector, each.verdicts, each.missing)
        labels = exposition.Labels(config.name, tuple(config.queries), each.views).of(each.identities)
        blocks = exposition.render(each.verdicts, labels, missing=each.missing).values()
        pages[each.verdicts.time] = b''.join(piece for block in blocks for piece in block).decode()
    return pages


def test_it_has_the_lines_that_were_on_the_page():
    """All gauges that a page of an entity asks for, for each entity, at each step; labels and values are those of the exposition."""
    cpu, other = configuration.parse(CONFIG).detectors
    names = [identity(instance='a', job='x'), identity(detector='odd', instance='b', job='x')]
    scraped = Scraped()
    steps = [standing(cpu, names, [0.5 + step, 2.0], missing=[1] if step == 2 else [], time=NOW + 60 * step) for step in range(3)]
    pages = observed(scraped, cpu, steps)
    observed(scraped, other, [standing(other, names, [0.25, 0.25], time=NOW)])
    wanted = f'{{__name__=~"{ASKED}",detector="cpu"}}'
    times = np.array([NOW - 1, NOW, NOW + 59, NOW + 60, NOW + 120, NOW + 239, NOW + 240])
    found = scraped.select(selector(wanted), times)
    for place, of in enumerate([None, NOW, NOW, NOW + 60, NOW + 120, NOW + 120, None]):
        shown = {
            tuple(sorted({'__name__': sample.name, **{name: value for name, value in sample.labels.items() if value}}.items())): sample.value
            for family in parse(pages.get(of, ''))
            for sample in family.samples
            if re.fullmatch(ASKED, sample.name)
        }
        assert {tuple(sorted(labels.items())): values[place] for labels, values in found if not np.isnan(values[place])} == shown
    assert scraped.select(selector('node_cpu_busy_ratio'), times) == []
    assert {labels['instance'] for labels, _ in scraped.select(selector('promlstm_observed{detector="cpu",exported_detector=""}'), times)} == {'a'}
