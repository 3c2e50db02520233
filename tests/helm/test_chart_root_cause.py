"""root_cause in the chart: it reaches the configuration as it is, and what could not work there is refused by its name."""

import json

import pytest
from chart import SCHEMA, config_of, template

from promlstm import config as configuration
from promlstm.settings import RootCause

CAUSE = {
    'within': ['cluster'], 'interval': '2m', 'graph_file': '/models/graph.json', 'graph_sha256': 'a' * 64,
    'edges': [{'preset': 'kubernetes'}, {'expr': 'max by (a, b) (x)', 'from': 'a', 'to': 'b', 'label': 'service', 'source': 'prometheus'}],
}  # fmt: skip


def rendered(cause, **options):
    return template('helm4', '--set=prometheus.url=http://prometheus:9090', f'--set-json=root_cause={json.dumps(cause)}', **options)


def test_the_configuration_has_what_the_value_says():
    """Read by the program; without the value nothing is written, and the defaults are in force."""
    config = configuration.parse(config_of(rendered(CAUSE).stdout))
    assert [(edges.preset, edges.from_) for edges in config.root_cause.edges] == [('kubernetes', None), (None, 'a')]
    assert (config.root_cause.interval, config.root_cause.graph_file) == (120, '/models/graph.json')
    for none in ({}, None):
        text = config_of(rendered(none).stdout)
        assert 'root_cause' not in text and configuration.parse(text).root_cause == RootCause()


def test_the_schema_knows_every_key():
    """As many as the program has."""
    schema = SCHEMA['properties']['root_cause']['properties']
    assert set(schema) == set(RootCause.__struct_encode_fields__)
    assert set(schema['edges']['items']['properties']) == set(configuration.Edges.__struct_encode_fields__)


ONE = {'expr': 'x', 'from': 'a', 'to': 'b'}
REFUSED = {
    'unknown source': ({'source': 'b'}, 'root_cause.source: b is not a source; sources: prometheus'),
    'unknown source of edges': ({'edges': [ONE | {'source': 'b'}]}, 'root_cause.edges[0].source: b is not a source; sources: prometheus'),
    'neither': ({'edges': [{'from': 'a', 'to': 'b'}]}, 'root_cause.edges[0]: set either expr with from and to, or preset'),
    'both': ({'edges': [ONE | {'preset': 'tempo'}]}, 'root_cause.edges[0]: set either expr with from and to, or preset'),
    'no to': ({'edges': [ONE, {'expr': 'x', 'from': 'a'}]}, 'root_cause.edges[1]: expr needs from and to'),
    'same': ({'edges': [ONE | {'to': 'a'}]}, 'root_cause.edges[0]: from and to are the same label'),
    'from of a preset': ({'edges': [{'preset': 'tempo', 'from': 'a'}]}, 'root_cause.edges[0].from: it is part of the preset tempo'),
    'label of a preset': ({'edges': [{'preset': 'kubernetes', 'label': 'a'}]}, 'root_cause.edges[0].label: it is part of the preset kubernetes'),
    'digest alone': ({'graph_sha256': 'a' * 64}, 'root_cause.graph_sha256 is set, but graph_file is not'),
    'within and edges': ({'within': ['a'], 'edges': [ONE]}, 'root_cause.within: a also links entities'),
    **{f'within and {label}': ({'within': [label]}, f'root_cause.within: {label} also links entities') for label in RootCause().labels},
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_work_is_refused(name):
    """By the chart, in words, as by the program."""
    cause, says = REFUSED[name]
    done = rendered(cause, check=False)
    assert done.returncode and says in done.stderr
