"""Nothing the documents say is untested, and nothing that exists is left out."""

import contextlib
import doctest
import functools
import importlib
import io
import re
import tomllib
import unicodedata

import exporter
import msgspec
import pytest
import requests
import rule_files
import servers
import yaml

from convert import recipe
from promlstm import config as configuration
from promlstm import errors
from promlstm.__main__ import main
from promlstm.engine import session
from promlstm.serve import exposition

ROOT = servers.ROOT
README = (ROOT / 'README.md').read_text()
CONFIGURATION = (ROOT / 'docs/reference/configuration.md').read_text()
ASSEMBLE = servers.module(ROOT / 'docs/assemble.py')
GENERATE = servers.module(ROOT / 'docs/generate.py')  # puts docs/ on the path
FIGURES = importlib.import_module('figures')
PAGES = [
    'README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'rules/runbook.md', 'helm/promlstm/README.md',
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / 'docs').rglob('*.md'))),
]  # fmt: skip
SITE = tomllib.loads((ROOT / 'docs/site.toml').read_text())['project']
NAVIGATION = ASSEMBLE.navigation(SITE['nav'])


def read(page):
    """The text of a page."""
    return (ROOT / page).read_text()


def blocks(text, language, containing=''):
    """The fenced blocks of a language that hold some text."""
    return [block for block in re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL) if containing in block]


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them.

    Both drop punctuation, put hyphens for spaces, and number what comes again.
    """
    found = []
    for heading in re.findall(
        r'^#+ (.*)$', ASSEMBLE.CODE.sub(lambda match: match[0] if match[0].count('`') == 2 else '', read(page)), re.MULTILINE
    ):
        text = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading).replace('`', '').lower()
        words = ''.join(each for each in text if each in ' -_' or unicodedata.category(each)[0] in 'LN')
        found.append(words.replace(' ', '-'))
    return set(found)


@pytest.mark.parametrize('page', PAGES)
def test_every_link_leads_somewhere(page):
    """A relative link names a file that is there and, behind `#`, a heading of it. Folders are no pages of the site."""
    text = ASSEMBLE.CODE.sub('', read(page))
    for target in re.findall(r'\]\(([^()\s]+)\)', text):
        if '://' in target:
            continue
        path, _, anchor = target.partition('#')
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.is_file(), target
        assert not [part for part in found.resolve().relative_to(ROOT).parts if part.startswith('.')], (
            f'{target}: hidden files are not in the site'
        )
        if anchor and found.suffix == '.md':
            assert anchor in anchors(found.resolve().relative_to(ROOT)), target


def test_every_page_is_in_the_navigation():
    """Once, and nothing else is."""
    assert sorted(NAVIGATION) == sorted(PAGES)


def test_every_page_can_be_reached_from_readme_in_two_clicks():
    """README leads to what it costs, how to try it, how to write an alert, what it cannot do, and to all other pages."""
    assert set(PAGES) == {'README.md'} | {
        str((ROOT / link).resolve().relative_to(ROOT)) for link in ASSEMBLE.links(README) if link.endswith('.md')
    }
    asked = README.split('## ')[0]
    for page in ('cost', 'limits', 'alerts', 'get-started'):
        assert re.search(rf'\]\(docs/(\w|-|/)*{page}\.md\)', asked), page


def test_the_site_holds_each_page_and_each_file_that_a_page_links_to(tmp_path, monkeypatch):
    """At the same relative paths, so that no link breaks on the way; without npm, diagrams are shown as their source."""
    monkeypatch.setattr(ASSEMBLE, 'TARGET', tmp_path / 'source')
    monkeypatch.setattr(ASSEMBLE, 'CACHE', tmp_path / 'cache')
    monkeypatch.setenv('PATH', '')
    assert ASSEMBLE.main() == 0
    for page in PAGES:
        text = (tmp_path / 'source' / page).read_text()
        assert text == read(page).replace('```mermaid', '```text')
        assert all(((tmp_path / 'source' / page).parent / link).is_file() for link in ASSEMBLE.links(text))
    assert not (tmp_path / 'source/mermaid.min.js').exists()


def test_zensical_finds_no_configuration_at_the_root():
    """Its cache is `.cache` beside the configuration, and `--clean` removes that folder: at the root, with all tools that make fetched."""
    assert not [name for name in ('zensical.toml', 'mkdocs.yml', 'mkdocs.yaml') if (ROOT / name).exists()]
    assert ROOT / 'build' / SITE['docs_dir'] == ASSEMBLE.TARGET and not SITE['site_dir'].startswith(('.', '/'))


def test_the_site_asks_no_other_server():
    """Fonts come with the reader's system; Mermaid, where a page has a diagram, from the site itself."""
    assert SITE['theme']['font'] is False
    diagrams = [page for page in PAGES if '```mermaid' in read(page)]
    assert diagrams and all('mermaid.min.js"></script>' in ASSEMBLE.with_diagrams(page, read(page)) for page in diagrams)


