"""The chart, rendered by helm 3 and helm 4: the same from both, valid for Kubernetes, safe, and its config and rules are what the tools take."""

import contextlib
import hashlib
import http.server
import json
import os
import re
import threading
import time

import fleet_history
import pytest
import servers
import yaml
from chart import (
    CHART,
    FOREIGN,
    HELMS,
    NEEDED,
    PUSHED,
    RETRAINED,
    URL,
    VARIANTS,
    WORKLOADS,
    as_in_the_pod,
    command_line,
    config_of,
    deployment,
    objects,
    pods,
    run_container,
    template,
    template_of,
)
from requirements import is_accept

import promlstm
from promlstm import presets
from promlstm.__main__ import main

pytestmark = pytest.mark.usefixtures('helms')

KUBERNETES = ('1.25', '1.29', '1.33', '1.37') if is_accept() else ('1.25', '1.37')
GOLDEN = servers.ROOT / 'tests/golden/chart.yaml'


@pytest.mark.parametrize('helm', HELMS)
def test_helm_finds_nothing_to_complain_of(helm):
    """Not as it is, and not with any of the variants; those helm 3 looks at in `make accept`."""
    servers.run_tool(helm, 'lint', '--strict', CHART)
    for variant in VARIANTS if helm == 'helm4' or is_accept() else ():
        servers.run_tool(helm, 'lint', '--strict', CHART, f'--values={CHART}/ci/{variant}-values.yaml')


@pytest.mark.parametrize('variant', VARIANTS)
def test_both_helms_render_the_same(rendered, variant):
    """To the byte, so that what is shown of one holds for the other."""
    assert rendered['helm3', variant] == rendered['helm4', variant]


@pytest.mark.parametrize('version', KUBERNETES)
def test_every_object_is_valid_for_kubernetes(version):
    """Rendered for it, by its published schemas; unknown keys are refused. What the operator and KEDA define is not among them."""
    validate = pytest.importorskip('kubernetes_validate').validate
    seen = set()
    for variant in VARIANTS:
        for found in objects(template('helm4', f'--kube-version={version}', f'--values={CHART}/ci/{variant}-values.yaml').stdout):
            if not found['apiVersion'].startswith(FOREIGN):
                validate(found, version, strict=True)
                seen.add(found['kind'])
    assert seen == {'ConfigMap', 'CronJob', 'NetworkPolicy', 'Pod', 'PodDisruptionBudget', 'Service', 'ServiceAccount', *WORKLOADS}


@pytest.mark.parametrize('variant', VARIANTS)
def test_no_name_is_a_boolean_to_helm(rendered, variant):
    """Helm's YAML takes a bare y for true, Python's does not: a series of that name would come to the server as `true`."""
    plain = [token for token in yaml.scan(rendered['helm4', variant]) if isinstance(token, yaml.ScalarToken) and token.plain]
    assert [token.start_mark.line for token in plain if token.value.lower() in ('y', 'n')] == []


def test_the_default_is_what_was_looked_at(rendered):
    """Every change of it is seen in review: `PROMLSTM_GOLDEN=1` writes it anew."""
    found = rendered['helm4', 'default']
    if os.environ.get('PROMLSTM_GOLDEN') == '1':
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


def test_a_url_is_all_that_is_needed(rendered):
    """`helm install … --set prometheus.url=…` gives the variant `default`."""
    assert template('helm4', f'--set={URL}').stdout == rendered['helm4', 'default']


def test_the_chart_is_of_this_version():
    """The image that it asks for is the one made from this tree."""
    assert yaml.safe_load((CHART / 'Chart.yaml').read_text())['appVersion'] == promlstm.__version__


def test_secrets_are_files_and_nothing_else(rendered):
    """The configuration names files below /secrets; each is mounted from the Secret's key that was named, and no other key."""
    for variant in ('secrets', 'token', 'oauth2'):
        text = rendered['helm4', variant]
        wanted = set(re.findall(r'_file: (\S+)', config_of(text)))
        spec = objects(text, 'Deployment')[0]['spec']['template']['spec']
        mounts = {mount['name']: mount['mountPath'] for mount in spec['containers'][0]['volumeMounts']}
        volumes = [volume for volume in spec['volumes'] if 'secret' in volume]
        assert wanted == {f'{mounts[volume["name"]]}/{item["path"]}' for volume in volumes for item in volume['secret']['items']} != set()
        assert not objects(text, 'Secret')


