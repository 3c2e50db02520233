"""ScaledObjects: KEDA asks for the forecast and for the load, nothing else in the values reaches a query, and what KEDA would refuse is refused before."""

import json
import re

import pytest
from chart import CHART, HELMS, SCHEMA, URL, objects, template

from promlstm import durations, terminal

pytestmark = pytest.mark.usefixtures('helms')

DETECTORS = [{'name': 'shop', 'expr': 'sum by (service) (x)', 'forecast': {'horizons': ['5m', '15m', '30m', '1h', '1d', '7d']}}]
ONE = {'name': 'web', 'target': {'name': 'web'}, 'detector': 'shop', 'observed': 'sum(x)', 'threshold': 100, 'maxReplicas': 40}


def rendering(*scaled, helm='helm4', more=(), check=True):
    """The done process of some scaledObjects."""
    values = [f'--set-json=forecast.scaledObjects={json.dumps(scaled)}', f'--set-json=detectors={json.dumps(DETECTORS)}']
    return template(helm, f'--set={URL}', *values, *more, check=check)


def scaled_object(**values):
    """The rendered object of ONE with other values."""
    (found,) = objects(rendering(ONE | values).stdout, 'ScaledObject')
    return found


def triggers(**values):
    """{name: metadata} of the same."""
    return {each['name']: each['metadata'] for each in scaled_object(**values)['spec']['triggers']}


def test_a_workload_is_scaled_by_its_forecast_and_by_its_load():
    """Of the release's namespace, by the Prometheus that promlstm asks, and an empty answer is an error."""
    found = scaled_object()
    assert (found['apiVersion'], found['metadata']['name'], found['metadata']['namespace']) == ('keda.sh/v1alpha1', 'web', 'monitoring')
    assert found['spec']['scaleTargetRef'] == {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'web'}
    assert (found['spec']['minReplicaCount'], found['spec']['maxReplicaCount']) == (1, 40)
    assert set(found['spec']) == {'scaleTargetRef', 'minReplicaCount', 'maxReplicaCount', 'triggers'}
    assert [each['name'] for each in found['spec']['triggers']] == ['forecast', 'observed']
    for metadata in triggers().values():
        query = metadata.pop('query')
        assert metadata == {'serverAddress': 'http://prometheus.monitoring:9090', 'threshold': '100', 'ignoreNullValues': 'false'}
        assert '{{' not in query and 'sum(x)' in query
    asked = triggers()['forecast']['query']
    assert 'promlstm_forecast{detector="shop", horizon="5m", bound="upper"}' in asked
    assert asked.endswith(triggers()['observed']['query'])


def test_what_is_set_is_in_the_object():
    """Each value of the schema, under KEDA's names; numbers stay whole, texts texts."""
    values = {
        'namespace': 'shop', 'target': {'apiVersion': 'argoproj.io/v1alpha1', 'kind': 'Rollout', 'name': 'front'},
        'match': {'service': 'web', 'zone': 'a"b'}, 'horizon': '15m', 'threshold': 0.00001, 'minReplicas': 2, 'maxReplicas': 3_000_000,
        'fallback': {'failureThreshold': 3, 'replicas': 2_000_000, 'behavior': 'currentReplicasIfHigher'}, 'behavior': {'scaleUp': {'policies': []}},
        'serverAddress': 'https://mimir/prometheus/', 'authenticationRef': {'name': 'mimir'}, 'metadata': {'customHeaders': 'X-Scope-OrgID=team'},
        'labels': {'team': 'shop'}, 'annotations': {'autoscaling.keda.sh/paused': 'true'},
    }  # fmt: skip
    properties = SCHEMA['properties']['forecast']['properties']['scaledObjects']['items']['properties']
    assert set(properties) == values.keys() | ONE.keys()
    for helm in HELMS:
        (found,) = objects(rendering(ONE | values, helm=helm).stdout, 'ScaledObject')
        meta, spec = found['metadata'], found['spec']
        assert (meta['namespace'], meta['labels']['team'], meta['annotations']) == ('shop', 'shop', values['annotations'])
        assert (spec['scaleTargetRef'], spec['minReplicaCount'], spec['maxReplicaCount']) == (values['target'], 2, 3_000_000)
        assert (spec['fallback'], spec['advanced']) == (values['fallback'], {'horizontalPodAutoscalerConfig': {'behavior': values['behavior']}})
        for each in spec['triggers']:
            assert each['authenticationRef'] == values['authenticationRef']
            told = each['metadata']
            assert (told['serverAddress'], told['customHeaders']) == ('https://mimir/prometheus', 'X-Scope-OrgID=team')
            assert float(told['threshold']) == 0.00001
        assert r'{detector="shop", service="web", zone="a\"b", horizon="15m", bound="upper"}' in spec['triggers'][0]['metadata']['query']


