"""Values of the chart: what cannot work is refused with the reason, what is taken is documented, and both as the exporter would."""

import base64
import contextlib
import json
import re
from typing import get_args, get_type_hints

import pytest
import servers
import yaml
from chart import CHART, HELMS, RETRAINED, SCHEMA, URL, VALUES, VARIANTS, as_in_the_pod, command_line, config_of, template

from promlstm import config as configuration
from promlstm import presets
from promlstm.__main__ import main
from promlstm.engine import session
from promlstm.errors import BundleFormatError, ConfigError

pytestmark = pytest.mark.usefixtures('helms')

OAUTH2 = f'--values={CHART}/ci/oauth2-values.yaml'
BLANK = '--set=prometheus.url='
REFUSED = {
    'no url': ([BLANK], 'prometheus.url is not set'),
    'nothing to watch': (['--set-json=presets=[]'], 'neither presets nor detectors are set'),
    'name taken by a preset': (['--set-json=detectors=[{"name":"node_cpu","expr":"up"}]'], 'the name node_cpu is taken by preset node'),
    'name taken': (['--set-json=detectors=[{"name":"a","expr":"up"},{"name":"a","expr":"up"}]'], 'the name a is taken by another detector'),
    'two authorizations': (
        [
            '--set-json=prometheus.basic_auth={"username":"a","password_secret":{"name":"a","key":"a"}}',
            '--set-json=prometheus.authorization={"credentials_secret":{"name":"a","key":"a"}}',
        ],
        'prometheus: basic_auth and authorization are both set: a request has only one Authorization header',
    ),
    'half a pair for silences': (
        ['--set-json=retraining.exclude.silences={"alertmanager":"http://a","tls_config":{"key_secret":{"name":"a","key":"a"}}}'],
        'retraining.exclude.silences.tls_config: set both cert_secret and key_secret, or neither',
    ),
    'no expression': (['--set-json=detectors=[{"name":"a"}]'], 'detectors: a: expected either expr, or features with by'),
    'expression and features': (
        ['--set-json=detectors=[{"name":"a","expr":"up","features":{"b":"up"},"by":["c"]}]'], 'detectors: a: expected either expr, or features with by',
    ),
    'features without labels': (['--set-json=detectors=[{"name":"a","features":{"b":"up"}}]'], 'detectors: a: features are joined into entities'),
    'range upside down': (['--set-json=detectors=[{"name":"a","expr":"up","range":[1,0.5]}]'], 'detectors: a: range is [low, high]'),
    'no such builtin model': (
        ['--set-json=detectors=[{"name":"a","expr":"up","model":"builtin:foo"}]'],
        'a: builtin:foo: no such model comes with promlstm; expected builtin:default or builtin:forecaster',
    ),
    'no such model': (['--set-json=detectors=[{"name":"a","expr":"up","model":"/models/a.onnx"}]'], 'a runs /models/a.onnx, but no value provides this file'),
    'another model': (
        ['--set-json=detectors=[{"name":"a","expr":"up","model":"/models/a.onnx"}]', f'--values={CHART}/ci/fetch-values.yaml'],
        'a runs /models/a.onnx, but no value provides this file',
    ),
    'half a pair': (['--set-json=prometheus.tls_config={"cert_secret":{"name":"a","key":"a"}}'], 'set both cert_secret and key_secret, or neither'),
    'two sources': (['--set=models.existingClaim=a', '--set=models.inline.a=YQ=='], 'all fill the folder /models'),
    'two pods on a claim of one': (['--set=replicas=2', '--set=models.existingClaim=a'], 'only one node can mount models.existingClaim'),
    'shards on a claim of one': (['--set=shards=2', '--set=models.existingClaim=a'], 'only one node can mount models.existingClaim'),
    'shards on a claim of memory': (['--set=previousShards=2,storage.kind=claim,storage.existingClaim=a'], 'storage.existingClaim is for one pod'),
    'as many shards as before': (['--set=shards=3,previousShards=3'], 'previousShards equals shards'),
    'shard by hand': (['--set=extraArgs[0]=--shard=0/2'], 'set shards'),
    'letters divide': (['--set-json=detectors=[{"name":"a","expr":"up","split_by":"pod","split_until":"x"}]'], 'split_until'),
    'budget of one pod': (['--set=podDisruptionBudget=true'], 'podDisruptionBudget needs two pods or more'),
    'two monitors': (['--set=serviceMonitor.enabled=true,podMonitor.enabled=true'], 'every pod would be scraped twice'),
    'nobody scrapes': (['--set=networkPolicy.enabled=true'], 'networkPolicy.scrapeFrom is empty'),
    'no way out': (
        ['--set=networkPolicy.enabled=true', '--set-json=networkPolicy.scrapeFrom=[{"podSelector":{}}]'],
        'networkPolicy.prometheus.to is empty',
    ),
    'no names': (
        ['--set=networkPolicy.enabled=true', *(f'--set-json=networkPolicy.{key}=[{{"podSelector":{{}}}}]' for key in ('scrapeFrom', 'prometheus.to'))],
        'networkPolicy.dns.to is empty',
    ),
    'no way to the models': (
        [f'--values={CHART}/ci/fetch-values.yaml', '--set-json=networkPolicy.fetch.to=[]'],
        'networkPolicy.fetch.to is empty',
    ),
    'nowhere to write a model': (['--set=retraining.enabled=true'], 'there is no volume to write the new model to'),
    'nobody to run a model': (
        [RETRAINED, '--set-json=presets=[]', '--set-json=retraining.detectors=[]', '--set-json=detectors=[{"name":"a","expr":"up","model":"/models/a.onnx"}]'],
        'no detector would run the new one',
    ),
    'nobody of that name': ([RETRAINED, '--set-json=retraining.detectors=["node_cpus"]'], 'retraining.detectors: node_cpus is not a detector'),
    'a password and tokens': (
        [OAUTH2, '--set-json=prometheus.authorization={"credentials_secret":{"name":"a","key":"a"}}'],
        'prometheus: authorization and oauth2 are both set: a request has only one Authorization header',
    ),
    'half a client certificate for tokens': (
        [OAUTH2, '--set-json=prometheus.oauth2.tls_config={"key_secret":{"name":"a","key":"a"}}'],
        'prometheus.oauth2.tls_config: set both cert_secret and key_secret, or neither',
    ),
    'no way to the tokens': ([OAUTH2, '--set-json=networkPolicy.oauth2.to=[]'], 'networkPolicy.oauth2.to is empty'),
    'port of tokens': ([OAUTH2, '--set=prometheus.oauth2.token_url=http://a:0?b'], 'prometheus.oauth2.token_url: http://a:0?b has no port'),
    'no way to the silences': ([RETRAINED, '--set-json=networkPolicy.alertmanager.to=[]'], 'networkPolicy.alertmanager.to is empty'),
    'unknown time zone': (['--set-json=detectors=[{"name":"a","expr":"up","timezone":"Europe/Berln"}]'], 'a: timezone: unknown time zone Europe/Berln'),
    'zone in lower case': (['--set-json=detectors=[{"name":"a","expr":"up","timezone":"europe/berlin"}]'], 'unknown time zone europe/berlin'),
    'zone of a schedule': ([RETRAINED, '--set=retraining.timeZone=CEST'], 'retraining.timeZone: unknown time zone CEST'),
    'port beyond the last': (['--set=prometheus.url=http://a:65536'], 'prometheus.url: http://a:65536 has no port between 1 and 65535'),
    'port of a proxy': (['--set=prometheus.proxy_url=http://a:70000/'], 'prometheus.proxy_url: http://a:70000/ has no port'),
    'port of silences': (['--set-json=retraining.exclude.silences={"alertmanager":"http://a:0"}'], 'silences.alertmanager: http://a:0 has no port'),
    'no IPv6 address': (['--set=prometheus.url=http://[:::::]:9090'], 'prometheus.url: [:::::] is not an IPv6 address'),
    'template in the url': (['--set-literal=prometheus.url=http://{{ .Release.Name }}:9090'], 'url: {{ .Release.Name }} was not replaced by its value'),
    'variable in the url': (['--set-literal=prometheus.url=http://${PROMETHEUS}/a'], 'prometheus.url: ${PROMETHEUS} was not replaced'),
    'path of the API': (['--set=prometheus.url=http://a/b/api/v1/'], 'it ends in /api/v1/, but promlstm adds the path of the API itself: set http://a/b'),
    'page for people': (['--set=prometheus.url=http://a/graph'], 'it ends in /graph'),
    'another question': (['--set=prometheus.params.query=up'], 'prometheus.params: query: promlstm sets it for every query'),
    'header of the exchange': (['--set=prometheus.headers.Host=a'], 'prometheus.headers: Host: this header belongs to the connection'),
    'less than a byte': (['--set=prometheus.max_response=0.5B'], 'prometheus.max_response: 0.5B is less than a byte'),
    'flag of the configuration': (['--set=extraArgs[0]=--config.file=/a.yml'], 'extraArgs: --config.file: the chart renders the file'),
    'flag of a preset': (['--set=image.tag=other,extraArgs[0]=--preset=redis'], 'extraArgs: --preset: set presets'),
    'flag of the source': (['--set=extraArgs[0]=--prometheus.url=http://a'], 'extraArgs: --prometheus.url: set prometheus.url'),
    'flag of the address': (['--set=extraArgs[0]=--web.listen-address=:1'], 'extraArgs: --web.listen-address: pods listen on 19855'),
    'flag of the actions': (['--set=extraArgs[0]=--web.enable-actions'], 'extraArgs: --web.enable-actions: set web.enableActions'),
    'actions without pages': (['--set=web.enableActions=true,web.ui=false'], 'web.enableActions needs the pages, which web.ui: false turns off'),
    'flag of the log': (['--set=extraArgs[0]=--log.level=trace'], 'extraArgs: --log.level: set log.level'),
    'beginning of a flag': (['--set=extraArgs[0]=--web.l'], 'extraArgs: --web.listen-address: pods listen on 19855'),
    'TLS without a file': (['--set=web.scheme=https'], 'web.scheme is https, but web.secret is not set'),
    'certificates of clients without TLS': (['--set=web.clientCertificates=true'], 'web.clientCertificates needs web.scheme=https'),
    'flag of the storage': (['--set=extraArgs[0]=--storage.path=/x'], 'extraArgs: --storage.path: set storage.kind'),
    'unknown flag': (['--set=extraArgs[0]=--ruler.path=/x'], 'does not have the flag --ruler.path=/x'),
    'no claim for memory': (['--set=storage.kind=claim'], 'storage.existingClaim is not set: there is no volume to keep memory on'),
    'claim that nobody mounts': (['--set=storage.existingClaim=a'], 'storage.existingClaim is set, but storage.kind is emptyDir'),
    'two pods on a claim of memory': (['--set=replicas=2,storage.kind=claim,storage.existingClaim=a'], 'storage.existingClaim is for one pod'),
    'models and memory on a claim': (['--set=storage.kind=claim,storage.existingClaim=a,models.existingClaim=a'], 'are the same claim'),
    'volume of the memory': (['--set-json=extraVolumes=[{"name":"storage","emptyDir":{}}]'], 'extraVolumes: the name storage is already used'),
    'no interval': (['--set=storage.checkpointInterval=0s'], 'checkpointInterval'),
    'no kind of storage': (['--set=storage.kind=pvc'], 'kind'),
    'model twice': (
        ['--set-json=models.fetch=[' + ','.join(['{"name":"a","url":"https://a","sha256":"' + '0' * 64 + '"}'] * 2) + ']'], 'models.fetch: a appears twice',
    ),
    'incident upside down': (
        [RETRAINED, '--set-json=retraining.exclude.by_hand=[{"span":["2026-02-01","2026-01-31T12:00:00+02:00"],"why":"a"}]'],
        'retraining.exclude.by_hand[0].span: 2026-02-01 is not before 2026-01-31T12:00:00+02:00',
    ),
    'no such day': ([RETRAINED, '--set-json=retraining.exclude.by_hand=[{"span":["2026-02-31",1e10],"why":"a"}]'], 'by_hand[0].span: expected instants'),
    'no selector': ([RETRAINED, '--set-json=retraining.exclude.by_hand=[{"span":[1,2],"why":"a","match":"nonsense"}]'], 'match'),
    'label of the chart': (['--set-json=commonLabels={"app.kubernetes.io/name":"a"}'], "commonLabels: app.kubernetes.io/name is one of the chart's own labels"),
    'label of the pods': (['--set-json=podLabels={"app.kubernetes.io/component":"a"}'], 'podLabels: app.kubernetes.io/component is'),
    'annotation of the chart': (['--set-json=podAnnotations={"checksum/models":"a"}'], 'podAnnotations: checksum/models is set by the chart'),
    'volume of the chart': (['--set-json=extraVolumes=[{"name":"config","emptyDir":{}}]'], 'extraVolumes: the name config is already used'),
    'mount of nothing': (['--set-json=extraVolumeMounts=[{"name":"a","mountPath":"/a"}]'], 'extraVolumeMounts: a is not the name of a volume in extraVolumes'),
    'mount over the configuration': (
        ['--set-json=extraVolumes=[{"name":"a","emptyDir":{}}]', '--set-json=extraVolumeMounts=[{"name":"a","mountPath":"/etc/promlstm/"}]'],
        'extraVolumeMounts: another volume is already mounted at /etc/promlstm/',
    ),
    'container of the chart': (['--set-json=extraContainers=[{"name":"promlstm","image":"a"}]'], 'extraContainers: the name promlstm is already used'),
    'no object': (['--set-json=extraObjects=["a: b"]'], 'extraObjects[0]: an object has apiVersion, kind and metadata'),
    # What is wrong in itself is the schema's to refuse.
    'null for what has to be there': (['--set-json=detectors=[{"name":null,"expr":"up"}]'], 'name'),
    'user without a password': (['--set-json=prometheus.basic_auth={"username":"a"}'], 'password_secret'),
    'no quantity': (['--set=resources.limits.cpu=1.2.3'], 'cpu'),
    'number for a variable': (['--set-json=extraEnv=[{"name":"a","value":1}]'], 'value'),
    'label that is none': (['--set-json=podLabels={"a":"b c"}'], 'podLabels'),
    'unknown preset': (['--set-json=presets=["nod"]'], 'kubernetes'),
    'password in the url': (['--set=prometheus.url=http://user:secret@a'], 'url'),
    'password to a model': (['--set-json=models.fetch=[{"name":"a","url":"https://a:b@c","sha256":"' + '0' * 64 + '"}]'], 'url'),
    'no budget': (['--set-json=detectors=[{"name":"a","expr":"up","false_alarms":"1 per day"}]'], 'false_alarms'),
    'unknown value': (['--set=replica=2'], 'replica'),
    'unknown key of a detector': (['--set-json=detectors=[{"name":"a","exprs":"up"}]'], 'exprs'),
    'unhashed model': (['--set-json=models.fetch=[{"name":"a","url":"https://a"}]'], 'sha256'),
    'no pods': (['--set=replicas=0'], 'replicas'),
    'tokens without a client': (
        ['--set-json=prometheus.oauth2={"token_url":"http://a","client_secret_secret":{"name":"a","key":"b"}}'], 'client_id',
    ),
    'a secret of a client': (['--set=prometheus.oauth2.client_secret=secret'], 'client_secret'),
    'a scope in the wrong place': ([OAUTH2, '--set=prometheus.oauth2.endpoint_params.scope=a'], 'scope'),
    'a password': (['--set=prometheus.basic_auth.password=secret'], 'password'),
}  # fmt: skip