def test_a_change_of_detectors_leaves_the_pods():
    """The program takes a changed file by itself; it is mounted as a folder, for a single file of a ConfigMap would never change."""
    before, after = (deployment(*settings)['spec']['template'] for settings in ([], ['--set-json=presets=["node"]']))
    assert before == after
    (mount,) = [mount for mount in after['spec']['containers'][0]['volumeMounts'] if mount['name'] == 'config']
    assert 'subPath' not in mount


@pytest.mark.parametrize('variant', VARIANTS)
def test_what_runs_runs_as_nobody_with_nothing(rendered, variant):
    """No privilege, no token, no writable root, no host, limits: in every container of every pod."""
    for name, pod in pods(rendered['helm4', variant]):
        assert pod['automountServiceAccountToken'] is False, name
        assert pod['securityContext']['runAsNonRoot'] and pod['securityContext']['runAsUser'] == 65532
        assert pod['securityContext']['seccompProfile'] == {'type': 'RuntimeDefault'}
        assert not {'hostNetwork', 'hostPID', 'hostIPC'} & set(pod)
        assert not [volume for volume in pod.get('volumes', []) if 'hostPath' in volume]
        for container in [*pod.get('initContainers', []), *pod['containers']]:
            security = container['securityContext']
            assert security['allowPrivilegeEscalation'] is security['privileged'] is False
            assert security['readOnlyRootFilesystem'] is True and security['capabilities'] == {'drop': ['ALL']}
            assert {'cpu', 'memory'} == set(container['resources']['limits']) == set(container['resources']['requests'])
    for account in objects(rendered['helm4', variant], 'ServiceAccount'):
        assert account['automountServiceAccountToken'] is False
    assert not {found['kind'] for found in objects(rendered['helm4', variant])} & {
        'Role',
        'ClusterRole',
        'RoleBinding',
        'ClusterRoleBinding',
    }


def test_monitors_leave_entities_their_own_labels(rendered):
    """honorLabels, and no label of the target is inherited but job, instance and the replica."""
    (service,), (pod,) = objects(rendered['helm4', 'operator'], 'ServiceMonitor'), objects(rendered['helm4', 'podmonitor'], 'PodMonitor')
    for endpoint in (service['spec']['endpoints'][0], pod['spec']['podMetricsEndpoints'][0]):
        assert endpoint['honorLabels'] is True
        dropped, replica, *own = endpoint['relabelings']
        assert own == ([{'action': 'replace', 'targetLabel': 'cluster', 'replacement': 'eu-1'}] if endpoint['interval'] == '15s' else [])
        assert dropped['action'] == 'labeldrop'
        assert all(re.fullmatch(dropped['regex'], name) for name in ('namespace', 'pod', 'container', 'service', 'endpoint', 'node'))
        assert not any(re.fullmatch(dropped['regex'], name) for name in ('job', 'instance'))
        assert replica['targetLabel'] == 'promlstm_replica'
    assert not [found for found in objects(rendered['helm4', 'default']) if found['apiVersion'].startswith('monitoring')]


def test_labels_reach_every_object_and_no_selector(rendered):
    """`commonLabels` on all, pods too; a new version of the chart alone leaves the pods alone."""
    for found in objects(rendered['helm4', 'extra']):
        if found['metadata']['name'] == 'promlstm-more':
            continue  # an object of the user's own
        for labels in (
            found['metadata'].get('labels', {}),
            *([template['metadata']['labels']] if (template := template_of(found)) else []),
        ):
            assert labels['cost-center'] == '7', found['kind']
        assert 'cost-center' not in str(found.get('spec', {}).get('selector', ''))
    for variant in ('extra', 'retraining'):
        for found in objects(rendered['helm4', variant]):
            if found['kind'] in (*WORKLOADS, 'CronJob'):
                assert 'helm.sh/chart' in found['metadata']['labels'] and 'helm.sh/chart' not in template_of(found)['metadata']['labels']


