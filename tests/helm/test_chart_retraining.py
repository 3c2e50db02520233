"""The chart's job that makes models: what it renders is what convert takes, and what it makes is what the pods run."""

import json
import time

import fleet_history
import pytest
import yaml
from chart import RETRAINED, SCHEMA, URL, VALUES, config_of, deployment, objects, recipe_of, run_container, template

import promlstm
from convert import arguments, recipe
from convert.__main__ import main
from convert.data import incidents
from convert.evaluation import gates
from promlstm import config as configuration
from promlstm.engine import digest, session

pytestmark = pytest.mark.usefixtures('helms')

MADE = '/models/retrained.onnx'


@pytest.fixture(scope='module')
def rendered():
    """The variant `retraining`, as helm 4 gives it."""
    return template('helm4', RETRAINED).stdout


def job(text):
    """The pod of the CronJob."""
    (found,) = objects(text, 'CronJob')
    return found['spec']['jobTemplate']['spec']['template']['spec']


def test_the_recipe_is_one(rendered, tmp_path):
    """With the days that the values say; silences and alerts do not teach."""
    (tmp_path / 'recipe.yml').write_text(recipe_of(rendered))
    told = recipe.moved(recipe.load(tmp_path / 'recipe.yml'), 'today', 1e9)
    assert told.family == 'ensemble' and told.gates.recall_margin == 0.05
    ((begin, turn),), ((again, end),) = told.data.spans.train, told.data.spans.test
    assert (turn - begin, end - again, again - turn) == (25 * 86400, 3 * 86400, 0)
    assert told.data.exclude.silences.alertmanager == 'https://alertmanager.monitoring:9093' and told.data.exclude.alerts.margin == 900


def test_who_teaches_runs_what_is_made(rendered, tmp_path):
    """The detectors that are named, and no other; the file that the job writes, on the volume that both mount."""
    (tmp_path / 'recipe.yml').write_text(recipe_of(rendered))
    config = configuration.parse(config_of(rendered), source='rendered')
    assert [detector.name for detector in config.detectors if detector.model == MADE] == ['node_cpu', 'node_memory']
    assert recipe.load(tmp_path / 'recipe.yml').data.detectors == ('node_cpu', 'node_memory')
    args = arguments.parse(job(rendered)['containers'][0]['args'])
    assert (args.command, str(args.recipe), str(args.out), args.until) == ('all', '/etc/promlstm/recipe.yml', MADE, 'today') and args.keep_on_refusal
    (exporter,) = objects(rendered, 'Deployment')
    for pod in (job(rendered), exporter['spec']['template']['spec']):
        (volume,) = [volume for volume in pod['volumes'] if volume['name'] == 'models']
        assert volume['persistentVolumeClaim']['claimName'] == 'models'
        (mount,) = [mount for mount in pod['containers'][0]['volumeMounts'] if mount['name'] == 'models']
        assert mount['mountPath'] == '/models' and mount.get('readOnly', False) == ('initContainers' in pod)


def test_without_names_all_teach_but_those_that_run_a_model_of_their_own():
    """A detector that names its model keeps it."""
    own = '--set-json=detectors=[{"name":"a","expr":"up","model":"/models/a.onnx"},{"name":"b","expr":"up"}]'
    text = template('helm4', RETRAINED, '--set-json=presets=["network"]', '--set-json=retraining.detectors=[]', own).stdout
    detectors = configuration.parse(config_of(text), source='rendered').detectors
    assert {detector.name: detector.model for detector in detectors if detector.name in 'ab'} == {'a': '/models/a.onnx', 'b': MADE}
    assert yaml.safe_load(recipe_of(text))['data']['detectors'] == [detector.name for detector in detectors if detector.name != 'a']