def test_the_chart_takes_the_models_that_come_with_promlstm_and_score():
    """Those of detectors; a model that forecasts is none of them."""
    listed = re.search(r'\(has \$model \(list (.*?)\)\)', (CHART / 'templates/_refuse.tpl').read_text())[1]
    scoring = set()
    for path in (servers.ROOT / 'promlstm/models').glob('*.onnx'):
        with contextlib.suppress(BundleFormatError):
            session.load(path, prove=False)
            scoring.add(f'builtin:{path.stem}')
    assert set(listed.replace('"', '').split()) == scoring


@pytest.mark.parametrize('case', REFUSED)
def test_values_that_cannot_work_are_refused_with_the_reason(case):
    """By both helms, before anything is in the cluster."""
    settings, message = REFUSED[case]
    for helm in HELMS:
        done = template(helm, f'--set={URL}', *settings, check=False)
        assert done.returncode != 0
        assert message in done.stderr


def test_the_flags_that_are_refused_are_all_that_there_are():
    """A flag that `promlstm run` gets is either a value of the chart or one that extraArgs takes; an image of another version may have more."""
    (commands,) = [action for action in command_line()._actions if action.choices]
    flags = {option for action in commands.choices['run']._actions for option in action.option_strings if option.startswith('--')}
    for flag in flags - {'--help'}:
        done = template('helm4', f'--set={URL},image.tag=other,extraArgs[0]={flag}=a', check=False)
        assert f'extraArgs: {flag}: ' in done.stderr
    text = template('helm4', f'--set={URL},image.tag=other,extraArgs[0]=--ruler.path=/x').stdout
    assert yaml.safe_load(re.search(r'args:\n((?: +- .*\n)+)', text)[1])[-1] == '--ruler.path=/x'


