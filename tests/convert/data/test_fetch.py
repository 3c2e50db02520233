"""History comes out of Prometheus as the exporter would have seen it, and comes out whole whatever breaks in between."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import fleet_history
import numpy as np
import pytest
import servers
from recipes import interruptible

from convert import progress, recipe
from convert.data import collect, fetch, spans, store
from convert.recipe import Data
from promlstm import config as configuration
from promlstm.demo import answers
from promlstm.demo.fleet import Series, gaussian, key
from promlstm.demo.source import Source
from promlstm.engine import history
from promlstm.engine.entities import Entities
from promlstm.query.prometheus import Prometheus
from promlstm.query.sources import Sources

DAY = 86400
SERIES, DAYS = 30, 3


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """A real Prometheus with three days of 30 series, and the end of them."""
    directory = tmp_path_factory.mktemp('fetch')
    end = time.time() // DAY * DAY
    times, values, _ = fleet_history.telemetry(SERIES, DAYS, end, faulty_each=1)
    prometheus = fleet_history.prometheus(directory, times, values)
    fired = [f'ALERTS{{alertname="Hot",alertstate="firing",instance="host-0005:9100"}} 1 {end - 1.5 * DAY + 60 * i}' for i in range(30)]
    (directory / 'alerts.om').write_text('\n'.join(['# TYPE ALERTS gauge', *fired, '# EOF', '']))
    servers.backfill(prometheus.data, directory / 'alerts.om')
    with prometheus:
        yield prometheus, end


def parts_of(end):
    """A day to learn from, half a day left out, half a day to test on."""
    return spans.Parts(train=((end - 2 * DAY, end - DAY),), test=((end - DAY / 2, end),))


def config_of(url, detectors, **source):
    """A Config of a few detectors."""
    return configuration.parse(json.dumps({'prometheus': {'url': url, **source}, 'detectors': detectors}))


def fetched(config, parts, root, *, log=lambda text: None, **options):
    """The stores of all detectors."""
    options = {'sources': Sources(config.named_sources), 'pause': lambda seconds: None, **options}
    with store.locked(root):
        return fetch.fetch(config, config.detectors, parts, root, log=log, **options)


ONE = {'name': 'load', 'expr': 'past_load', 'history': '1d'}
JOINED = {
    'name': 'joined', 'by': ['instance'], 'features': {'load': 'past_load{zone="a"}', 'twice': '2 * past_load{zone="a"}'}, 'step': '5m', 'delay': '30s',
    'history': '1d',
}  # fmt: skip
BAD = {'name': 'bad', 'expr': 'rate(past_load)', 'history': '1d'}


@pytest.mark.real
def test_what_is_stored_is_what_the_exporter_replays(server, tmp_path):
    """Same samples, same instants, same entities as promlstm.engine.history gives a warm start, with several features too."""
    prometheus, end = server
    config = config_of(prometheus.url, [ONE, JOINED])
    stores = fetched(config, parts_of(end), tmp_path)
    for detector, rows in zip(config.detectors, (SERIES, SERIES // 3), strict=True):
        entities = Entities(len(detector.queries), detector.by or None)
        source = Prometheus(config.prometheus)
        frames = [frame for frame, _ in history.frames(source, detector, entities, end - 2 * DAY, end - DAY - detector.step)]
        place, steps = stores[detector.name], spans.steps((end - 2 * DAY, end - DAY), detector.step)
        assert len(entities) == rows and place.identities('fine', *steps) == sorted(entities.identities)
        order = [entities.identities.index(name) for name in sorted(entities.identities)]
        expected = np.stack([frame.values[order] for frame in frames])
        np.testing.assert_array_equal(place.read('fine', *steps, sorted(entities.identities)), expected)
        coarse = spans.steps((end - 2 * DAY, end - DAY), 1800)
        every = round(1800 / detector.step)
        np.testing.assert_array_equal(place.read('coarse', *coarse, sorted(entities.identities)), expected[::every])


@pytest.mark.real
def test_a_bad_detector_harms_no_other(server, tmp_path):
    """It is named with the server's reason; the others are whole."""
    prometheus, end = server
    config = config_of(prometheus.url, [BAD, ONE])
    with pytest.raises(fetch.FetchError) as error:
        fetched(config, parts_of(end), tmp_path)
    assert "1 of 2 detectors are there; run it again to continue with the others:\n  detector 'bad': " in str(error.value)
    assert 'rate(past_load)' in str(error.value)
    place = store.Store(tmp_path, fetch.about(config, config.detectors[1]))
    wanted = spans.wanted(parts_of(end), 60, DAY)
    assert {grid: place.covered(grid) for grid in wanted} == wanted