def test_its_values_have_the_keys_of_a_recipe():
    """Of the exclusions (a file of silences is not to be had in a pod) and the gates; families are those of convert."""
    known = SCHEMA['properties']['retraining']['properties']
    fields = lambda struct: set(struct.__struct_encode_fields__)  # noqa: E731
    exclude = known['exclude']['properties']
    assert set(exclude) == fields(incidents.Exclude) and set(known['gates']['properties']) == fields(gates.Gates)
    assert set(exclude['by_hand']['items']['properties']) == fields(incidents.ByHand)
    assert set(exclude['silences']['properties']) == fields(incidents.Silences) - {'file'}
    ways = SCHEMA['properties']['prometheus']['properties']
    assert {key: exclude['silences']['properties'][key] for key in set(ways) & set(exclude['silences']['properties'])} == {
        key: ways[key] for key in ('basic_auth', 'authorization', 'oauth2', 'tls_config', 'headers', 'proxy_url')
    }
    assert set(exclude['alerts']['properties']) == fields(incidents.Alerts)
    assert set(known['family']['enum']) == set(recipe.SHIPPED)
    assert VALUES['retraining']['exclude']['alerts']['match'] == incidents.Alerts().match


def test_alerts_come_with_it(rendered):
    """The rules of the job, under a name by which they find it; without the job they stay away."""
    has = lambda text: any('retraining.yml' in found['data'] for found in objects(text, 'ConfigMap'))  # noqa: E731
    assert has(rendered) and not has(template('helm4', f'--set={URL}', '--set=rules.configMap=true').stdout)
    long = 'promlstm-' + 'b' * 60
    for override, name in (('', 'promlstm-retraining'), ('a' * 60, 'a' * 32 + '-promlstm-retraining'), (long, long[:41] + '-retraining')):
        (found,) = objects(template('helm4', RETRAINED, f'--set=fullnameOverride={override}').stdout, 'CronJob')
        assert found['metadata']['name'] == name and len(name) <= 52


def test_until_the_first_one_the_default_model_runs(rendered, tmp_path):
    """The rendered program, run: it puts the file there where there is none, and leaves what it cannot read alone, and says so."""
    (container,) = objects(rendered, 'Deployment')[0]['spec']['template']['spec']['initContainers']
    for _ in range(2):
        done = run_container(container, FOLDER=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ['retrained.onnx']
        assert session.load(tmp_path / 'retrained.onnx').bundle.manifest.name == 'default'
    (tmp_path / 'retrained.onnx').write_bytes(b'better')
    done = run_container(container, FOLDER=str(tmp_path))
    assert done.returncode == 0 and 'left alone: ' in done.stdout
    assert (tmp_path / 'retrained.onnx').read_bytes() == b'better'


def test_a_better_default_is_taken_and_what_was_made_here_stays(rendered, tmp_path):
    """The default of another image gives way to that of this one; a model of another name does not."""
    (container,) = objects(rendered, 'Deployment')[0]['spec']['template']['spec']['initContainers']
    shipped, model = session.resolve('builtin:default').read_bytes(), tmp_path / 'retrained.onnx'
    # Words of one length, so that the file's own lengths stay right; each with a digest of its own.
    one = shipped[: -digest.LENGTH].replace(b'"description":"statistical', b'"description":"Statistical')
    other, made = (digest.appended(data) for data in (one, one.replace(b'"name":"default"', b'"name":"another"')))
    assert len({shipped, other, made}) == 3
    for there, wanted in ((other, shipped), (made, made)):
        model.write_bytes(there)
        done = run_container(container, FOLDER=str(tmp_path))
        assert (done.returncode, done.stdout) == (0, ''), done.stderr
        assert model.read_bytes() == wanted


def test_a_claim_of_one_node_is_mounted_where_the_exporter_is(rendered):
    """Else anywhere."""
    (term,) = job(rendered)['affinity']['podAffinity']['requiredDuringSchedulingIgnoredDuringExecution']
    assert term['labelSelector']['matchLabels'].items() <= deployment(RETRAINED)['spec']['template']['metadata']['labels'].items()
    shared = (RETRAINED, '--set=models.claimIsShared=true')
    assert 'affinity' not in job(template('helm4', *shared).stdout)


def test_the_users_affinity_holds_where_the_claim_leaves_a_choice():
    """Where the claim is of one node, the exporter has made the choice, by the same affinity."""
    wanted = {'nodeAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': []}}
    text = template('helm4', RETRAINED, '--set=models.claimIsShared=true', f'--set-json=affinity={json.dumps(wanted)}').stdout
    assert job(text)['affinity'] == wanted
    text = template('helm4', RETRAINED, f'--set-json=affinity={json.dumps(wanted)}').stdout
    assert list(job(text)['affinity']) == ['podAffinity']
    assert objects(text, 'Deployment')[0]['spec']['template']['spec']['affinity'] == wanted