def test_the_time_zones_are_those_of_the_image():
    """`python helm/timezones.py` writes them, of the package that the image has too."""
    assert servers.module(servers.ROOT / 'helm/timezones.py').names() == (CHART / 'timezones.txt').read_text()
    pinned = {re.search(r'^tzdata==(\S+)', (servers.ROOT / '.ci' / name).read_text(), re.MULTILINE)[1] for name in ('constraints.txt', 'image.txt')}
    assert len(pinned) == 1


def test_what_stays_out_when_it_is_null_is_what_the_table_has_as_one():
    """The maps that are replaced key by key are known to the templates and to the documentation."""
    text = (CHART / 'templates/_values.tpl').read_text()
    assert yaml.safe_load(re.search(r'define "promlstm.whole" -}}\n(.*)\n', text)[1]) == list(table().WHOLE)
    assert (CHART / 'defaults.yaml').read_text() == (CHART / 'values.yaml').read_text()


NULLS = {
    'presets': (['detectors=[{"name":"a","expr":"up"}]'], 'detectors:\n    - expr: up\n      name: a\n'),
    'resources.limits': ([], 'resources:\n            requests:\n              cpu: 100m\n              memory: 150Mi\n          volumeMounts'),
    'resources.limits.cpu': ([], 'limits:\n              memory: 300Mi\n            requests'),
    'log.level': ([], '--log.level=info\n'),
    'service.port': ([], 'port: 19855,'),
    'dashboards.labels.grafana_dashboard': (['dashboards.enabled=true'], 'helm.sh/chart: "promlstm-'),
}