@pytest.mark.real
def test_a_fetch_continues_after_prometheus_went_away(server, tmp_path, monkeypatch):
    """What was there stays; the next run asks for the rest only, and has the digest of a run that nothing disturbed."""
    prometheus, end = server
    monkeypatch.setattr(fetch, 'MOST_STEPS', 256)
    config = config_of(prometheus.url, [ONE], concurrency=1)
    wanted = spans.wanted(parts_of(end), 60, DAY)
    digest = fetched(config, parts_of(end), tmp_path / 'whole')['load'].digest(wanted)
    source = Prometheus(config.prometheus)
    with pytest.raises(fetch.FetchError, match=r"0 of 1 detectors.*\n  detector 'load': .* cannot be reached"):
        fetched(config, parts_of(end), tmp_path / 'broken', sources={'prometheus': Dying(source, prometheus, asked=4)})
    some = store.Store(tmp_path / 'broken', fetch.about(config, config.detectors[0])).chunks
    assert len(some) == 4
    prometheus.start()
    asked = Counting(source)
    assert fetched(config, parts_of(end), tmp_path / 'broken', sources={'prometheus': asked})['load'].digest(wanted) == digest
    assert asked.ranges == len(store.Store(tmp_path / 'whole', fetch.about(config, config.detectors[0])).chunks) - 4
    assert fetched(config, parts_of(end), tmp_path / 'broken', sources={'prometheus': None})['load'].digest(wanted) == digest


@pytest.mark.real
def test_incidents_reach_the_batches_and_the_report(server, tmp_path):
    """An alert of the past, a silence and a span by hand, each for its entities; what was excluded stands in the report."""
    prometheus, end = server
    command(tmp_path, prometheus.url, [ONE])
    silence = {
        'id': 's1', 'comment': 'new disk', 'startsAt': spans.text(end - 1.2 * DAY), 'endsAt': spans.text(end - 1.1 * DAY),
        'matchers': [{'name': 'instance', 'value': 'host-000[12]:.*', 'isRegex': True, 'isEqual': True}],
    }  # fmt: skip
    (tmp_path / 'silences.json').write_text(json.dumps([silence]))
    hand = {'span': [end - 0.3 * DAY, end - 0.2 * DAY], 'match': '{zone="b"}', 'why': 'load test'}
    exclude = {'by_hand': [hand], 'silences': {'file': 'silences.json'}, 'alerts': {'margin': '10m'}}
    section = RECIPE['data'] | {'spans': {name: list(getattr(parts_of(end), name)) for name in ('train', 'test')}, 'exclude': exclude}
    (tmp_path / 'own.yml').write_text(json.dumps(RECIPE | {'data': section}))
    (found,) = collect.collect(tmp_path / 'own.yml', recipe.load(tmp_path / 'own.yml').data, tmp_path / 'data', log=lambda text: None)
    host = lambda i: f'{{"instance":"host-{i:04}:9100","job":"past","zone":"{"abc"[i % 3]}"}}'.encode()  # noqa: E731
    for part, who in (('train', {host(1): 144, host(2): 144, host(5): pytest.approx(40, abs=6)}), ('test', {host(i): 144 for i in range(1, 30, 3)})):
        (batch,) = found.batches(part)
        counts = batch.faulty[batch.scored].sum((0, 2))
        assert {name: count for name, count in zip(batch.identities, counts.tolist(), strict=True) if count} == who
    (report,) = collect.reports_of(tmp_path / 'data')
    assert [(each.source, each.why, each.entities) for each in report.excluded] == [
        ('alert', 'alert Hot', 1), ('silence', 'silence s1: new disk', 2), ('by hand', 'load test', 10)
    ]  # fmt: skip


