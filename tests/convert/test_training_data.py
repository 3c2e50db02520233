"""docs/reference/recipe.md and docs/how-to/training-data.md say what there is, and nothing else."""

import re

import pytest
import servers
import yaml

from convert import arguments, recipe
from convert.data import incidents, quality, spans

REFERENCE = (servers.ROOT / 'docs/reference/recipe.md').read_text()
PAGE = (servers.ROOT / 'docs/how-to/training-data.md').read_text()
YAML = re.findall(r'```yaml\n(.*?)```', PAGE, re.DOTALL)
SECTIONS = {
    '## `data`': recipe.Data, '## `spans`': spans.Parts, '## `exclude`': incidents.Exclude, '### `by_hand`': incidents.ByHand,
    '### `silences`': incidents.Silences, '### `alerts`': incidents.Alerts,
}  # fmt: skip


@pytest.mark.parametrize('heading', SECTIONS)
def test_every_key_is_documented(heading):
    """And no other."""
    section = re.split(r'\n##', REFERENCE.split(f'{heading}\n')[1])[0]
    assert set(re.findall(r'^\| `(\w+)` \|', section, re.MULTILINE)) == set(SECTIONS[heading].__struct_encode_fields__)


def test_every_check_of_the_report_is_documented():
    """And no other."""
    source = (servers.ROOT / 'convert/data/quality.py').read_text()
    known = set(re.findall(r"check='(\w+)'|(?:_finding|note)\('(\w+)'", source))
    section = PAGE.split('## The report')[1].split('\n## ')[0]
    assert set(re.findall(r'^\| `(\w+)` \|', section, re.MULTILINE)) == {a or b for a, b in known}
    assert set(quality.Finding.__doc__.split('check     ')[1].split('\n')[0].split(', ')) == {a or b for a, b in known}


def test_the_recipe_that_is_shown_is_one(tmp_path):
    """With the rest of the default recipe."""
    shown, _ = YAML
    rest = (servers.ROOT / 'convert/recipes/default.yml').read_text()
    rest = re.sub(r'^(name|description|seed): .*\n', lambda line: '' if f'\n{line[1]}: ' in f'\n{shown}' else line[0], rest, flags=re.MULTILINE)
    (tmp_path / 'own.yml').write_text(f'{rest}\n{shown}')
    loaded = recipe.load(tmp_path / 'own.yml').data
    assert loaded.detectors == ('node_cpu',) and loaded.exclude.alerts.margin == 900 and len(yaml.safe_load(shown)['data']) == 4


def test_the_jobs_that_are_shown_are_jobs():
    """Valid for Kubernetes; their commands are commands, on one folder and day, and as many parts are put together as there are pods."""
    jobs = list(yaml.safe_load_all(YAML[1]))
    validate = pytest.importorskip('kubernetes_validate').validate
    for job in jobs:
        validate(job, '1.29', strict=True)
    fetching, training = [job['spec']['template']['spec'] for job in jobs]
    commands = [each['args'] for each in (*fetching['containers'], *training['initContainers'], *training['containers'])]
    of = jobs[0]['spec']['completions']
    assert [[text for text in args if text.startswith('--part')] for args in commands] == [[f'--part=auto/{of}'], [f'--part=all/{of}'], []]
    parsed = [arguments.parse([text.replace('auto/', '0/') for text in args]) for args in commands]
    assert [args.command for args in parsed] == ['fetch', 'fetch', 'all'] and len({(args.recipe, args.work, args.until) for args in parsed}) == 1
    assert jobs[0]['spec']['completionMode'] == 'Indexed'


@pytest.mark.parametrize(
    ('kind', 'key', 'default'),
    [(incidents.Alerts, 'margin', '15m'), (incidents.Alerts, 'match', '{alertname!~"Promlstm.*"}'), (incidents.Silences, 'margin', '0')],
)
def test_documented_defaults_are_the_defaults(kind, key, default):
    """The page and the code say the same."""
    value = getattr(kind(), key)
    assert f'| `{key}` | `{default}` |' in REFERENCE
    assert value == (default if key == 'match' else recipe.seconds(default))


def test_documented_numbers_are_the_numbers():
    """Those that the page gives in words."""
    assert (spans.LEAD_STEPS, quality.GAPS_SHARE, quality.LEAST_SAMPLES, quality.WEEKLY_SECONDS) == (400, 0.05, 500, 14 * 86400)
    assert re.search(r'\b400\s+steps\b', REFERENCE) and '5 %' in PAGE and '500 samples' in PAGE