@pytest.mark.parametrize('key', NULLS)
@pytest.mark.parametrize('helm', HELMS)
def test_null_is_the_default_or_none_at_all(helm, key):
    """A number or a word is its default; a list, a label and a limit are gone, as everywhere in helm."""
    settings, there = NULLS[key]
    text = template(helm, f'--set={URL}', f'--set-json={key}=null', *(f'--set-json={setting}' for setting in settings)).stdout
    assert there in text
    assert 'grafana_dashboard: "1"' not in text


def test_more_objects_are_templates(tmp_path):
    """Maps or texts, of one object or several; what they name is the release's."""
    objects = [
        {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': '{{ .Release.Name }}-a'}, 'data': {'promql': '{{ "{{" }} $value }}'}},
        '{{- range list "b" "c" }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ include "promlstm.fullname" $ }}-{{ . }}"}\n{{- end }}',
    ]
    (tmp_path / 'values.json').write_text(json.dumps({'extraObjects': objects}))
    for helm in HELMS:
        text = template(helm, f'--set={URL}', f'--values={tmp_path}/values.json', '--show-only=templates/extra.yaml').stdout
        found = list(yaml.safe_load_all(text))
        assert [one['metadata']['name'] for one in found] == ['promlstm-a', 'promlstm-b', 'promlstm-c']
        assert found[0]['data'] == {'promql': '{{ $value }}'}