class Counting:
    """A source that counts its range queries."""

    def __init__(self, source):
        self.source, self.ranges = source, 0

    def instant(self, expr, time):
        """As Prometheus.instant."""
        return self.source.instant(expr, time)

    def range(self, *args):
        """As Prometheus.range."""
        self.ranges += 1
        return self.source.range(*args)


class Dying(Counting):
    """A source whose server is killed after so many range queries."""

    def __init__(self, source, server, asked):
        super().__init__(source)
        self.server, self.asked = server, asked

    def range(self, *args):
        """As Prometheus.range."""
        if self.ranges == self.asked:
            self.server.kill()
        return super().range(*args)


@dataclass
class Little:
    """Telemetry for Source: five hosts, each a stream of noise; the last is born late."""

    born: float
    series: tuple = tuple(Series('load', {'host': f'h{i}'}) for i in range(5))

    def values(self, times):
        """As Telemetry.values."""
        return np.stack([self.value(i, times) for i in range(5)], 1)

    def value(self, i, times):
        """As Telemetry.value."""
        x = 10 + gaussian(key('little', i), (times // 60).astype(np.int64))
        return np.where(times < self.born, np.nan, x) if i == 4 else x


END = 1_764_000_000 // DAY * DAY
PARTS = parts_of(END)
LOAD = {'name': 'load', 'expr': 'load', 'history': '1d'}


@pytest.fixture
def source():
    """The embedded source, whose answers can be broken to order."""
    with Source(Little(END - 1.5 * DAY), lambda: END + 1000.0) as listening:
        yield listening


def digest_of(config, root, parts=PARTS, **options):
    """Fetch, and the digest of the first detector."""
    stores = fetched(config, parts, root, **options)
    detector = config.detectors[0]
    return stores[detector.name].digest(spans.wanted(parts, detector.step, detector.history))


@pytest.mark.parametrize('fault', [answers.cut_off, answers.unavailable, answers.truncated, answers.bad_gateway], ids=lambda fault: fault.__name__)
def test_a_connection_that_breaks_is_tried_again(source, tmp_path, fault):
    """Within the same run, with a pause, and with smaller requests; the digest knows nothing of it."""
    config, paused = config_of(source.url, [LOAD], concurrency=1), []
    digest = digest_of(config, tmp_path / 'whole')

    def log(text):
        if 'chunks to fetch' in text:
            source.faults.next(2, fault)

    assert digest_of(config, tmp_path / 'broken', log=log, pause=paused.append) == digest
    assert paused == [1.0, 4.0]


def test_each_detector_is_fetched_from_its_own_source(source, tmp_path):
    """One whose source is not there harms no other, and says which it is; what is kept is told apart by the source."""
    text = {
        'prometheus': {'url': 'http://127.0.0.1:1'}, 'sources': {'other': {'url': source.url}},
        'detectors': [LOAD, LOAD | {'name': 'elsewhere', 'source': 'other'}],
    }  # fmt: skip
    config = configuration.parse(json.dumps(text))
    with pytest.raises(fetch.FetchError, match=r"1 of 2 detectors are there.*\n  detector 'load': http://127.0.0.1:1 cannot be reached"):
        fetched(config, PARTS, tmp_path)
    there = store.Store(tmp_path, fetch.about(config, config.detectors[1]))
    assert there.chunks and there.about.source == source.url


def test_an_answer_that_is_too_large_is_asked_for_in_pieces(source, tmp_path):
    """A query that a server or a proxy cannot bear in one piece: a quarter of it on each new attempt."""
    config = config_of(source.url, [LOAD], max_response='1MB')
    digest = digest_of(config, tmp_path / 'whole')
    source.faults.hold(lambda selection: answers.oversized(2_000_000)(selection) if len(selection.times) > 200 else selection)
    assert digest_of(config, tmp_path / 'pieces') == digest


def test_an_expression_that_is_rejected_is_not_tried_again(source, tmp_path):
    """Nor is anything else asked for that detector."""
    config, paused = config_of(source.url, [LOAD | {'expr': 'sum(load)'}]), []
    with pytest.raises(fetch.FetchError, match=r'rejects the expression'):
        fetched(config, PARTS, tmp_path, pause=paused.append)
    assert paused == [] and len(source.asked) == 1


def test_the_digest_does_not_depend_on_how_it_was_fetched(source, tmp_path, monkeypatch):
    """One at a time or eight at once, in large pieces or small, in one go or span by span."""
    digest = digest_of(config_of(source.url, [LOAD], concurrency=1), tmp_path / 'a')
    monkeypatch.setattr(fetch, 'MOST_STEPS', 64)
    eight = config_of(source.url, [LOAD], concurrency=8)
    assert digest_of(eight, tmp_path / 'b') == digest
    digest_of(eight, tmp_path / 'c', parts=spans.Parts(train=PARTS.test))
    assert digest_of(eight, tmp_path / 'c') == digest
    monkeypatch.undo()
    for folder in 'bc':
        chunks = store.Store(tmp_path / folder, fetch.about(eight, eight.detectors[0])).chunks
        fine = [(chunk.first, chunk.first + chunk.steps) for chunk in chunks if chunk.grid == 'fine']
        assert sum(end - first for first, end in fine) == sum(end - first for first, end in spans.union(fine))


def test_infinite_samples_and_warnings_are_noted(source, tmp_path):
    """±Inf becomes missing, as live; a warning of partial data is kept beside the chunk."""
    source.faults.hold(lambda selection: answers.warn('a store is down')(answers.nonfinite(selection)))
    config = config_of(source.url, [LOAD])
    place = fetched(config, PARTS, tmp_path)['load']
    fine = [chunk for chunk in place.chunks if chunk.grid == 'fine']
    assert all(chunk.warnings == ('a store is down',) and chunk.infinite == 2 * chunk.steps for chunk in fine)
    assert list(place.identities('fine', 0, 10**9)) == [b'{"host":"h3"}', b'{"host":"h4"}']


def test_twins_are_an_error_of_their_detector(source, tmp_path):
    """Two series that would be one entity are named, with what to do."""
    source.faults.hold(answers.duplicated)
    with pytest.raises(fetch.FetchError, match=r"detector 'load': two series would be the same entity"):
        fetched(config_of(source.url, [LOAD]), PARTS, tmp_path)


def test_a_span_that_has_not_passed_is_refused(source, tmp_path):
    """It would be another one tomorrow. Nothing is asked."""
    future = spans.Parts(train=PARTS.train, test=((time.time() - 60, time.time() + 3600),))
    with pytest.raises(fetch.FetchError, match=r'spans\.test\[0\] ends at .*, which is in the future'):
        fetched(config_of(source.url, [LOAD]), future, tmp_path)
    assert not source.asked


def test_progress_says_what_is_left(source, tmp_path, monkeypatch):
    """How many chunks of how many, and about how long; at the end how many samples there were."""
    monkeypatch.setattr(progress, 'EVERY_SECONDS', 0)
    lines = []
    fetched(config_of(source.url, [LOAD]), PARTS, tmp_path, log=lines.append)
    assert lines[0] == f'  4 chunks to fetch from {source.url} for 1 detectors'
    assert [line.split(',')[0] for line in lines[1:-1]] == [f'  chunks: {i} of 4' for i in range(1, 4)]
    assert re.fullmatch(r'  [1-9]\d+ samples fetched', lines[-1])


RECIPE = {
    'name': 'own', 'description': 'own', 'seed': 1,
    'training': {'telemetry': [{'step_seconds': 60, 'steps': 256, 'entities': 24}], 'window_steps': 64, 'batch_series': 16},
    'calibration': {'ranges': [{'low': 1, 'high': 86401, 'telemetry': {'step_seconds': 300, 'steps': 700, 'entities': 64}}]},
    'evaluation': {'telemetry': [{'step_seconds': 300, 'steps': 1200, 'entities': 32}]},
    'data': {'config': 'promlstm.yml', 'spans': {'train': [list(PARTS.train[0])], 'test': [list(PARTS.test[0])]}},
}  # fmt: skip


def command(directory, url, detectors=(LOAD,)):
    """The command line of a fetch in a directory, which gets a configuration and a recipe."""
    (directory / 'promlstm.yml').write_text(json.dumps({'prometheus': {'url': url, 'concurrency': 1}, 'detectors': list(detectors)}))
    (directory / 'own.yml').write_text(json.dumps(RECIPE))
    return [sys.executable, '-m', 'convert', 'fetch', str(directory / 'own.yml'), '--work', str(directory / 'work')]


def run(args, **options):
    """Run it to its end."""
    return subprocess.run(args, cwd=servers.ROOT, capture_output=True, text=True, check=False, timeout=120, **options)


def opened(directory):
    """The one Dataset of a directory."""
    data = Data(config='promlstm.yml', spans=PARTS)
    (found,) = collect.load(directory / 'own.yml', data, directory / 'work/data')
    return found


@pytest.mark.slow
def test_a_killed_process_is_continued(source, tmp_path):
    """SIGKILL in the middle; the same command again ends with the digest of a run that was left alone."""
    (tmp_path / 'whole').mkdir()
    assert run(command(tmp_path / 'whole', source.url)).returncode == 0
    (tmp_path / 'killed').mkdir()
    source.faults.hold(slow(0.4))
    child = subprocess.Popen(command(tmp_path / 'killed', source.url), cwd=servers.ROOT, stderr=subprocess.DEVNULL)
    servers.wait_until(lambda: list((tmp_path / 'killed/work').glob('data/load-*/manifest.json')), 60, 'a first chunk')
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    (manifest,) = (tmp_path / 'killed/work').glob('data/load-*/manifest.json')
    assert 0 < len(json.loads(manifest.read_text())['chunks']) < 4
    source.faults.clear()
    done = run(command(tmp_path / 'killed', source.url))
    assert done.returncode == 0 and not list((tmp_path / 'killed').rglob('.draft.*'))
    assert opened(tmp_path / 'killed').digest() == opened(tmp_path / 'whole').digest()
    assert done.stderr.splitlines()[-1] == f'  detector load: sha256 {opened(tmp_path / "whole").digest()}'


def test_ctrl_c_ends_a_fetch_and_keeps_what_is_there(source, tmp_path):
    """One line and status 130; chunks that were fetched stay, nothing is half-written."""
    args = command(tmp_path, source.url)
    source.faults.hold(slow(0.4))
    with (tmp_path / 'log').open('wb') as log:
        child = subprocess.Popen(interruptible(*args[1:]), cwd=servers.ROOT, stderr=log)
    servers.wait_until(lambda: list(tmp_path.glob('work/data/load-*/manifest.json')), 60, 'a first chunk')
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    text = (tmp_path / 'log').read_text()
    assert text.endswith('\nconvert: interrupted; the same command goes on\n') and 'Traceback' not in text
    (manifest,) = tmp_path.glob('work/data/load-*/manifest.json')
    assert 0 < len(json.loads(manifest.read_text())['chunks']) < 4 and not list(tmp_path.rglob('.draft.*'))


def slow(seconds):
    """A fault for Source: the same answer, later."""

    def fault(selection):
        time.sleep(seconds)
        return selection

    return fault


def test_a_full_disk_is_reported_in_one_line(source, tmp_path):
    """And leaves nothing half-written: with room again the same command goes on."""
    args = command(tmp_path, source.url)
    whole = os.environ | {'PYTHONDONTWRITEBYTECODE': '1'}  # bytecode, which Python would leave cut off for whoever comes after
    full = run(args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)), env=whole)
    assert full.returncode == 1 and full.stderr.splitlines()[-1].startswith('convert: ')
    assert full.stderr.splitlines()[-1].partition('.npz: ')[2].startswith('cannot be written: File too large; what was there before is whole: ')
    assert not list(tmp_path.rglob('.draft.*')) and 'Traceback' not in full.stderr
    assert run(args).returncode == 0 and opened(tmp_path).entities('test')