def test_secrets_of_a_parent_chart_pull_images_too(rendered):
    """In every pod, beside our own and each once, whether the parent writes them as Kubernetes does or as plain names."""
    wanted = [{'name': name} for name in ('registry', 'parent', 'grandparent')]
    assert [pod['imagePullSecrets'] for _, pod in pods(rendered['helm4', 'extra'])] == [wanted] * 2


def test_what_is_mounted_beside_reaches_all_that_talk_to_others(rendered):
    """The exporter, what fetches models and the retraining job have the same variables, which may name a file that is mounted."""
    fetching = template('helm4', f'--values={CHART}/ci/fetch-values.yaml', f'--values={CHART}/ci/extra-values.yaml').stdout
    for text, name, variable, names in (
        (rendered['helm4', 'retraining'], 'authority', 'SSL_CERT_FILE', {'promlstm', 'retraining'}),
        (fetching, 'more', 'TZ', {'promlstm', 'fetch-models'}),
    ):
        found = set()
        for _, pod in pods(text):
            for container in [*pod.get('initContainers', []), *pod['containers']]:
                if name in [mount['name'] for mount in container.get('volumeMounts', [])]:
                    assert name in [volume['name'] for volume in pod['volumes']]
                    assert variable in [item['name'] for item in container['env']]
                    found.add(container['name'])
        assert found == names


def test_selectors_find_the_pods_and_only_them(rendered):
    """Of Service, monitors, policy, budget and spread: the exporter's labels match, those of the test pod do not."""
    for variant in VARIANTS:
        found = objects(rendered['helm4', variant])
        labels = {item['kind']: template['metadata']['labels'].items() for item in found if (template := template_of(item))}
        for item in found:
            selector = item.get('spec', {}).get('podSelector' if item['kind'] == 'NetworkPolicy' else 'selector')
            if selector:
                wanted = selector.get('matchLabels', selector).items()
                mine = ('CronJob',) if item['metadata']['name'].endswith('-retraining') else WORKLOADS
                (kind,) = [kind for kind in labels if wanted <= labels[kind]]
                assert kind in mine


@pytest.mark.real
def test_promtool_accepts_the_rendered_rules(rendered, tmp_path):
    """As a ConfigMap they are the files of rules/ byte for byte, as PrometheusRule the same groups."""
    (configmap,) = [found for found in objects(rendered['helm4', 'annotations'], 'ConfigMap') if 'self.yml' in found['data']]
    assert set(configmap['data']) == {*NEEDED, 'compat-grafana.yml'}
    for name, text in configmap['data'].items():
        assert text.encode() == (servers.ROOT / 'rules' / name.replace('compat-', 'compat/')).read_bytes()
        (tmp_path / name).write_text(text)
    custom = objects(rendered['helm4', 'operator'], 'PrometheusRule')
    sources = [*NEEDED, 'compat/grafana.yml', 'compat/vmanomaly.yml']
    assert [found['spec'] for found in custom] == [yaml.safe_load((servers.ROOT / 'rules' / name).read_text()) for name in sources]
    for number, found in enumerate(custom):
        (tmp_path / f'{number}.yml').write_text(yaml.safe_dump(found['spec']))
    servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', *sorted(tmp_path.glob('[a-z]*.yml')))
    servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', *sorted(tmp_path.glob('[0-9]*.yml')))


@pytest.mark.real
def test_rules_on_hardware_come_with_their_preset():
    """As they are, and stay away without it; what two presets have is in the configuration once."""
    shown = {
        chosen: template('helm4', f'--set={URL}', '--set=rules.configMap=true', f'--set-json=presets={chosen}').stdout
        for chosen in ('["node"]', '["node","node-health"]')
    }
    has = {chosen: next(found['data'] for found in objects(text, 'ConfigMap') if 'self.yml' in found['data']) for chosen, text in shown.items()}
    assert 'node-health.yml' not in has['["node"]']
    assert has['["node","node-health"]']['node-health.yml'] == (servers.ROOT / 'rules/node-health.yml').read_text()
    names = [one['name'] for one in yaml.safe_load(config_of(shown['["node","node-health"]']))['detectors']]
    assert names == [one.name for one in presets.config(['node', 'node-health']).detectors]


