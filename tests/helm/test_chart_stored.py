"""What is rendered is what an API server stores and what is rendered again: whoever compares them finds no difference that nobody made."""

import json

import pytest
import servers
import yaml
from chart import CHART, FOREIGN, HELMS, RETRAINED, URL, VARIANTS, config_of, objects, recipe_of, template, template_of
from requirements import is_accept
from stored import quantity, stored

from convert import recipe
from promlstm import config as configuration

pytestmark = pytest.mark.usefixtures('helms')

# Where nothing at all means everything, or a default.
EMPTY_BY_MEANING = {'podSelector', 'namespaceSelector', 'emptyDir', 'preference', 'preferredDuringSchedulingIgnoredDuringExecution'}


def empties(tree, key=''):
    """Keys under which there is nothing: the server may leave them out."""
    if isinstance(tree, dict | list) and not tree:
        return [key]
    inner = tree.items() if isinstance(tree, dict) else ((key, each) for each in tree) if isinstance(tree, list) else ()
    return [found for name, value in inner for found in empties(value, name)]


@pytest.mark.parametrize('variant', VARIANTS)
def test_the_server_changes_nothing_that_was_rendered(rendered, variant):
    """No null, no empty map or list, quantities as it writes them, and the items of lists with all that it would fill in."""
    for found in objects(rendered['helm4', variant]):
        assert stored(found) == found
        assert set(empties(found)) <= EMPTY_BY_MEANING, found['kind']


@pytest.mark.parametrize('helm', HELMS if is_accept() else ['helm4'])  # both render the same
def test_rendering_again_gives_the_same_bytes(rendered, helm):
    """No clock, no chance, no order of a map: a release that nobody changed is not upgraded."""
    for variant in VARIANTS:
        assert template(helm, f'--values={CHART}/ci/{variant}-values.yaml').stdout == rendered[helm, variant]