def test_models_too_large_for_a_configmap_are_refused(tmp_path):
    """With the reason and the way out; what fits is taken."""
    for size_bytes, fits in ((690_000, True), (710_000, False)):
        (tmp_path / 'values.yaml').write_text(
            yaml.safe_dump({'models': {'inline': {'a.onnx': base64.b64encode(b'a' * size_bytes).decode()}}})
        )
        done = template('helm4', f'--set={URL}', f'--values={tmp_path}/values.yaml', check=False)
        assert (done.returncode == 0) == fits
    assert 'a ConfigMap has at most 1 MiB' in done.stderr and 'models.fetch' in done.stderr


# Of these the chart checks what it needs, and leaves the rest to Kubernetes.
KUBERNETES_OWN = {'extraVolumes', 'extraVolumeMounts', 'extraContainers', 'extraObjects', 'topologySpreadConstraints'}
# What is a parent chart's to say.
OF_PARENTS = {'enabled', 'global'}


def schemas(schema):
    """A schema and all below it."""
    yield schema
    for below in [*schema.get('properties', {}).values(), *([schema['items']] if 'items' in schema else [])]:
        yield from schemas(below)


def test_unknown_keys_are_refused_at_every_level():
    """An object is either closed, or a map of strings, or Kubernetes' own."""
    assert SCHEMA['$schema'] == 'http://json-schema.org/draft-07/schema#'
    assert SCHEMA['additionalProperties'] is False
    for key, value in SCHEMA['properties'].items():
        for schema in schemas(value) if key not in KUBERNETES_OWN else ():
            if 'properties' in schema:
                assert schema['additionalProperties'] is False, key