def test_an_empty_span_is_named(source, tmp_path):
    """A detector without a single series in it is an error before training, not after."""
    done = run(command(tmp_path, source.url, [LOAD | {'expr': 'load{host="nobody"}'}]))
    assert done.returncode == 1
    assert "convert: detector 'load': spans.train, 2025-11-22T00:00:00Z to 2025-11-23T00:00:00Z: no samples" in done.stderr


def test_one_series_is_data(source, tmp_path):
    """As it is for the exporter."""
    done = run(command(tmp_path, source.url, [LOAD | {'expr': 'load{host="h1"}'}]))
    assert done.returncode == 0 and opened(tmp_path).entities('train') == [b'{"host":"h1"}']
    assert 'detector load, every 60 s: train 1 entities and 1440 samples, test 1 entities and 720 samples' in done.stderr


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'config': 'nothing.yml'}, 'own.yml: data.config: '),
        ({'detectors': ['memory']}, "own.yml: data.detectors: 'memory' is not a detector of "),
        ({'files': {'memory': ['x.csv']}}, "own.yml: data.files: 'memory' is not a detector of "),
        ({'files': {'load': ['x.csv']}}, 'x.csv: cannot be read: No such file or directory'),
        ({'exclude': {'silences': {}}}, 'exclude.silences: expected either alertmanager or file'),
        ({'exclude': {'silences': {'file': 'x.json'}}}, 'x.json: cannot be read: No such file or directory'),
        ({'exclude': {'silences': {'alertmanager': 'http://127.0.0.1:1'}}}, 'exclude.silences: http://127.0.0.1:1 cannot be reached'),
    ],
)
def test_a_data_section_that_asks_for_what_is_not_there(source, tmp_path, change, message):
    """One line with the key and the file."""
    command(tmp_path, source.url)
    section = json.loads((tmp_path / 'own.yml').read_text())
    (tmp_path / 'own.yml').write_text(json.dumps(section | {'data': section['data'] | change}))
    with pytest.raises(spans.DataError) as error:
        collect.stage(tmp_path / 'own.yml', recipe.load(tmp_path / 'own.yml').data, tmp_path / 'work', log=lambda text: None)
    assert message in str(error.value)


def test_nothing_is_loaded_that_was_not_fetched(source, tmp_path):
    """A recipe whose spans grew says so instead of learning from less."""
    assert run(command(tmp_path, source.url)).returncode == 0
    data = Data(config='promlstm.yml', spans=replace_train(PARTS, ((END - 3 * DAY, END - DAY),)))
    with pytest.raises(collect.CollectError, match=r"detector 'load': .* does not have all of its spans: run fetch first"):
        collect.load(tmp_path / 'own.yml', data, tmp_path / 'work/data')
    with pytest.raises(collect.CollectError, match=r'quality\.json: cannot be read: .*: run fetch first'):
        collect.load(tmp_path / 'own.yml', data, tmp_path / 'nowhere')


def replace_train(parts, train):
    """The parts with another train."""
    return spans.Parts(train=train, validate=parts.validate, test=parts.test)
