"""The command `benchmark` on small folders: a table for each set, files that grow with each, and one sentence where something is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
import tiny_model
from labelled_sets import jumps, quiet, write
from recipes import interruptible
from servers import ROOT, wait_until

from convert.__main__ import main

pytestmark = pytest.mark.train


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return str(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'))


@pytest.fixture
def data(tmp_path):
    """Two sets of plain events, and the bytes of all files to find that nothing was written."""
    jumps(tmp_path / 'data/plain')
    jumps(tmp_path / 'data/other', many=2)
    return tmp_path / 'data'


def board(path):
    from convert.evaluation import scoreboard

    return msgspec.json.decode(path.read_bytes(), type=scoreboard.Board)


def benchmark(*arguments):
    return main(['benchmark', *map(str, arguments), '--processes', '1'])


def test_every_set_has_a_table_of_all_methods(tiny, data, tmp_path, capsys):
    """The model finds all that is plain, at the same threshold as everybody; it says why there is no row without LSTM; the data is as it was."""
    before = {path: path.read_bytes() for path in data.rglob('*.npz')}
    assert benchmark(tiny, '--data', data, '--sets', 'plain,other', '--json', tmp_path / 'all.json', '--recurring-counts') == 0
    out = capsys.readouterr().out
    assert 'no row in which recurring counts: it does not know what came on the days before' in out
    assert re.search(r'^plain: 3 entities at 300 s, 2\.\d+ entity-weeks, 6 events$', out, re.MULTILINE) and 'other: 2 entities' in out
    rows = re.findall(r'^  (\S+) +([\d.]+) +([\d.]+) +', out, re.MULTILINE)
    assert next(row for row in rows if row[0] == tiny)[1:] == ('1.000', '1.000')
    assert {'robust_z', 'seasonal_naive', 'difference_5', 'largest', 'promql_week', 'promql_bands', 'holt_winters'} <= {row[0] for row in rows}
    assert 'no row without LSTM: the file was made by another version of the family forecaster: other states' in out
    assert 'false alarms per entity-week at calibrated thresholds' in out
    assert {path: path.read_bytes() for path in data.rglob('*.npz')} == before
    found = board(tmp_path / 'all.json')
    assert [one.about.name for one in found.sets] == ['plain', 'other'] and found.sets[0].cards[0].week.share == 1
    assert all(len(card.gain) == (2 if n else 0) for n, card in enumerate(found.sets[0].cards))


def test_every_baseline_is_documented():
    """docs/how-to/benchmark.md has a row for each, and for no other."""
    from convert.evaluation import baselines, customary, isolation_forest, prophet_daily

    section = (ROOT / 'docs/how-to/benchmark.md').read_text().split('## The baselines')[1].split('\n## ')[0]
    rows = re.findall(r'^\| (`.*?`) \|', section, re.MULTILINE)
    names = [name if name[0] != '_' else f'difference{name}' for row in rows for name in re.findall(r'`(\w+)`', row)]
    assert sorted(names) == sorted([*baselines.PLAIN, *baselines.NAMES, *customary.NAMES, 'pca', isolation_forest.NAME, prophet_daily.NAME])


class Page(HTMLParser):
    """Tags that are open, and what a page loads."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ('src', 'href')]
        if tag != 'meta':
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_errors_are_listed_and_drawn(tiny, tmp_path, capsys):
    """An event too small to be seen is named with size and duration, a jump that nobody labelled is a false alarm; names cannot put markup in."""
    folder = jumps(tmp_path / 'data/set', many=3, steps=4000)
    values, labels = quiet(4000), np.zeros(4000)
    labels[3000:3003] = 1
    values[1200:1203] += 60
    write(folder, 'x<b>', values, labels)
    assert benchmark(tiny, '--data', tmp_path / 'data', '--sets', 'set', '--errors', '--out', tmp_path / 'out') == 0
    out = capsys.readouterr().out
    assert re.search(r'missed: 1 short', out) and re.search(r'x<b>\s+\S+ \S+ +2800 short', out) and re.search(r'x<b>\s+\S+ \S+ +1000 +short up', out)
    assert f'{tmp_path / "out/benchmark.html"} has pictures of them; docs/how-to/benchmark.md#look-at-the-mistakes says how to go on.' in out
    page = (tmp_path / 'out/benchmark.html').read_text()
    assert Page(page).open == [] and Page(page).links == [] and '<b>' not in page and 'x&lt;b&gt;' in page
    assert page.count('<svg') >= 2 and 'Missed (1)' in page
    assert (tmp_path / 'out/benchmark.txt').read_text().strip() in out
    assert board(tmp_path / 'out/benchmark.json').sets[0].mistakes.missed[0].entity == 'x<b>'


