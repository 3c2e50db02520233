"""Nothing the documents say is untested, and nothing that exists is left out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import servers
import yaml

from convert import recipe
from promlstm import config as configuration
from promlstm import errors
from promlstm.__main__ import main
from promlstm.serve import exposition

ROOT = Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text()
CONFIGURATION = (ROOT / 'docs/reference/configuration.md').read_text()


def blocks(text, language, containing):
    """The fenced blocks of a language that hold some text."""
    return [block for block in re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL) if containing in block]


@pytest.mark.parametrize('text', [README, CONFIGURATION], ids=['README', 'configuration'])
def test_configurations_that_are_shown_are_in_order(text, tmp_path, capsys):
    """`check-config` accepts every configuration that a document shows."""
    shown = blocks(text, 'yaml', 'detectors:')
    assert len(shown) == 1
    (tmp_path / 'promlstm.yml').write_text(shown[0])
    assert main(['check-config', '--offline', str(tmp_path / 'promlstm.yml')]) == 0, capsys.readouterr().out


def test_the_first_configuration_has_six_lines():
    """It is small enough to be typed."""
    (shown,) = blocks(README, 'yaml', 'detectors:')
    assert len(shown.splitlines()) == 6


@pytest.mark.real
def test_promtool_accepts_the_scrape_configuration_and_the_alerts(tmp_path):
    """What README tells people to paste into Prometheus is what Prometheus takes."""
    (scrape,), (alerts,) = blocks(README, 'yaml', 'scrape_configs:'), blocks(README, 'yaml', 'groups:')
    assert yaml.safe_load(scrape)['scrape_configs'][0]['honor_labels'] is True
    (tmp_path / 'alerts.yml').write_text(alerts)
    (tmp_path / 'prometheus.yml').write_text(scrape + 'rule_files: [alerts.yml]\n')
    servers.promtool('check', 'config', tmp_path / 'prometheus.yml')
    checked = servers.promtool('check', 'rules', tmp_path / 'alerts.yml')
    assert '4 rules found' in checked.stdout


def test_alerts_read_metrics_that_exist():
    """Every metric of README's alerts is one that the code exports."""
    known = set(exposition.FAMILIES) | set(re.findall(r'`(promlstm_\w+)`', (ROOT / 'docs/reference/metrics.md').read_text()))
    (alerts,) = blocks(README, 'yaml', 'groups:')
    assert set(re.findall(r'promlstm_\w+', alerts)) <= known


def test_readme_names_every_gauge_of_an_entity():
    """The table of gauges is complete, and has none that is not exported."""
    table = README[README.index('## The gauges') : README.index('## Four alerts')]
    assert set(re.findall(r'^\| (.*?) \|', table, re.MULTILINE)[2:]) and set(re.findall(r'`(promlstm_\w+)`', table)) == set(
        exposition.FAMILIES
    )


def test_docs_metrics_is_what_the_tables_say():
    """docs/reference/metrics.md is made, not kept: `python docs/generate.py`."""
    sys.path.insert(0, str(ROOT / 'docs'))
    import generate

    assert generate.PAGE.read_text() == generate.metrics()


@pytest.mark.parametrize(('heading', 'kind'), [('## `prometheus`', configuration.Source), ('## `detectors`', configuration.Detector)])
def test_every_key_of_the_configuration_is_documented(heading, kind):
    """And no other."""
    section = CONFIGURATION.split(heading)[1].split('\n## ')[0]
    assert set(re.findall(r'^\| `(\w+)` \|', section, re.MULTILINE)) == set(kind.__struct_encode_fields__)


@pytest.mark.parametrize(('heading', 'kind'), [('## `prometheus`', configuration.Source), ('## `detectors`', configuration.Detector)])
def test_documented_defaults_are_the_defaults(heading, kind):
    """The default beside a key is what the code has."""
    section = CONFIGURATION.split(heading)[1].split('\n## ')[0]
    minimal = {'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'x', 'expr': 'x'}]}
    parsed = configuration.parse(str(minimal))
    subject = parsed.prometheus if kind is configuration.Source else parsed.detectors[0]
    for key, default in re.findall(r'^\| `(\w+)` \| `([^`]+)` \|', section, re.MULTILINE):
        value = getattr(subject, key)
        if isinstance(value, configuration.Duration):
            assert configuration.seconds(default) == value, key
        elif isinstance(value, configuration.Size):
            assert default == f'{value // 1_000_000}MB', key
        else:
            assert yaml.safe_load(default) == (value if isinstance(value, (int, float, dict)) else str(value)), key


def test_every_error_is_in_the_tree_that_explains_it():
    """The exception tree in errors.py names each class, and only those that are there."""
    tree = set(re.findall(r'^\s*[│├└─ ]*(\w+(?:Error|Rejected|Unavailable))\b', errors.__doc__, re.MULTILINE))
    assert tree == {name for name, item in vars(errors).items() if isinstance(item, type)}


def test_readme_commands_exist():
    """Each `promlstm …` and `make …` that README shows is one that there is."""
    told = subprocess.run([sys.executable, '-m', 'promlstm', '--help'], capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / 'Makefile').read_text()
    for command in re.findall(r'^promlstm ([\w-]+)', '\n'.join(blocks(README, 'sh', '')), re.MULTILINE):
        assert re.search(rf'^\s+{command}\b', told, re.MULTILINE), command
    for target in re.findall(r'^make ([\w-]+)', '\n'.join(blocks(README, 'sh', '')), re.MULTILINE):
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), target


@pytest.mark.parametrize('page', ['retraining', 'training-data'])
def test_the_recipe_of_a_document_is_a_whole_one(page, tmp_path):
    """What is shown can be copied as it stands."""
    (shown,) = blocks((ROOT / f'docs/how-to/{page}.md').read_text(), 'yaml', '  spans:')
    (tmp_path / 'own.yml').write_text(shown)
    assert recipe.load(tmp_path / 'own.yml').name == 'own'


def test_every_key_of_a_recipe_is_documented():
    """Those of the whole, and of its sections, and no other."""
    text = (ROOT / 'docs/how-to/retraining.md').read_text()
    table = text[text.index('## A recipe') : text.index('## What `evaluate` measures')]
    told = set(re.findall(r'`([a-z0-9_.]+)`', ' '.join(line.split('|')[1] for line in table.splitlines() if line.startswith('| `'))))
    sections = {'training': recipe.Training, 'calibration': recipe.Calibration, 'evaluation': recipe.Evaluation}
    wanted = set(recipe.Recipe.__struct_fields__) | {f'{name}.{key}' for name, kind in sections.items() for key in kind.__struct_fields__}
    assert {key if not key.startswith('.') else f'training{key}' for key in told} == wanted