@pytest.mark.parametrize(
    ('settings', 'image'),
    [
        ('image.repository=r.example/promlstm', f'r.example/promlstm-train:{promlstm.__version__}'),
        ('image.repository=r.example/promlstm,image.tag=v7', 'r.example/promlstm-train:v7'),
        ('image.repository=r.example/a,image.tag=v7,retraining.image.repository=r.example/b,retraining.image.tag=v8', 'r.example/b:v8'),
        (f'image.digest=sha256:{"a" * 64},image.tag=v7', 'promlstm-train:v7'),
        (f'retraining.image.digest=sha256:{"b" * 64}', f'promlstm-train@sha256:{"b" * 64}'),
    ],
)
def test_its_image_is_beside_that_of_the_exporter(settings, image):
    """In the same registry and of the same tag, unless something else is said; a digest is that of one image only."""
    assert job(template('helm4', RETRAINED, f'--set={settings}').stdout)['containers'][0]['image'] == image


def test_the_way_to_the_silences_has_secrets_of_its_own(rendered, tmp_path):
    """As files in the recipe, mounted from the keys that were named, and in the job only."""
    (tmp_path / 'recipe.yml').write_text(recipe_of(rendered))
    told = recipe.load(tmp_path / 'recipe.yml').data.exclude.silences
    assert (told.authorization.credentials_file, told.tls_config.ca_file) == ('/secrets/alertmanager/token', '/secrets/alertmanager/ca.crt')

    def mounted(pod):
        paths = {mount['name']: mount['mountPath'] for mount in pod['containers'][0]['volumeMounts']}
        volumes = [volume for volume in pod['volumes'] if 'secret' in volume]
        return {f'{paths[volume["name"]]}/{item["path"]}' for volume in volumes for item in volume['secret']['items']}

    exporter = mounted(objects(rendered, 'Deployment')[0]['spec']['template']['spec'])
    assert exporter == {'/secrets/login/password'}
    assert mounted(job(rendered)) == {*exporter, told.authorization.credentials_file, told.tls_config.ca_file}


@pytest.mark.real
def test_the_job_reads_the_history_of_a_real_prometheus(tmp_path):
    """The rendered recipe beside the rendered configuration, moved to today: fetch finds what the detector asks for."""
    times, values, _ = fleet_history.telemetry(3, 6, time.time() // 300 * 300, faulty_each=0)
    server = fleet_history.prometheus(tmp_path, times, values)
    settings = {
        'presets': [], 'detectors': [{'name': 'past', 'expr': 'past_load', 'step': '5m', 'delay': '0s', 'history': '1d'}],
        'models': {'existingClaim': 'models'}, 'retraining': {'enabled': True, 'days': {'train': 3, 'test': 1}},
    }  # fmt: skip
    (tmp_path / 'values.yaml').write_text(yaml.safe_dump(settings))
    with server:
        text = template('helm4', f'--values={tmp_path}/values.yaml', f'--set=prometheus.url={server.url}').stdout
        (tmp_path / 'promlstm.yml').write_text(config_of(text))
        (tmp_path / 'recipe.yml').write_text(recipe_of(text))
        assert main(['fetch', str(tmp_path / 'recipe.yml'), f'--work={tmp_path}/work', '--until=today']) == 0
    assert '3 entities' in (tmp_path / 'work/data/quality.txt').read_text()
