"""The gauges of incidents: a page that scrapers read, with label sets that are all different."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from promlstm.serve.exposition import INCIDENTS, prefix
from promlstm.serve.incidents import Gauges, render
from promlstm.serve.page import OF_INCIDENTS, Page

ODD = (('incident', 'mine'), ('k8s.pod', 'ß'), ('name', 'say "hi"\\\n'))


def page(*incidents):
    """What a scrape would return."""
    subject = Page(lambda: 0.0)
    subject.publish(OF_INCIDENTS, render(incidents), expires=1)
    return b''.join(subject.parts()).decode()


def samples(text, parse=parse_text):
    """{(name, labels): value}; an assertion that no two have the same."""
    found = [((sample.name, frozenset(sample.labels.items())), sample.value) for family in parse(text) for sample in family.samples]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_scrapers_read_them_whatever_the_labels_are():
    """Both formats; an entity's own label `incident` is exported_incident, names beyond the old syntax are escaped."""
    text = page(Gauges('a-1', 1750000200.5, 1, 1, [prefix('cpu', ODD)], [(prefix('cpu', ODD), 0.125)]))
    found = samples(text)
    assert found == samples(text + '# EOF\n', parse_openmetrics)
    own = {'detector': 'cpu', 'incident': 'a-1', 'exported_incident': 'mine', 'U__k8s_2e_pod': 'ß', 'name': 'say "hi"\\\n', 'instance': '', 'job': ''}
    assert found['promlstm_incident_member', frozenset(own.items())] == 1
    assert found['promlstm_incident_cause_score', frozenset(own.items())] == 0.125
    assert found['promlstm_incident_start_timestamp_seconds', frozenset({('incident', 'a-1')})] == 1750000200.5
    assert {name for name, _ in found} == set(INCIDENTS)


def test_an_entity_that_is_blamed_twice_has_one_line():
    """The likelier one."""
    text = page(Gauges('a-1', 0.0, 0, 0, [], [(prefix('cpu', ()), 0.5), (prefix('', (('service', 'x'),)), 0.25), (prefix('cpu', ()), 0.125)]))
    scores = [line.split()[-1] for line in text.splitlines() if line.startswith('promlstm_incident_cause_score')]
    assert scores == ['0.5', '0.25'] and len(samples(text)) == 5


def test_several_incidents_are_one_block_of_each_family():
    """Families do not come twice; without incidents there are none."""
    text = page(*(Gauges(name, 0.0, 1, 1, [prefix('cpu', ODD)], [(prefix('cpu', ODD), 0.1)]) for name in ('a', 'b')))
    assert [line.split()[2] for line in text.splitlines() if line.startswith('# TYPE')] == list(INCIDENTS)
    assert len(samples(text)) == 2 * len(INCIDENTS)
    assert page() == ''
