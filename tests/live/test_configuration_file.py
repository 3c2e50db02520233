"""The configuration file is read again when it has changed, however it was changed, and when somebody asks."""

import os
import threading

import pytest
from servers import wait_until

from promlstm.engine.session import stamp
from promlstm.errors import ConfigError
from promlstm.live.reload import PRESETS, Reload
from promlstm.serve.telemetry import Telemetry

TEXT = 'prometheus: {url: http://localhost:9090}\ndetectors: [{name: cpu, expr: up}]\n'
GAUGE = 'promlstm_config_last_reload_successful'


class Taken:
    """Configurations that came into force, in the place of the scheduler."""

    def __init__(self):
        self.configs, self.said, self.free = [], [], threading.Event()
        self.free.set()

    def __call__(self, config):
        self.free.wait(30)
        if any(detector.expr == 'refused' for detector in config.detectors):
            raise ConfigError('detector cpu: the model does not suit')
        before = self.configs[-1].detectors if self.configs else None
        self.configs.append(config)
        return [] if config.detectors == before else ['detector cpu']


@pytest.fixture
def started(tmp_path):
    """(path, Taken, Telemetry, Reload) that looks at the file all the time."""
    path, taken, telemetry = tmp_path / 'promlstm.yml', Taken(), Telemetry(process=False)
    path.write_text(TEXT)
    reload = Reload(str(path), taken, telemetry, taken.said.append, seen=stamp(path), watch_seconds=0.02)
    reload.start()
    return path, taken, telemetry, reload


def successful(telemetry):
    return telemetry.registry.get_sample_value(GAUGE)


def exprs(taken):
    return [detector.expr for config in taken.configs for detector in config.detectors]


def test_a_change_is_found_without_being_told(started):
    path, taken, telemetry, _ = started
    path.write_text(TEXT.replace('up', 'down'))
    wait_until(lambda: exprs(taken) == ['down'], 30, 'the changed file')
    wait_until(lambda: len(taken.said) == 1, 30, 'what it says')
    assert successful(telemetry) == 1


def test_a_link_that_is_swapped_is_a_change(tmp_path):
    """As Kubernetes updates a ConfigMap: the file is a link into a folder that is itself a link, and that one is replaced."""
    for name, text in (('..1', TEXT), ('..2', TEXT.replace('up', 'down'))):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'promlstm.yml').write_text(text)
    (tmp_path / '..data').symlink_to('..1')
    (tmp_path / 'promlstm.yml').symlink_to('..data/promlstm.yml')
    path, taken = tmp_path / 'promlstm.yml', Taken()
    Reload(str(path), taken, Telemetry(process=False), taken.said.append, seen=stamp(path), watch_seconds=0.02).start()
    (tmp_path / '..new').symlink_to('..2')
    os.replace(tmp_path / '..new', tmp_path / '..data')
    wait_until(lambda: exprs(taken) == ['down'], 30, 'the other folder')


def test_the_log_says_the_first_problem_and_how_many_more(started, caplog):
    path, _, _, reload = started
    path.write_text('prometheus: {url: localhost}\ndetectors: [{name: cpu, exprr: up}, {name: cpu, expr: down}]\n')
    assert reload.ask().result(30) == f"{path}: prometheus.url: expected http://HOST:PORT or https://…, got 'localhost' (and 2 more problems)"
    assert 'configuration file is not valid, the configuration in force is kept' in caplog.text and caplog.text.count('\n') == 1


@pytest.mark.parametrize('bad', ['', 'detectors: [', TEXT.replace('expr', 'exprr'), TEXT.replace('up', 'refused')])
def test_a_bad_file_changes_nothing_until_it_is_good_again(started, bad):
    path, taken, telemetry, _ = started
    path.write_text(bad)
    wait_until(lambda: successful(telemetry) == 0, 30, 'the failure')
    assert not taken.configs
    path.write_text(TEXT)
    wait_until(lambda: successful(telemetry) == 1, 30, 'the good file')


def test_a_file_that_goes_away_and_comes_back(started):
    path, taken, telemetry, _ = started
    path.rename(path.with_suffix('.old'))
    wait_until(lambda: successful(telemetry) == 0, 30, 'the failure')
    path.with_suffix('.old').rename(path)
    wait_until(lambda: successful(telemetry) == 1 and len(taken.configs) == 1, 30, 'the file')


def test_whoever_asks_is_told(started):
    path, taken, _, reload = started
    assert reload.ask().result(30) == ''
    path.write_text(TEXT.replace('up', 'refused'))
    assert reload.ask().result(30) == 'detector cpu: the model does not suit'
    assert len(taken.configs) == 1


def test_those_who_ask_while_it_is_read_share_one_more_reading(started):
    _, taken, _, reload = started
    taken.free.clear()
    first = reload.ask()
    wait_until(lambda: not reload._asked, 30, 'the first reading to begin')
    others = [reload.ask() for _ in range(20)]
    taken.free.set()
    assert [each.result(30) for each in (first, *others)] == [''] * 21
    assert len(taken.configs) == 2


def test_a_request_that_is_given_up_ends_nothing(started):
    """Before it is looked at, or while the file is read: the next change is found all the same."""
    path, taken, _, reload = started
    taken.free.clear()
    first = reload.ask()
    wait_until(lambda: not reload._asked, 30, 'the first reading to begin')
    second = reload.ask()
    first.cancel(), second.cancel()
    taken.free.set()
    path.write_text(TEXT.replace('up', 'down'))
    wait_until(lambda: 'down' in exprs(taken), 30, 'the changed file')


def test_a_change_between_the_first_reading_and_the_watch_is_found(tmp_path):
    path, taken = tmp_path / 'promlstm.yml', Taken()
    path.write_text(TEXT)
    before = stamp(path)
    path.write_text(TEXT.replace('up', 'down'))
    Reload(str(path), taken, Telemetry(process=False), taken.said.append, seen=before, watch_seconds=0.02).start()
    wait_until(lambda: exprs(taken) == ['down'], 30, 'the changed file')


def test_presets_have_no_file():
    reload = Reload(None, Taken(), Telemetry(process=False), print, seen=None, watch_seconds=0.02)
    reload.start()
    assert reload.ask().result(30) == PRESETS