AMOUNTS = {
    'cpu': (1, 2.0, 0.1, 1.5, '1000m', '250m', '0.25', '.5', '2.', '1500m', '001', '0', '12'),
    'memory': (
        '1024Mi', '1.5Gi', '1000Mi', '0.5Gi', '2048Ki', '128974848', '1000000000', '300M', '1500M', '1T', '2Ti', 1073741824, '1.1Gi', '3.0Mi',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', AMOUNTS)
def test_quantities_are_as_the_server_writes_them(name, tmp_path):
    """In all containers; a fraction of a byte too."""
    for amount in AMOUNTS[name]:
        values = {'resources': {'requests': {name: amount}, 'limits': None}, 'retraining': {'resources': {'requests': {name: amount}}}}
        values |= {'rules': {'configMap': False}}  # they are long to render
        (tmp_path / 'values.json').write_text(json.dumps(values))
        text = template('helm4', RETRAINED, f'--values={tmp_path}/values.json').stdout
        found = set()
        for each in objects(text):
            if each['kind'] in ('Deployment', 'CronJob'):
                spec = template_of(each)['spec']
                found |= {container['resources']['requests'][name] for container in [*spec.get('initContainers', []), *spec['containers']]}
        assert found == {quantity(amount)}, amount


@pytest.mark.parametrize('name', ['123', '1e3', 'true', 'null', 'y', 'on', '0x1f', 'no'])
def test_names_that_look_like_something_else_are_text(name):
    """Of the release, of its namespace, and of what is named in values."""
    validate = pytest.importorskip('kubernetes_validate').validate
    values = {
        'priorityClassName': name, 'serviceAccount': {'name': name}, 'models': {'existingClaim': name}, 'commonLabels': {'a': name},
        'prometheus': {'basic_auth': {'username': name, 'password_secret': {'name': name, 'key': name}}},
    }  # fmt: skip
    settings = [f'--set-json={key}={json.dumps(value)}' for key, value in values.items()]
    text = servers.run_tool(
        'helm4', 'template', name, CHART, f'--namespace={name}', RETRAINED, f'--set={URL},podMonitor.enabled=true', *settings
    ).stdout
    for found in objects(text):
        if not found['apiVersion'].startswith(FOREIGN):
            validate(found, '1.37', strict=True)
        assert found['metadata']['namespace'] == name
        assert all(isinstance(value, str) for value in found['metadata']['labels'].values())
    assert configuration.parse(config_of(text), source='rendered').prometheus.basic_auth.username == name


NUMBERS = (0, 0.5, 1, 1_000_000, 1e6, 1e20, 1e21, 1.5e300, 1e-5, 1.25e-7, 5e-324, 123456789.5, 12345678901, 0.1, 2**53)


@pytest.mark.parametrize('helm', HELMS)
def test_numbers_reach_the_program_as_they_are(helm, tmp_path):
    """Small ones and big ones; helm writes 1e-05 and 1e+21, which YAML 1.1 takes for text."""
    detectors = [
        {
            'name': f'd{i}', 'expr': 'up', 'min_deviation': number, 'min_relative_deviation': number, 'range': [-1 - number * 2.0, number],
            'max_entities': 1_000_000,
        }
        for i, number in enumerate(NUMBERS)
    ]  # fmt: skip
    values = {'presets': [], 'detectors': detectors, 'retraining': {'gates': {'recall_margin': 0.00001, 'alarms_ratio': 1e21}}}
    (tmp_path / 'values.json').write_text(json.dumps(values))
    text = template(helm, RETRAINED, f'--values={tmp_path}/values.json', '--set-json=retraining.detectors=[]').stdout
    found = configuration.parse(config_of(text), source='rendered').detectors
    for detector, number in zip(found, NUMBERS, strict=True):
        assert (detector.min_deviation, detector.min_relative_deviation) == (number, number)
        assert detector.range == (-1 - number * 2.0, number) and detector.max_entities == 1_000_000
    (tmp_path / 'recipe.yml').write_text(recipe_of(text))
    (tmp_path / 'promlstm.yml').write_text(config_of(text))
    gates = recipe.load(tmp_path / 'recipe.yml').gates
    assert (gates.recall_margin, gates.alarms_ratio) == (0.00001, 1e21)


@pytest.mark.parametrize('helm', HELMS)
def test_whole_numbers_are_written_as_such(helm, tmp_path):
    """A million is `1e+06` to helm, and no whole number to Kubernetes."""
    values = {
        'replicas': 1_000_000, 'startupFailures': 2_000_000, 'testSeconds': 3_000_000, 'models': {'claimIsShared': True},
        'retraining': {'deadlineSeconds': 4_000_000},
    }  # fmt: skip
    (tmp_path / 'values.json').write_text(json.dumps(values))
    text = template(helm, RETRAINED, f'--values={tmp_path}/values.json').stdout
    for line in ('replicas: 1000000', 'failureThreshold: 2000000', 'value: "3000000"', 'activeDeadlineSeconds: 4000000'):
        assert f'{line}\n' in text


TEXTS = (
    '1e5', '1_000', '0o17', '017', '0x1f', '12:30:00', '2026-01-31', 'yes', 'y', '~', 'null', '.5', '+1', '.inf', '1.', '*', 'a: b', '#a', ' é',
    '<number 1>x', 'a\nb: <number 2> ',
)  # fmt: skip


@pytest.mark.parametrize('helm', HELMS)
def test_texts_reach_the_program_as_they_are(helm, tmp_path):
    """Those too that one reader of YAML takes for something else than another."""
    (tmp_path / 'values.json').write_text(json.dumps({'prometheus': {'params': {text: text for text in TEXTS}}}))
    text = template(helm, f'--set={URL}', f'--values={tmp_path}/values.json').stdout
    assert configuration.parse(config_of(text), source='rendered').prometheus.params == {text: text for text in TEXTS}
    assert yaml.safe_load(config_of(text))['prometheus']['params'] == {text: text for text in TEXTS}