@pytest.mark.parametrize('module', [ASSEMBLE, GENERATE, FIGURES], ids=['assemble', 'generate', 'figures'])
def test_doctests_of_the_scripts(module):
    """docs/ is no package, so its doctests are run here."""
    assert doctest.testmod(module).failed == 0 < doctest.testmod(module).attempted


@pytest.mark.parametrize('path', GENERATE.PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_pages_take_from_the_code_is_what_it_says(path):
    """`python docs/generate.py` makes tables and the diagram; only meanings are written by hand."""
    assert path.read_text() == GENERATE.page(path)


def test_a_key_without_a_meaning_is_named():
    """A new key is not documented by an empty cell."""
    with pytest.raises(SystemExit, match=r'promlstm\.config\.BasicAuth: write a meaning for password_file'):
        GENERATE.with_tables('<!-- from promlstm.config.BasicAuth -->\n| `username` | | a name |\n<!-- end -->\n')


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(read(page), 'yaml', 'detectors:\n  - name')])
def test_configurations_that_are_shown_are_in_order(page, tmp_path, capsys):
    """`check-config` accepts every whole configuration that a document shows."""
    shown = [
        block
        for block in blocks(read(page), 'yaml', 'detectors:\n  - name')
        if 'url:' in block and 'prometheus:' in block and '_secret' not in block
    ]
    assert shown or page == 'docs/how-to/helm.md'
    (tmp_path / 'secret').write_text('a secret that the documents only name\n')
    for text in shown:
        (tmp_path / 'promlstm.yml').write_text(re.sub(r'/etc/promlstm/\w+', 'secret', text))
        assert main(['check-config', '--offline', str(tmp_path / 'promlstm.yml')]) == 0, capsys.readouterr().out


CLAIMS = [line.split('|')[1:-1] for line in read('SECURITY.md').splitlines() if line.startswith('| ') and '| what happens |' not in line]


@pytest.mark.parametrize('claim', [cells for cells in CLAIMS if 'tests/' in cells[-1]], ids=lambda cells: cells[0].strip()[:60])
def test_the_tests_of_a_claim_of_security_are_there(claim):
    """SECURITY.md names a file, or a test in it."""
    named = re.findall(r'`([^`]+)`', claim[-1])
    assert named
    for each in named:
        file, _, test = each.partition('::')
        assert not test or f'\ndef {test}(' in read(file)
        assert (ROOT / file).is_file()