def test_the_schema_and_the_values_know_the_same_keys():
    """Nothing is allowed that has no default, and the other way round."""

    def compare(schema, values, where):
        known = set(schema['properties']) - (OF_PARENTS if not where else set())
        assert known == set(values), where
        for key, value in values.items():
            if value and 'properties' in schema['properties'][key]:
                compare(schema['properties'][key], value, [*where, key]) if key not in ('requests', 'limits') else None

    compare(SCHEMA, VALUES, [])


def test_detectors_have_the_keys_of_the_configuration():
    """What docs/reference/configuration.md says of a detector is what the chart takes."""
    assert set(SCHEMA['properties']['detectors']['items']['properties']) == set(configuration.Detector.__struct_encode_fields__)
    keys = {re.sub('_secret$', '', key) for key in SCHEMA['properties']['prometheus']['properties']}
    assert keys == set(configuration.Source.__struct_encode_fields__) - {'kind'}
    of_another = SCHEMA['properties']['sources']['additionalProperties']['properties']
    assert set(of_another) == {'kind', *SCHEMA['properties']['prometheus']['properties']}
    assert set(of_another['kind']['enum']) == {*get_args(get_type_hints(configuration.Source)['kind']), None}


# What docs/reference/configuration.md allows of a key, and what comes close to it.
DURATIONS = ('0', '0s', '30s', '1h30m', '500ms', '1y2w', '', '5', '30 s', '1m1h', '1s1s', '-1s', '1.5h', '5M', '1234567890123s')
URLS = (
    'http://a', 'https://a.b:9090/prefix/', 'http://[::1]:9090', 'a:9090', 'ftp://a', 'http://', 'http://:9090', 'http://u:p@a', 'http://u@a/b',
    'http://a/b@c', 'http://a?b=c', 'http://a#b', 'http://a:b',
)  # fmt: skip
TRIED = {
    ('prometheus', 'url'): URLS,
    ('prometheus', 'proxy_url'): URLS,
    ('prometheus', 'timeout'): DURATIONS,
    ('prometheus', 'enable_compression'): (True, False, 'no', 0),
    ('prometheus', 'max_response'): ('64MB', '1.5GB', '512B', '9KB', '0MB', '64', '64MiB', '64 MB', '1TB', 'MB', '-1MB'),
    ('prometheus', 'concurrency'): (1, 64, 0, 65, '4', 1.5),
    ('prometheus', 'headers'): (
        {'X-Scope-OrgID': 'team'}, {'a': 'b c'}, {'a': 'é'}, {'a b': 'c'}, {'': 'a'}, {'a': ''}, {'a': 'b\nc'}, {'a': ' b'}, {'a': 1},
        {'authoriZation': 'Bearer a'},
    ),
    ('prometheus', 'params'): ({'dedup': 'true'}, {'dedup': True}),
    ('prometheus', 'method'): ('auto', 'GET', 'POST', 'get', 'PUT', 1),
    ('detector', 'name'): ('a b', '', 1),
    ('detector', 'expr'): ('up', '', ' ', 1),
    ('detector', 'step'): DURATIONS,
    **{('detector', key): DURATIONS for key in ('delay', 'hold', 'forget', 'history')},
    ('detector', 'sha256'): ('a' * 64, 'A' * 64, 'a' * 63, 'g' * 64, ''),
    ('detector', 'timezone'): ('UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', '', '/etc', 'Europe Berlin', '../UTC'),
    ('detector', 'false_alarms'): (
        '1/week each', '0.5/day in all', '10/minute each', '1 per day', '1/day', '0/day each', '0.0/day each', '1/days each', '1/day  each', '1./day each',
    ),
    ('detector', 'direction'): ('both', 'above', 'below', 'up', ''),
    ('detector', 'source'): ('prometheus', '', 'a b', 1),
    ('detector', 'absent'): ('missing', 'zero', 'ignore', True),
    ('detector', 'missing'): ('alert', 'ignore', 'drop', True),
    ('detector', 'noisy'): ('alert', 'tolerate', 'ignore', True),
    ('detector', 'min_deviation'): (0, 0.5, -1, '1'),
    ('detector', 'min_relative_deviation'): (0, 0.5, -1, '1'),
    ('detector', 'range'): ([0, 1.5], [0], [0, 1, 2], [0, None], ['0', 1]),
    ('detector', 'split_by'): ('pod', 'k8s.pod', '', '__name__', 1),
    ('detector', 'split_until'): (':', '', ':.', 'a', ':9', 1),
    ('detector', 'max_entities'): (1, 0, 1.5, '1'),
    ('detector', 'export'): ('all', 'anomalous', 'score', 'none', True),
    ('detector', 'max_exported'): (1, 0, 1.5, '1'),
    ('forecast', 'horizons'): (['5m'], ['1h', '7d'], [], ['0s'], ['5'], ['1m1h'], '1h', [300]),
    ('forecast', 'limit'): (0, -1.5, 1e12, '0'),
    ('forecast', 'limit_expr'): ('up', '', ' ', 1),
    ('forecast', 'approach'): ('falling', 'rising', 'down', ''),
    ('forecast', 'sha256'): ('a' * 64, 'a' * 63),
    ('joined', 'by'): (['a'], ['a', '_b'], ['_'], [], ['__a'], ['__name__'], ['a-b'], ['http.method'], ['1a'], [''], [1]),
    ('joined', 'features'): ({'a': 'up'}, {}, {'a': ' '}, {'': 'up'}, {'a': 1}),
}  # fmt: skip