def test_dashboards_are_the_files(rendered):
    """Byte for byte, with the label that the sidecar looks for."""
    (found,) = [found for found in objects(rendered['helm4', 'operator'], 'ConfigMap') if 'overview.json' in found['data']]
    assert {name: text.encode() for name, text in found['data'].items()} == {
        path.name: path.read_bytes() for path in (servers.ROOT / 'rules/dashboards').glob('*.json')
    }
    assert found['metadata']['labels']['grafana_dashboard'] == '1'


@contextlib.contextmanager
def serving(pages):
    """The URL of a server that answers with {path: bytes}."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(pages.get(self.path, b''))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_init_container_fetches_what_is_pinned_and_refuses_the_rest(rendered, tmp_path):
    """The rendered program, run: the file is there with the right hash; with another nothing is left, and the pod does not start."""
    container = objects(rendered['helm4', 'fetch'], 'Deployment')[0]['spec']['template']['spec']['initContainers'][0]
    with serving({'/team.onnx': b'model'}) as url:
        for sha256, status in ((hashlib.sha256(b'model').hexdigest(), 0), ('0' * 64, 1)):
            folder = tmp_path / str(status)
            folder.mkdir()
            models = json.dumps([{'name': 'team.onnx', 'url': f'{url}/team.onnx', 'sha256': sha256}])
            done = run_container(container, FOLDER=str(folder), MODELS=models)
            assert done.returncode == status, done.stderr
            assert [path.read_bytes() for path in folder.iterdir()] == [b'model'] * (status == 0)
    assert 'this is another file' in done.stderr


def test_helm_test_passes_with_a_score_and_fails_without(rendered):
    """The rendered program, run against pages as the exporter gives them."""
    (pod,) = objects(rendered['helm4', 'default'], 'Pod')
    (container,) = pod['spec']['containers']
    ready = b'promlstm is ready.\nup in order'
    for scores, status in ((b'promlstm_anomaly_score{detector="up"} 0.5\n', 0), (b'# HELP promlstm_anomaly_score A score.\n', 1)):
        with serving({'/-/ready': ready, '/metrics': scores}) as url:
            done = run_container(container, URL=url, SECONDS='0')
        assert done.returncode == status, done.stderr
    assert 'no score' in done.stderr


def test_the_flags_are_those_of_the_command_line(rendered):
    """Every argument of the rendered container is one that `promlstm run` takes."""
    for variant in VARIANTS:
        container = objects(rendered['helm4', variant], WORKLOADS)[0]['spec']['template']['spec']['containers'][0]
        args = command_line().parse_args(container['args'])
        assert args.config_file == '/etc/promlstm/promlstm.yml' and args.listen == ':19855'
        assert container['ports'][0]['containerPort'] == 19855


def test_a_claim_of_one_node_is_not_wanted_by_two_pods(rendered):
    """Recreate with such a claim; else the old pod scores until the new one does."""
    strategies = {
        variant: objects(rendered['helm4', variant], 'Deployment')[0]['spec']['strategy']['type']
        for variant in ('claim', 'replicas', 'fetch', 'storage')
    }
    assert strategies == {'claim': 'Recreate', 'replicas': 'RollingUpdate', 'fetch': 'RollingUpdate', 'storage': 'Recreate'}


STORED = {
    'default': ('Deployment', {'emptyDir': {}}),
    'storage': ('Deployment', {'persistentVolumeClaim': {'claimName': 'memory'}}),
    'statefulset': ('StatefulSet', None),
}


@pytest.mark.parametrize('variant', STORED)
def test_memory_lies_where_the_program_is_told(rendered, variant):
    """A volume at --storage.path that can be written to, and its claim is wanted by one pod alone: that of the name, or one for each of a StatefulSet."""
    kind, wanted = STORED[variant]
    (found,) = objects(rendered['helm4', variant], WORKLOADS)
    spec = found['spec']['template']['spec']
    args = command_line().parse_args(spec['containers'][0]['args'])
    assert {'name': 'storage', 'mountPath': args.storage_path} in spec['containers'][0]['volumeMounts'] and found['kind'] == kind
    volumes = [{key: value for key, value in volume.items() if key != 'name'} for volume in spec['volumes'] if volume['name'] == 'storage']
    assert volumes == ([wanted] if wanted else [])
    claims = found['spec'].get('volumeClaimTemplates', [])
    assert [claim['metadata']['name'] for claim in claims] == ([] if wanted else ['storage'])
    if claims:
        assert found['spec']['serviceName'] in [each['metadata']['name'] for each in objects(rendered['helm4', variant], 'Service')]
        assert (claims[0]['spec']['resources'], claims[0]['spec']['storageClassName']) == ({'requests': {'storage': '2Gi'}}, 'fast')
        assert args.checkpoint_interval == 120
    elif variant == 'storage':
        assert found['spec']['replicas'] == 1 and found['spec']['strategy'] == {'type': 'Recreate'}


def test_memory_is_kept_nowhere_if_nobody_wants_it():
    """`none`: no flag, no volume."""
    spec = deployment('--set=storage.kind=none')['spec']['template']['spec']
    assert not [arg for arg in spec['containers'][0]['args'] if 'storage' in arg]
    assert 'storage' not in [volume['name'] for volume in spec['volumes']]


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        ([], ['which is in no public registry', 'Nothing scrapes it yet', 'No alert will fire']),
        ([PUSHED, '--set=scrapeAnnotations=true', '--set=rules.configMap=true'], ['has to set honor_labels: true']),
        ([PUSHED, '--set=serviceMonitor.enabled=true', '--set=rules.prometheusRule=true'], ['does not know monitoring.coreos.com/v1']),
        (
            [PUSHED, f'--values={CHART}/ci/scaled-values.yaml', '--set=scrapeAnnotations=true', '--set=rules.configMap=true'],
            ['does not know keda.sh/v1alpha1', 'has to set honor_labels: true'],
        ),
        (
            [PUSHED, RETRAINED, '--set=scrapeAnnotations=true'],
            ['has to set honor_labels: true', 'create job --from=cronjob/promlstm-retraining'],
        ),
    ],
)
def test_the_notes_tell_what_is_missing(settings, told):
    """And no more; the first score is a command away. Helm 3 asks a cluster for this, so it is helm 4 that shows it."""
    done = servers.run_tool('helm4', 'install', 'promlstm', CHART, '--dry-run=client', f'--set={URL}', *settings)
    notes = done.stdout.split('\nNOTES:\n')[1]
    sentences = (
        'which is in no public registry', 'Nothing scrapes it yet', 'No alert will fire', 'does not know monitoring.coreos.com/v1',
        'does not know keda.sh/v1alpha1', 'has to set honor_labels: true', 'create job --from=cronjob/promlstm-retraining',
    )  # fmt: skip
    assert [sentence for sentence in sentences if sentence in notes] == told
    assert 'grep ^promlstm_anomaly_score' in notes


@pytest.mark.real
@pytest.mark.parametrize('certificates', [True, False])
def test_the_notes_offer_a_test_where_there_is_one(certificates):
    """There is none where the server wants a certificate, which curl is then told to show."""
    settings = [f'--set={URL}', '--set=web.scheme=https', '--set=web.secret=web', f'--set=web.clientCertificates={str(certificates).lower()}']
    done = servers.run_tool('helm4', 'install', 'promlstm', CHART, '--dry-run=client', *settings)
    hooks, notes = done.stdout.split('\nNOTES:\n')
    assert ('helm.sh/hook: test' in hooks) == ('test promlstm    #' in notes) == (not certificates)
    assert ('--cert CLIENT.crt --key CLIENT.key' in notes) == certificates


@pytest.mark.real
def test_the_inhibitions_of_the_notes_are_those_of_the_repository(tmp_path):
    """NOTES.txt shows what rules/alertmanager/alertmanager.yml has, and amtool takes it."""
    notes = (CHART / 'templates/NOTES.txt').read_text()
    shown = yaml.safe_load(re.search(r'  inhibit_rules:\n(    .*\n)+', notes)[0])
    there = yaml.safe_load((servers.ROOT / 'rules/alertmanager/alertmanager.yml').read_text())['inhibit_rules']
    assert shown['inhibit_rules'] == there[:2]
    (tmp_path / 'alertmanager.yml').write_text(yaml.safe_dump({'route': {'receiver': 'a'}, 'receivers': [{'name': 'a'}], **shown}))
    servers.amtool('check-config', tmp_path / 'alertmanager.yml')


@pytest.mark.real
def test_the_rendered_command_scores_what_a_real_prometheus_has(tmp_path):
    """Outside of a cluster, but with the arguments, the configuration and the test program of the render: a first score comes."""
    times, values, _ = fleet_history.telemetry(2, 1, time.time(), faulty_each=0)
    server = fleet_history.prometheus(tmp_path, times, values)
    settings = {'presets': [], 'detectors': [{'name': 'past', 'expr': 'past_load', 'step': '5s', 'delay': '1s', 'history': '0s'}]}
    (tmp_path / 'values.yaml').write_text(yaml.safe_dump(settings))
    with server:
        text = template('helm4', f'--set=prometheus.url={server.url}', f'--values={tmp_path}/values.yaml').stdout
        (tmp_path / 'promlstm.yml').write_text(config_of(text))
        container = objects(text, 'Deployment')[0]['spec']['template']['spec']['containers'][0]
        address = f'127.0.0.1:{servers.free_port()}'
        places = {'/etc/promlstm/promlstm.yml': str(tmp_path / 'promlstm.yml'), ':19855': address, '/storage': str(tmp_path / 'storage')}
        args = ['='.join(places.get(part, part) for part in arg.split('=')) for arg in container['args']]
        url = f'http://{address}'
        with servers.Process(servers.promlstm(*args), servers.answers(url + '/-/healthy'), log=tmp_path / 'promlstm.log'):
            done = run_container(objects(text, 'Pod')[0]['spec']['containers'][0], URL=url, SECONDS='120')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('promlstm_anomaly_score{detector="past",')


def shown(key):
    """The YAML examples of docs/how-to/helm.md that have a key at their top, or those that have not."""
    found = re.findall(r'```yaml\n(.*?)```', (servers.ROOT / 'docs/how-to/helm.md').read_text(), re.DOTALL)
    return {has: [text for text in found if (key in yaml.safe_load(text)) == has] for has in (True, False)}


@pytest.mark.real
def test_the_scrape_job_of_the_document_gives_entities_no_label_but_the_replica(rendered, tmp_path):
    """On a real Prometheus it takes the rendered pod and no other, and a score without labels gets job, instance and replica only.

    Debian's Prometheus is built without the discovery of Kubernetes: its answer is put in its place.
    """
    (text,) = shown('scrape_configs')[True]
    (scrape,) = yaml.safe_load(text)['scrape_configs']
    assert scrape.pop('kubernetes_sd_configs') == [{'role': 'pod', 'namespaces': {'names': ['monitoring']}}]
    (found,) = objects(rendered['helm4', 'default'], 'Deployment')
    labels = {
        f'pod_label_{re.sub("[^a-zA-Z0-9]", "_", name)}': value for name, value in found['spec']['template']['metadata']['labels'].items()
    }
    told = {'pod_name': 'promlstm-0', 'pod_container_name': found['spec']['template']['spec']['containers'][0]['name'], **labels}
    page = b'promlstm_anomaly_score{detector="a"} 1\npromlstm_anomaly_score{detector="b",job="own",instance="own",pod="own"} 1\n'
    with serving({'/metrics': page}) as url:
        address = url.removeprefix('http://')
        target = {f'__meta_kubernetes_{name}': value for name, value in told.items()}
        # What other jobs put on a target; and the pod of the retraining job, which nobody is to scrape.
        target |= {'namespace': 'monitoring', 'pod': 'promlstm-0', 'node': 'a', 'app_kubernetes_io_name': 'promlstm'}
        other = target | {'__meta_kubernetes_pod_label_app_kubernetes_io_component': 'retraining', '__meta_kubernetes_pod_name': 'other'}
        scrape['static_configs'] = [{'targets': [address], 'labels': labels} for labels in (target, other)]
        with servers.Prometheus(tmp_path / 'prometheus', [scrape]) as server:
            series = server.wait_for('promlstm_anomaly_score', lambda result: len(result) == 2)
            (up,) = server.query('up')
    labels = {one['metric'].pop('detector'): one['metric'] for one in series}
    ours = {'job': 'promlstm', 'instance': address, 'promlstm_replica': 'promlstm-0'}
    assert up['metric'] == {'__name__': 'up', **ours}
    assert labels['a'] == {'__name__': 'promlstm_anomaly_score', **ours}
    own = {'job': 'own', 'instance': 'own', 'pod': 'own', 'promlstm_replica': 'promlstm-0'}
    assert labels['b'] == {'__name__': 'promlstm_anomaly_score', **own}


def test_the_values_that_the_document_shows_are_taken(tmp_path):
    """Each YAML of docs/how-to/helm.md but the scrape job is one that the chart renders, valid for Kubernetes, and that check-config accepts."""
    validate = pytest.importorskip('kubernetes_validate').validate
    texts = shown('scrape_configs')[False]
    assert len(texts) >= 3
    for text in texts:
        (tmp_path / 'values.yaml').write_text(text)
        rendering = template('helm4', f'--set={URL}', f'--values={tmp_path}/values.yaml').stdout
        for found in objects(rendering):
            if not found['apiVersion'].startswith(FOREIGN):
                validate(found, KUBERNETES[-1], strict=True)
        config = config_of(rendering)
        (tmp_path / 'promlstm.yml').write_text(as_in_the_pod(config, tmp_path))
        assert main(['check-config', '--offline', str(tmp_path / 'promlstm.yml')]) == 0


@pytest.mark.parametrize(('value', 'given'), [('true', False), ('false', True), ('null', False)])
def test_pages_can_be_turned_off(value, given):
    """web.ui is the flag; values of an older chart, which lack it, keep the pages."""
    text = template('helm4', f'--set={URL},web.ui={value}').stdout
    (container,) = [each['spec']['template']['spec']['containers'][0] for each in yaml.safe_load_all(text) if each and each['kind'] == 'Deployment']
    assert ('--web.ui=false' in container['args']) == given and container['args'].count('--web.ui=true') == 0


def test_actions_and_the_address_of_people():
    """Both are off unless they are set; with an address the probes ask for the same paths as without."""
    plain, given = (
        template('helm4', f'--set={URL}', *more).stdout for more in ([], ['--set=web.enableActions=true,web.externalUrl=https://a.example/b'])
    )
    first, second = (next(each for each in yaml.safe_load_all(text) if each and each['kind'] == 'Deployment') for text in (plain, given))
    (before,), (after,) = (each['spec']['template']['spec']['containers'] for each in (first, second))
    assert set(after['args']) - set(before['args']) == {'--web.enable-actions', '--web.external-url=https://a.example/b', '--web.route-prefix=/'}
    assert before['readinessProbe'] == after['readinessProbe']


@pytest.mark.parametrize(
    ('values', 'probe'),
    [
        ('', {'httpGet': {'path': '/-/healthy', 'port': 'http'}}),
        ('web.secret=a', {'httpGet': {'path': '/-/healthy', 'port': 'http'}}),
        ('web.secret=a,web.scheme=https', {'httpGet': {'path': '/-/healthy', 'port': 'http', 'scheme': 'HTTPS'}}),
        ('web.secret=a,web.scheme=https,web.clientCertificates=true', {'tcpSocket': {'port': 'http'}}),
    ],
)
def test_probes_can_pass_whatever_the_web_configuration_asks_for(values, probe):
    """A kubelet has neither a password, which probes need not have, nor a certificate; the Secret is where the flag looks for its file."""
    text = template('helm4', f'--set={URL},scrapeAnnotations=true,podMonitor.enabled=true' + (f',{values}' if values else '')).stdout
    found = [each for each in yaml.safe_load_all(text) if each]
    (pod,) = [each['spec']['template'] for each in found if each['kind'] == 'Deployment']
    (container,) = pod['spec']['containers']
    for name in ('startupProbe', 'livenessProbe', 'readinessProbe'):
        wanted = {key: value | ({'path': '/-/ready'} if name == 'readinessProbe' and 'path' in value else {}) for key, value in probe.items()}
        assert {key: container[name][key] for key in wanted} == wanted
    (monitor,) = [each['spec'] for each in found if each['kind'] == 'PodMonitor']
    https = 'https' in values
    assert monitor['podMetricsEndpoints'][0].get('scheme') == pod['metadata']['annotations'].get('prometheus.io/scheme') == ('https' if https else None)
    mounts = {mount['mountPath']: mount['name'] for mount in container['volumeMounts']}
    assert ('--web.config.file=/etc/promlstm-web/web.yml' in container['args']) == ('/etc/promlstm-web' in mounts) == bool(values)
    assert (len([each for each in found if each['kind'] == 'Pod']) == 1) == ('clientCertificates' not in values)