def test_each_claim_of_security_names_its_test():
    """What a hostile client, Prometheus, target or model tries to do: no row without one, in any of the tables that have that column."""
    tables = re.findall(r'^\| it tries to \| what happens \| test \|\n\|---\|---\|---\|\n((?:\|.*\n)+)', read('SECURITY.md'), re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(tables) == 4
    assert not [row for row in rows if not re.search(r'`tests/[^`]+` \|$', row)]


def test_the_first_configuration_has_six_lines():
    """It is small enough to be typed."""
    (shown,) = blocks(README, 'yaml', 'detectors:')
    assert len(shown.splitlines()) == 6


@pytest.mark.real
@pytest.mark.parametrize(('page', 'rules'), [('README.md', 4), ('docs/get-started.md', 1)])
def test_promtool_accepts_the_scrape_configuration_and_the_alerts(page, rules, tmp_path):
    """What people are told to paste into Prometheus is what Prometheus takes."""
    (scrape,), (alerts,) = blocks(read(page), 'yaml', 'scrape_configs:'), blocks(read(page), 'yaml', 'groups:')
    (job,) = yaml.safe_load(scrape)['scrape_configs']
    assert job['honor_labels'] is True
    assert [each['target_label'] for each in job['relabel_configs']] == ['promlstm_replica']  # two exporters never write the same series
    (tmp_path / 'promlstm-rules.yml').write_text(alerts)
    (tmp_path / 'prometheus.yml').write_text(scrape if 'rule_files:' in scrape else scrape + 'rule_files: [promlstm-rules.yml]\n')
    servers.promtool('check', 'config', tmp_path / 'prometheus.yml')
    checked = servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', tmp_path / 'promlstm-rules.yml')
    assert f'{rules} rules found' in checked.stdout


ALERTED = """
rule_files: [rules.yml]
tests:
  - interval: 30s
    input_series:
      - {series: 'promlstm_anomaly_score{detector="request_rate",service="checkout"}', values: '0.2x3 2x30'}
      - {series: 'promlstm_observed{detector="request_rate",service="checkout"}', values: '1500x40'}
    alert_rule_test:
      - eval_time: 15m
        alertname: CheckoutAnomaly
        exp_alerts:
          - exp_labels: {severity: critical, detector: request_rate, service: checkout}
            exp_annotations: {summary: 'checkout: 1.5k requests/s, which is unusual'}
"""


@pytest.mark.real
def test_the_alert_that_is_shown_fires_with_its_text(tmp_path):
    """The example of how to write an alert, on promtool."""
    (shown,) = blocks(read('docs/how-to/alerts.md'), 'yaml', 'groups:')
    (tmp_path / 'rules.yml').write_text(shown)
    (tmp_path / 'test.yml').write_text(ALERTED)
    servers.promtool('test', 'rules', tmp_path / 'test.yml')


def test_the_range_that_get_started_shows_is_a_key_of_its_detector(tmp_path):
    """Appended to the configuration it is valid, and a running host is outside of it."""
    text = read('docs/get-started.md')
    (config,), (line,) = blocks(text, 'yaml', 'detectors:'), blocks(text, 'yaml', 'range:')
    detector = configuration.parse(config + line).detectors[0]
    assert detector.range == (0, 0.0001) and detector.direction == 'above'


@pytest.mark.real
@pytest.mark.accept
def test_the_first_alert_fires_as_get_started_says(tmp_path):
    """The configuration, the rule and the range of the page: pending after a step or two, firing five minutes later, with its text."""
    text = read('docs/get-started.md')
    config = yaml.safe_load(blocks(text, 'yaml', 'detectors:')[0] + blocks(text, 'yaml', 'range:')[0])
    (tmp_path / 'rules.yml').write_text(blocks(text, 'yaml', 'groups:')[0])
    scraped = dict(yaml.safe_load(blocks(text, 'yaml', 'scrape_configs:')[0])['scrape_configs'][0])
    with (
        servers.NodeExporter() as node,
        servers.Prometheus(tmp_path / 'prometheus', [node.scrape_config('node')], rule_files=[tmp_path / 'rules.yml']) as prometheus,
    ):
        prometheus.wait_for('rate(node_cpu_seconds_total{mode="idle"}[5m])')
        with exporter.Exporter(tmp_path / 'promlstm', prometheus.url, config['detectors']) as running:
            prometheus.scrape_configs.append(scraped | {'static_configs': [{'targets': [running.address]}]})
            prometheus.reload()
            prometheus.wait_for('ALERTS{alertstate="pending"}', limit_seconds=200)
            prometheus.wait_for('ALERTS{alertstate="firing"}', limit_seconds=400)
            (alert,) = requests.get(prometheus.url + '/api/v1/alerts', timeout=30).json()['data']['alerts']
    assert re.fullmatch(rf'node_cpu of {node.address} is anomalous, score \d\.\d', alert['annotations']['summary'])


def test_alerts_read_metrics_that_exist():
    """Every metric of an alert in a page is one that the code exports."""
    known = set(exposition.FAMILIES) | set(re.findall(r'`(promlstm_\w+)`', read('docs/reference/metrics.md')))
    known |= set(re.findall(r'target_label: (promlstm_\w+)', README))  # a label that the scrape configuration adds
    for page in PAGES:
        for alerts in blocks(read(page), 'yaml', 'groups:') if page != 'rules/runbook.md' else ():  # whose rules tests/rules checks
            assert set(re.findall(r'promlstm_\w+', alerts)) <= known, page


def test_readme_names_every_gauge_of_an_entity():
    """The table of gauges is complete, and has none that is not exported."""
    table = README[README.index('## The gauges') : README.index('## Four alerts')]
    assert set(re.findall(r'`(promlstm_\w+)`', table)) == set(exposition.FAMILIES | exposition.FORECASTS)


@pytest.mark.parametrize(('heading', 'kind'), [
    ('## `prometheus`', configuration.Source), ('## `detectors`', configuration.Detector), ('## `detectors.forecast`', configuration.Forecast),
])  # fmt: skip
def test_every_key_of_the_configuration_is_documented(heading, kind):
    """And no other."""
    section = CONFIGURATION.split(heading)[1].split('\n## ')[0]
    assert set(re.findall(r'^\| `(\w+)` \|', section, re.MULTILINE)) == set(kind.__struct_encode_fields__)


@pytest.mark.parametrize(('heading', 'kind'), [('## `prometheus`', configuration.Source), ('## `detectors`', configuration.Detector)])
def test_documented_defaults_are_the_defaults(heading, kind):
    """The default beside a key, read as YAML, is what the code has."""
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
    tree = set(re.findall(r'^\s*[│├└─ ]*(\w+(?:Error|Rejected|Refused|Unavailable))\b', errors.__doc__, re.MULTILINE))
    assert tree == {name for name, item in vars(errors).items() if isinstance(item, type)}


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'CHANGELOG.md'])
def test_commands_exist(page):
    """Each `promlstm …`, `python -m …` and `make …` in a page, in a block or in a line, is one that there is, and so is each of its options."""
    shown = '\n'.join(
        blocks(read(page), 'sh')
        + [line + '\n' for line in re.findall(r'`([^`\n]+)`', re.sub(r'```.*?```', '', read(page), flags=re.DOTALL))]
    )
    for command, rest in re.findall(r'(?:^|bin/|-- )promlstm ([a-z][\w-]*)([^#\n]*)', shown, re.MULTILINE):
        told = helped('promlstm', command)
        assert options(rest) <= options(told), (command, rest)
    for module, command, rest in re.findall(r'python -m (convert|bench) ?([\w-]*)([^#\n|…]*)', shown):
        if module == 'convert' and command and command.islower():
            told = helped('convert', command)
            assert options(rest) <= options(told), (command, rest)
        elif module == 'bench':
            assert not rest.startswith('.'), f'{rest}: measurements are named, not run as modules'
            assert options(rest) <= options(helped('bench', *filter(None, [command]))), (command, rest)
    assert all((ROOT / f'bench/{name}.py').exists() for name in re.findall(r'make bench ARGS=(\w+)', shown))
    makefile = read('Makefile')
    for target in re.findall(r'(?:^|`)make ([a-z][\w-]*)', shown, re.MULTILINE):
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), target