@pytest.mark.parametrize(('where', 'key'), TRIED)
def test_the_schema_refuses_what_the_configuration_refuses(where, key):
    """Before it is in the cluster; and it takes what the program takes. A model and its place are another matter."""
    jsonschema = pytest.importorskip('jsonschema')
    told = set()
    for value in TRIED[where, key]:
        source, detector = (
            {'url': 'http://a'},
            {'name': 'a', **({'features': {'a': 'up'}, 'by': ['a']} if where == 'joined' else {'expr': 'up'})},
        )
        if where == 'forecast':
            detector['forecast'] = {'horizons': ['1h'], key: value}
        else:
            (source if where == 'prometheus' else detector)[key] = value
        tree = {'prometheus': source, 'detectors': [detector]}
        try:
            configuration.parse(yaml.safe_dump(tree), source='tried')
            takes = True
        except ConfigError:
            takes = False
        assert jsonschema.Draft7Validator(SCHEMA).is_valid(tree) == takes, value
        told.add(takes)
    assert told == {True, False}


def test_every_key_of_a_detector_was_tried():
    """And of the way to Prometheus, but for the parts that hold Secrets; `model` is refused by the templates."""
    keys = {'joined': 'detectors', 'detector': 'detectors', 'prometheus': 'prometheus', 'forecast': 'forecast'}
    tried = {(keys[where], key) for where, key in TRIED}
    detectors = {('detectors', key) for key in SCHEMA['properties']['detectors']['items']['properties']}
    detectors |= {('forecast', key) for key in SCHEMA['properties']['detectors']['items']['properties']['forecast']['properties']}
    source = {('prometheus', key) for key in SCHEMA['properties']['prometheus']['properties']}
    parts = {('prometheus', key) for key in ('basic_auth', 'authorization', 'oauth2', 'tls_config')}
    assert tried == (detectors | source) - parts - {('detectors', 'model'), ('detectors', 'forecast'), ('forecast', 'model')}