REFUSED = {
    'unknown detector': ([ONE | {'detector': 'shops'}], 'scaledObjects[0].detector: shops is not a detector of presets or detectors'),
    'name twice': ([ONE, ONE | {'target': {'name': 'other'}}], 'scaledObjects[1].name: web appears twice in namespace monitoring'),
    'target twice': ([ONE, ONE | {'name': 'more'}], 'scaledObjects[1].target: apps/v1 Deployment monitoring/web is already scaled by web'),
    'more at least than at most': ([ONE | {'minReplicas': 41}], 'scaledObjects[0].minReplicas is more than maxReplicas, 40'),
    'address of a template': ([ONE | {'serverAddress': 'http://{{ .x }}'}], 'scaledObjects[0].serverAddress: {{ .x }} was not replaced'),
    'label of the chart': ([ONE | {'labels': {'helm.sh/chart': 'a'}}], "scaledObjects[0].labels: helm.sh/chart is one of the chart's own labels"),
    # What is wrong in itself is the schema's to refuse.
    'no pods': ([ONE | {'minReplicas': 0}], 'minReplicas'),
    'no load per pod': ([ONE | {'threshold': 0}], 'threshold'),
    'blank load': ([ONE | {'observed': ' '}], 'observed'),
    'query of its own': ([ONE | {'metadata': {'query': 'up'}}], 'query'),
    'a lost target as no load': ([ONE | {'metadata': {'ignoreNullValues': 'true'}}], 'ignoreNullValues'),
    'another bound': ([ONE | {'match': {'bound': 'lower'}}], 'bound'),
    'no label': ([ONE | {'match': {'a-b': 'c'}}], 'a-b'),
    'no duration': ([ONE | {'horizon': '5 minutes'}], 'horizon'),
    'half a fallback': ([ONE | {'fallback': {'replicas': 5}}], 'failureThreshold'),
    'unknown key': ([ONE | {'maxReplicaCount': 5}], 'maxReplicaCount'),
    **{f'no {key}': ([{name: value for name, value in ONE.items() if name != key}], key) for key in ONE},
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_keda_could_not_use_is_refused_with_the_reason(case):
    """By both helms, before anything is in the cluster."""
    scaled, message = REFUSED[case]
    for helm in HELMS:
        done = rendering(*scaled, helm=helm, check=False)
        assert done.returncode != 0
        assert message in done.stderr


def test_a_horizon_is_written_as_the_label_of_the_exporter_has_it():
    """However the values have it; another text would match no series, and nobody would be told."""
    horizons = ('60m', '1h', '1w', '24h', '90m', '300s', '1d12h', '5m0s', '36h15m', '604800s', '3650d')
    scaled = [ONE | {'name': f'web-{n}', 'target': {'name': f'web-{n}'}, 'horizon': each} for n, each in enumerate(horizons)]
    more = [f'--set-json=detectors={json.dumps([DETECTORS[0] | {"forecast": {"horizons": horizons}}])}']
    for helm in HELMS:
        queries = [each['spec']['triggers'][0]['metadata']['query'] for each in objects(rendering(*scaled, helm=helm, more=more).stdout, 'ScaledObject')]
        found = [re.search('horizon="(.*?)"', query)[1] for query in queries]
        assert found == [terminal.duration(durations.seconds(each)) for each in horizons]


@pytest.mark.parametrize(
    ('horizons', 'horizon', 'told'),
    [
        (['5m', '1h'], '5m', None),
        (['1h'], '60m', None),
        (['1h', '7d'], '5m', 'scaledObjects[0].horizon: detector shop forecasts 1h, 7d, not 5m: add it to its forecast.horizons'),
        (None, '1d', None),
        (None, '5m', 'scaledObjects[0].horizon: detector shop forecasts 1h, 1d, 7d, not 5m'),
    ],
)
def test_a_horizon_that_the_detector_does_not_forecast_is_refused(horizons, horizon, told):
    """Nobody would see that the load alone scales."""
    detectors = [DETECTORS[0] | {'forecast': {'limit': 0, **({'horizons': horizons} if horizons else {})}}]
    more = [f'--set-json=detectors={json.dumps(detectors)}']
    done = rendering(ONE | {'horizon': horizon}, more=more, check=told is None)
    assert told is None or told in done.stderr


def test_a_detector_without_forecasts_is_refused():
    """The load alone would scale, and nobody would see it."""
    silent = [{name: value for name, value in DETECTORS[0].items() if name != 'forecast'}]
    done = rendering(ONE, more=[f'--set-json=detectors={json.dumps(silent)}'], check=False)
    assert 'scaledObjects[0].detector: shop makes no forecasts: set its forecast: {horizons: [5m]}' in done.stderr


def test_the_same_name_in_another_namespace_is_another():
    """And so is a target of another kind."""
    others = [ONE, ONE | {'namespace': 'shop'}, ONE | {'name': 'more', 'target': {'kind': 'StatefulSet', 'name': 'web'}}]
    assert len(objects(rendering(*others).stdout, 'ScaledObject')) == 3


def test_somebody_has_to_be_asked():
    """With sources alone there is no address that KEDA could take over."""
    sources = ['--set=prometheus.url=', '--set-json=sources={"mimir":{"url":"http://mimir"}}']
    assert 'scaledObjects[0].serverAddress nor prometheus.url is set' in rendering(ONE, more=sources, check=False).stderr
    (found,) = objects(rendering(ONE | {'serverAddress': 'http://keda-asks'}, more=sources).stdout, 'ScaledObject')
    assert found['spec']['triggers'][0]['metadata']['serverAddress'] == 'http://keda-asks'


def test_nothing_is_scaled_unless_asked_for():
    """The list is empty by default."""
    assert not objects(template('helm4', f'--set={URL}').stdout, 'ScaledObject')
    assert len(objects(template('helm4', f'--values={CHART}/ci/scaled-values.yaml').stdout, 'ScaledObject')) == 2