def options(text):
    """The long options in a text."""
    return set(re.findall(r'(?<!\S)\[?(--[a-z][\w.-]*)', text.replace('=', ' ')))


@functools.cache
def helped(package, *command):
    """What `python -m package command --help` prints."""
    main, printed = importlib.import_module(f'{package}.__main__').main, io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as end:
        main([*command, '--help'])
    assert end.value.code == 0, (package, command)
    return printed.getvalue()


@pytest.mark.parametrize('page', ['retraining', 'training-data'])
def test_the_recipe_of_a_document_is_a_whole_one(page, tmp_path):
    """What is shown can be copied as it stands."""
    (shown,) = blocks(read(f'docs/how-to/{page}.md'), 'yaml', '  spans:')
    (tmp_path / 'own.yml').write_text(shown)
    assert recipe.load(tmp_path / 'own.yml').name == 'own'


def test_every_part_of_a_recipe_is_documented():
    """Each section that a key of the recipe leads to has its own table."""
    tables = set(re.findall(r'<!-- from ([\w.]+) -->', read('docs/reference/recipe.md')))
    assert {
        f'convert.recipe.{name}' for name in ('Recipe', 'Data', 'Training', 'Calibration', 'Range', 'Evaluation', 'Telemetry')
    } <= tables
    assert {'convert.data.spans.Parts', 'convert.data.incidents.Exclude', 'convert.evaluation.gates.Gates'} <= tables


