"""The chart as a part of another: what the parent switches it on with, and what it passes to all of its parts."""

import shutil

import pytest
import servers
import yaml
from chart import CHART, HELMS, URL, objects

pytestmark = pytest.mark.usefixtures('helms')

OURS = {'prometheus': {'url': 'http://prometheus.monitoring:9090'}}


@pytest.fixture(scope='module', params=['folder', 'package'])
def part(request, tmp_path_factory):
    """The chart as a parent has it under charts/: a folder, or what `helm package` made of it."""
    folder = tmp_path_factory.mktemp('charts')
    if request.param == 'folder':
        shutil.copytree(CHART, folder / 'promlstm')
    else:
        servers.run_tool('helm4', 'package', CHART, '--destination', folder)
    return folder


@pytest.fixture
def render(part, tmp_path):
    """Renders a parent chart with one dependency and the values of its own: the done process."""

    def rendered(helm, values, *settings, check=True, **dependency):
        folder = tmp_path / f'observability-{len(list(tmp_path.iterdir()))}'
        shutil.copytree(part, folder / 'charts')
        chart = {'apiVersion': 'v2', 'name': 'observability', 'version': '1.0.0'}
        chart['dependencies'] = [{'name': 'promlstm', 'version': '*', 'repository': '', **dependency}]
        (folder / 'Chart.yaml').write_text(yaml.safe_dump(chart))
        (folder / 'values.yaml').write_text(yaml.safe_dump(values))
        return servers.run_tool(helm, 'template', 'shop', folder, '--namespace=monitoring', *settings, check=check)

    return rendered


@pytest.mark.parametrize('helm', HELMS)
def test_the_condition_of_a_parent_switches_it(render, helm):
    """`enabled` is the parent's to say and ours to take; without it the chart is there."""
    for enabled, there in ((True, True), (False, False), (None, True)):
        values = {'promlstm': {**OURS, **({} if enabled is None else {'enabled': enabled})}}
        assert bool(objects(render(helm, values, condition='promlstm.enabled').stdout, 'Deployment')) == there
    assert not objects(render(helm, {'promlstm': OURS}, '--set=promlstm.enabled=false', condition='promlstm.enabled').stdout)


@pytest.mark.parametrize('helm', HELMS)
def test_tags_of_a_parent_switch_it(render, helm):
    """Though it has a condition too: a value of ours would answer that one for the parent."""
    for wanted in (True, False):
        values = {'tags': {'anomalies': wanted}, 'promlstm': OURS}
        text = render(helm, values, condition='promlstm.enabled', tags=['anomalies']).stdout
        assert bool(objects(text, 'Deployment')) == wanted


OF_OTHERS = {'clusterDomain': 'cluster.local', 'imageRegistry': 'registry.example.org', 'storageClass': '', 'security': {'allowInsecureImages': True}}


@pytest.mark.parametrize('helm', HELMS)
@pytest.mark.parametrize(
    ('shared', 'names'),
    [
        (OF_OTHERS, []),
        ({'imagePullSecrets': ['one', {'name': 'two'}]}, ['one', 'two']),
        ({'imagePullSecrets': 'one'}, ['one']),
        ({'imagePullSecrets': None, 'postgresql': {'auth': {'database': None}}, 'labels': {'team': 'sre'}, 'hosts': ['a', 1, 1.5]}, []),
        (None, []),
    ],
)
def test_what_a_parent_passes_to_all_is_taken(render, helm, shared, names):
    """Whatever is under `global`, by whatever charts it is for; of it, secrets to pull images with are used."""
    (deployment,) = objects(render(helm, {'global': shared, 'promlstm': OURS}).stdout, 'Deployment')
    assert [secret['name'] for secret in deployment['spec']['template']['spec'].get('imagePullSecrets', [])] == names


@pytest.mark.parametrize('helm', HELMS)
def test_null_of_a_parent_is_the_default(render, helm):
    """It takes a default of ours out as it does in a file of the user's own."""
    nulls = {'log': None, 'service': {'port': None}, 'presets': ['node'], 'retraining': None, 'podLabels': None, 'resources': {'limits': {'cpu': None}}}
    wanted = render(helm, {'promlstm': {**OURS, 'presets': ['node']}}).stdout
    found = render(helm, {'promlstm': {**OURS, **nulls}}).stdout
    (deployment,) = objects(found, 'Deployment')
    assert 'cpu' not in deployment['spec']['template']['spec']['containers'][0]['resources']['limits']
    assert found.replace('memory: 300Mi', 'cpu: "1"\n              memory: 300Mi') == wanted


def test_another_name_for_it_is_in_all_names(render):
    """`alias`: two of them beside each other have no name in common."""
    names = []
    for alias in ('anomalies', 'outliers'):
        text = render('helm4', {alias: OURS}, alias=alias).stdout
        names.append({(found['kind'], found['metadata']['name']) for found in objects(text)})
    assert not names[0] & names[1]


@pytest.mark.parametrize('helm', HELMS)
def test_switched_off_without_a_parent_is_refused(helm):
    """Nobody would read it, and all of it would be there."""
    done = servers.run_tool(helm, 'template', 'promlstm', CHART, f'--set={URL},enabled=false', check=False)
    assert done.returncode != 0 and 'enabled is false, which only the condition of a parent chart reads' in done.stderr