def wild(folder):
    """Twelve quiet entities, and one that jumps each few hours without a label."""
    for n in range(12):
        labels = np.zeros(2500)
        labels[2000] = 1
        write(folder, f'e{n}', quiet(2500, seed=n) + 60 * labels[:, None], labels)
    values = quiet(2500)
    values[300::60] += 60
    write(folder, 'wild', values, np.zeros(2500))
    return folder.parent


def test_one_wild_entity_fails_the_gate(tiny, tmp_path, capsys):
    """With status 1 and its name, after all is printed and written; without the flag it passes."""
    folder = wild(tmp_path / 'data/set')
    asked = (tiny, '--data', folder, '--sets', 'set', '--json', tmp_path / 'x.json')
    assert benchmark(*asked, '--most-by-one-entity', '0.1') == 1
    out, error = capsys.readouterr()
    assert 'set: 13 entities' in out and board(tmp_path / 'x.json').sets
    said = 'convert: more than 0.1 of the false alarms by one entity:\n  set: wild makes'
    assert said in error and f'of {tiny}' in error
    assert benchmark(*asked) == 0 and benchmark(*asked, '--most-by-one-entity', '1') == 0


@pytest.mark.parametrize(
    ('entities', 'false', 'reasons'),
    [(20, {'a': 6, 'b': 6}, 1), (20, {'a': 4, 'b': 1}, 0), (9, {'a': 60}, 0), (20, {}, 0), (20, dict.fromkeys('abcdefghij', 5), 0)],
)
def test_the_gate_judges_where_a_share_says_something(entities, false, reasons):
    """Not four alarms of five, and not a set in which each entity has a tenth by right."""
    from types import SimpleNamespace

    from convert import benchmark as command

    one = SimpleNamespace(about=SimpleNamespace(name='set', entities=entities), cards=[SimpleNamespace(false=false, method='m')])
    assert len(command.hogs(SimpleNamespace(sets=[one]), 0.1)) == reasons and command.hogs(SimpleNamespace(sets=[one]), None) == []