def test_what_the_model_finds_is_what_its_file_says():
    """The table of docs/explanation/limits.md, by kind of fault, at a minute and at five, is what `check-model` prints."""
    figures = session.load(session.resolve('builtin:default')).bundle.manifest.evaluation
    rows = re.findall(r'^\| ([a-z ]+) \| (0\.\d\d), (0\.\d\d) \|', read('docs/explanation/limits.md'), re.MULTILINE)
    names = {name: kind for kind, name in FIGURES.KINDS.items()}
    found = {names.get(kind, kind).replace(' ', '_'): (minute, five) for kind, minute, five in rows}
    told = '_recall_at_1_per_week'
    assert found == {
        key.removesuffix(told): (f'{value:.2f}', f'{figures["injected_300s"][key]:.2f}')
        for key, value in figures['injected_60s'].items() if key.endswith(told)
    }  # fmt: skip


@pytest.mark.slow
def test_a_new_model_makes_the_pages_stale(monkeypatch):
    """Tables, sentences and numbers within lines: each page that speaks of the model's figures is another one for another file."""
    bundle = FIGURES.shipped()
    evaluation = {name: {key: value * 0.5 for key, value in figures.items()} for name, figures in bundle.manifest.evaluation.items()}
    manifest = msgspec.structs.replace(bundle.manifest, evaluation=evaluation, warmup_steps=7, replay_steps=77)
    other = msgspec.structs.replace(bundle, manifest=manifest, size_bytes=99 * 1024)
    monkeypatch.setattr(FIGURES, 'shipped', lambda model='': other)
    stale = [path.name for path in GENERATE.PAGES if path.read_text() != FIGURES.with_figures(path.read_text())]
    assert stale == ['README.md', 'get-started.md', 'accuracy.md', 'families.md', 'limits.md']
    assert 'An ONNX file of 99 KiB ' in FIGURES.with_figures(README)


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'CHANGELOG.md'])
def test_finds_is_said_of_what_is_found(page):
    """A sentence that names a kind of fault as found without a number beside it stands in a section that comes from the file."""
    text = FIGURES.SECTION.sub('', re.sub(r'```.*?```', '', read(page), flags=re.DOTALL))
    kinds = '|'.join(f'{kind}s?' for kind in ('spike', 'shift', 'ramp', 'drop', 'drift', 'flat line', 'lost season'))
    said = re.findall(rf'[^.]*\b(?:[Ii]t|promlstm|the model) finds [^.]*\b(?:{kinds})\b[^.]*\.', text)
    assert not [sentence for sentence in said if not re.search(r'\d', sentence)]


def test_families_are_recorded_from_model_files(tmp_path, monkeypatch):
    """One model of each family gives the table; where one is missing, it is named and nothing is written."""
    monkeypatch.setattr(FIGURES, 'FAMILIES', tmp_path / 'families.json')
    with pytest.raises(SystemExit, match='no model of autoencoder, classifier'):
        FIGURES.record([session.resolve('builtin:default')])
    assert not FIGURES.FAMILIES.exists()