def test_every_value_is_read_by_a_template():
    """No dead value; those of `prometheus` go into promlstm.yml as they are."""
    text = ''.join(path.read_text() for path in CHART.glob('templates/**/*') if path.is_file())
    for path, _ in table().leaves(VALUES):
        keys = path.split('.')
        assert f'.Values.{keys[0]}' in text or f'$v.{keys[0]}' in text, path
        assert re.search(rf'\b{keys[-1]}\b', text) or keys[0] in ('prometheus', 'sources'), path


def table():
    """The script that makes the README's table, as a module."""
    return servers.module(servers.ROOT / 'helm/table.py')


def test_every_value_is_documented_and_the_readme_is_made_of_it():
    """`python helm/table.py` makes the table anew."""
    module = table()
    comments = dict(module.documented((CHART / 'values.yaml').read_text()))
    assert [path for path, _ in module.leaves(VALUES) if path not in comments] == []
    assert module.README.read_text() == module.page(module.README.read_text())


def test_check_config_accepts_the_rendered_configuration(rendered, tmp_path, capsys):
    """Taken out of the ConfigMap as it is; half of the variants have the same, which is checked once."""
    for config, variant in {config_of(rendered['helm4', variant]): variant for variant in VARIANTS}.items():
        (tmp_path / 'promlstm.yml').write_text(as_in_the_pod(config, tmp_path))
        assert main(['check-config', '--offline', str(tmp_path / 'promlstm.yml')]) == 0, (variant, capsys.readouterr().out)


def test_presets_are_those_of_the_package():
    """All of them, rendered, are the very detectors that `--preset` gives, numbers included."""
    names = presets.names()
    text = config_of(template('helm4', f'--set={URL}', f'--set-json=presets={json.dumps(names)}').stdout)
    assert configuration.parse(text, source='rendered').detectors == presets.config(names).detectors
    assert SCHEMA['properties']['presets']['items']['enum'] == names
    assert set(names) == set(re.findall(r'[\w-]+', re.search(r'Ready detectors by name: (.*)', (CHART / 'values.yaml').read_text())[1]))