@pytest.mark.parametrize(
    ('broken', 'words'),
    [
        (lambda d: d.pop('split'), r"it has no array 'split.*: expected t, x, y, split and note"),
        (lambda d: d.update(y=d['y'][:-1]), r'expected \[T\]'),
        (lambda d: d.update(t=np.zeros(len(d['t']))), 't has duplicates'),
        (lambda d: d.update(split=10**6), 'split 1000000'),
    ],
)
def test_a_damaged_file_is_named_with_its_key(broken, words, tiny, data, capsys):
    """Before anything is replayed."""
    path = data / 'plain/e1.npz'
    with np.load(path) as found:
        arrays = dict(found)
    broken(arrays)
    np.savez(path, **arrays)
    assert benchmark(tiny, '--data', data) == 1
    assert re.search(rf'^convert: {re.escape(str(path))}: .*{words}', capsys.readouterr().err)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--sets', 'plain,nope'], 'convert: --sets nope: no such set in {data}: there is other, plain, injected_60s, injected_300s\n'),
        (['--out', '{data}/plain/e0.npz'], 'convert: {data}/plain/e0.npz: cannot be written: '),
    ],
)
def test_a_mistake_is_one_sentence(options, words, tiny, data, capsys):
    assert benchmark(tiny, '--data', data, *[option.format(data=data) for option in options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(words.format(data=data)) and error.count('\n') == 1


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('--most-by-one-entity=0', 'expected a share above 0 and not above 1'),
        ('--standing=soon', "got 'soon'"),
        ('--processes=0', 'expected a whole number of at least 1'),
        ('--sets=,', 'expected names of sets'),
    ],
)
def test_an_option_is_checked_with_the_usage(option, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(['benchmark', 'builtin:default', '--data=x', option])
    assert end.value.code == 2 and words in capsys.readouterr().err


def test_a_model_of_other_features_is_left_out_of_a_set(tiny, tmp_path, capsys):
    """And the output says why; the others are measured."""
    two = tiny_model.write(tmp_path / 'two.onnx', features=('cpu', 'memory'))
    jumps(tmp_path / 'data/plain')
    assert benchmark(tiny, two, '--data', tmp_path / 'data', '--sets', 'plain') == 0
    out = capsys.readouterr().out
    assert f'{two}, plain at 300 s: left out: it judges entities of 2 features (cpu, memory), these have 1' in out
    assert not re.search(rf'^  {re.escape(str(two))} +[\d.]+', out, re.MULTILINE)


def test_the_reference_counting_is_there(tiny, tmp_path):
    """With --standing 0 the figures are those of measures.operating_points, which is compared with the reference scorer."""
    from convert.evaluation import measures, replay
    from promlstm.engine import session

    rng = np.random.default_rng(0)
    entities, model = [], session.load(tiny)
    for n in range(4):
        labels = (np.arange(2500) % 400 < 5) & (np.arange(2500) > 600)
        values = quiet(2500, seed=n)[:, 0] + labels * rng.exponential(4, 2500) + (rng.random(2500) < 0.01) * 9
        write(tmp_path / 'data/set', f'e{n}', values, labels)
        times = 1_700_000_000 // 604_800 * 604_800 + 300.0 * np.arange(2500)
        scores = replay.surprises(model, times, values[:, None, None], step_seconds=300)[200:, 0]
        entities.append(measures.Entity(scores, labels[200:], 300))
    assert benchmark(tiny, '--data', tmp_path / 'data', '--sets', 'set', '--standing', '0', '--json', tmp_path / 'x.json') == 0
    card, theirs = board(tmp_path / 'x.json').sets[0].cards[0], measures.operating_points(entities)
    assert (card.week.share, card.day.share) == pytest.approx((theirs['recall_at_1_per_week'], theirs['recall_at_1_per_day']))
    assert card.best_f1 == pytest.approx(theirs['best_event_f1']) and card.delay_steps == theirs['median_delay_steps']


def program(name):
    """The text of a program in docs/how-to/benchmark.md, whose name stands in a comment above it."""
    page = (ROOT / 'docs/how-to/benchmark.md').read_text()
    (found,) = re.findall(rf'<!-- {re.escape(name)} -->\n```python\n(.*?)```', page, re.DOTALL)
    return found


def test_fetched_history_becomes_a_set(tiny, tmp_path):
    """docs/how-to/benchmark.md: known incidents are its labels, what is excluded has no samples, and the test begins where the span does."""
    begin, day = 1_764_000_000 // 86_400 * 86_400, 86_400
    values = quiet(4 * 288, features=2)
    values[3 * 288 + 100 : 3 * 288 + 104, 0] += 40
    rows = [f'{begin + 300 * n},/h{k},{values[n, k]}' for n in range(4 * 288) for k in (0, 1)]
    (tmp_path / 'past.csv').write_text('\n'.join(['time,host,value', *rows]))
    detector = {'name': 'load', 'expr': 'past_load', 'step': '5m', 'delay': '0s', 'history': '1d'}
    (tmp_path / 'promlstm.yml').write_text(json.dumps({'prometheus': {'url': 'http://not-asked'}, 'detectors': [detector]}))
    incident = [begin + 3 * day + 30_000, begin + 3 * day + 31_200]
    data = {
        'config': 'promlstm.yml', 'files': {'load': ['past.csv']}, 'spans': {'train': [[begin, begin + 3 * day]], 'test': [[begin + 3 * day, begin + 4 * day]]},
        'labels': [{'span': incident, 'match': '{host="/h0"}', 'why': 'a jump'}],
        'exclude': {'by_hand': [{'span': [begin + day, begin + day + 3000], 'why': 'a test'}, {'span': incident, 'why': 'the same'}]},
    }  # fmt: skip
    recipe = tmp_path / 'own.yml'
    recipe.write_text(f'name: own\ndata: {json.dumps(data)}\n')
    assert main(['fetch', str(recipe), '--work', str(tmp_path / 'work')]) == 0
    (tmp_path / 'history.py').write_text(program('history.py'))
    command = [sys.executable, tmp_path / 'history.py', recipe, tmp_path / 'work/data', tmp_path / 'labelled']
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {'PYTHONPATH': '.'})
    assert sorted(path.name for path in (tmp_path / 'labelled/load').iterdir()) == ['host=%2Fh0.npz', 'host=%2Fh1.npz']
    with np.load(tmp_path / 'labelled/load/host=%2Fh0.npz') as found:
        assert np.flatnonzero(found['y']).tolist() == [964, 965, 966, 967] and int(found['split']) == 3 * 288
        assert np.flatnonzero(np.isnan(found['x'][:, 0])).tolist() == list(range(288, 298)) and np.array_equal(found['x'][298:, 0], values[298:, 0])
    assert benchmark(tiny, '--data', tmp_path / 'labelled', '--sets', 'load', '--standing', '0', '--json', tmp_path / 'x.json') == 0
    (one,) = board(tmp_path / 'x.json').sets
    assert (one.about.entities, one.about.events, one.cards[0].day.found) == (2, 1, 1)