def test_sizes_that_pages_name_are_what_the_commands_print(tmp_path, capsys):
    """The file's size, the memory of an entity, the time until the first score and the history that is read."""
    (tmp_path / 'promlstm.yml').write_text(blocks(README, 'yaml', 'detectors:')[0])
    assert main(['check-config', '--offline', str(tmp_path / 'promlstm.yml')]) == 0
    config = capsys.readouterr().out
    assert main(['check-model', 'builtin:default']) == 0
    model = capsys.readouterr().out
    (size,) = re.findall(r'file of (\d+ KiB)', README)
    assert f'({size})' in model
    for page in ('docs/explanation/cost.md', 'docs/how-to/helm.md'):
        sizes = set(re.findall(r'\d\.\d\d KiB', read(page)))
        assert len(sizes) == 1 and sizes.pop() in config, page
    (samples,) = re.findall(r'needs (\d+) samples before its first score', read('docs/get-started.md'))
    assert f' {samples}m ' in config and f'{samples} samples' in model
    assert 'range queries for the last two days' in ' '.join(read('docs/explanation/cost.md').split()) and 'or 2d if that is more' in ' '.join(model.split())
    for page in ('docs/explanation/limits.md', 'docs/how-to/troubleshooting.md', 'README.md'):
        assert f'{samples} samples' in read(page), page


def test_gauges_that_may_be_dropped_are_read_by_no_rule():
    """docs/explanation/cost.md names those that only texts and dashboards read."""
    asked = ' '.join(rule['expr'] for path in rule_files.FILES for rule in rule_files.rules(path))
    (sentence,) = re.findall(r'rule set do not read(.*?);', read('docs/explanation/cost.md'), re.DOTALL)
    named = set(re.findall(r'`(promlstm_\w+)`', sentence))
    assert len(named) == 6 and named <= set(exposition.FAMILIES) - set(re.findall(r'\bpromlstm_\w+', asked))


def test_the_changelog_begins_with_what_is_not_released():
    """As Keep a Changelog has it: newest first, known groups, one line for each change; the newest release is the version of the code."""
    from promlstm import __version__

    text = read('CHANGELOG.md')
    heads = re.findall(r'^## \[(.*?)\](.*)$', text, re.MULTILINE)
    assert heads[0] == ('Unreleased', '') and heads[1][0] == __version__
    assert all(re.fullmatch(r' - \d{4}-\d\d-\d\d', date) for _, date in heads[1:])
    assert [date for _, date in heads[1:]] == sorted((date for _, date in heads[1:]), reverse=True)
    assert set(re.findall(r'^### (.*)$', text, re.MULTILINE)) <= {'Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'}
    changes = text[text.index('## [Unreleased]') : text.index('\n[Unreleased]:')]
    assert all(re.match(r'(- |#|$|The first)', line) for line in changes.splitlines())


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'CHANGELOG.md'])
def test_paths_that_a_page_names_are_there(page):
    """Files and folders of the repository in code style; the changelog may name what was there."""
    text = re.sub(r'```.*?```', '', read(page), flags=re.DOTALL)
    for path in re.findall(r'`((?:promlstm|convert|tests|rules|helm|bench|docs|\.ci)/[\w./-]+)`', text):
        assert 'NAME' in path or (ROOT / path).exists(), path


def test_the_glossary_has_one_line_for_each_word():
    """In the order of the alphabet, so that a word is found, and not twice."""
    table = read('docs/architecture.md').split('## Glossary')[1]
    words = re.findall(r'^\| ([a-z][\w ,-]*) \|', table, re.MULTILINE)[1:]
    assert len(words) > 30 and words == sorted(set(words))


def test_documents_that_are_named_exist():
    """Where code, charts and rules say docs/….md, the page is there."""
    named = re.compile(r'\bdocs/[\w/-]+\.(?:md|py)\b')
    for folder in ('promlstm', 'convert', 'rules', 'helm', 'tests', 'bench', '.ci', 'docs'):
        for path in (ROOT / folder).rglob('*'):
            if (
                path.is_file()
                and path.suffix in ('.py', '.yml', '.yaml', '.md', '.tpl', '.txt', '.json', '')
                and path != ROOT / 'tests/test_docs.py'
            ):
                for page in named.findall(path.read_text(errors='ignore')):
                    assert (ROOT / page).exists(), f'{path.relative_to(ROOT)}: {page}'