def test_the_program_of_the_document_makes_a_set(tiny, tmp_path):
    """docs/how-to/benchmark.md: a CSV file becomes an entity that is measured."""
    (tmp_path / 'make.py').write_text(program('make.py'))
    lines = [f'{1_700_000_000 + 60 * n},{50 + (n == 900) * 40 + n % 3 if n != 7 else ""},{int(n == 900)}' for n in range(1200)]
    (tmp_path / 'a.csv').write_text('\n'.join(['time,value,label', *reversed(lines)]))
    (tmp_path / 'data/set').mkdir(parents=True)
    subprocess.run([sys.executable, tmp_path / 'make.py', tmp_path / 'a.csv', tmp_path / 'data/set/a.npz'], check=True)
    assert benchmark(tiny, '--data', tmp_path / 'data', '--sets', 'set', '--standing', '0', '--json', tmp_path / 'x.json') == 0
    (one,) = board(tmp_path / 'x.json').sets
    assert (one.about.events, one.cards[0].day.found, one.about.steps_seconds) == (1, 1, [60])


@pytest.mark.parametrize(
    ('sign', 'status', 'word'),
    [pytest.param(signal.SIGINT, 130, 'interrupted', marks=pytest.mark.accept), (signal.SIGTERM, 143, 'stopped')],  # Ctrl-C: tests/convert/test_progress.py
)
def test_an_interruption_loses_no_finished_set(sign, status, word, tiny, tmp_path):
    """With worker processes: the first set stands in the file, the sentence says how to go on, and no worker is left."""
    jumps(tmp_path / 'data/a', many=1)
    write(tmp_path / 'data/b', 'long', quiet(400_000), np.zeros(400_000), split=100)
    log, out = tmp_path / 'log', tmp_path / 'x.json'
    command = interruptible('-m', 'convert', 'benchmark', tiny, '--data', tmp_path / 'data', '--sets', 'a,b', '--json', out, '--processes', '2')
    with open(log, 'w') as errors:
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        wait_until(out.exists, 300, 'the first set')
        process.send_signal(sign)
        assert process.wait(timeout=60) == status
    assert log.read_text().splitlines()[-1] == f'convert: {word}; the sets that were finished are printed and written: --sets measures the others'
    assert [one.about.name for one in board(out).sets] == ['a'] and 'a: 1 entities' in process.stdout.read()
    wait_until(lambda: not group(process.pid), 30, 'the end of all workers')


def group(leader):
    """Whether a process group still has processes."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
