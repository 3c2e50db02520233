"""How far a long run is: a bar on a terminal, plain lines at bounded frequency elsewhere, and one line where it is interrupted."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest
from recipes import GOOD, TALKATIVE, interruptible
from servers import ROOT, wait_until

from convert import lock, progress

TRACK = """
import sys, time
from convert import progress
for number in progress.track(range(40), 'letters', log=progress.say):
    if number == 20:
        progress.say('half of it')
    time.sleep(0.01)
progress.say('done')
"""
RECIPE = GOOD.replace('epochs: 1', 'epochs: 2000')      # hours


class Clock:
    """A clock that moves by a step each time that it is read."""

    def __init__(self, step):
        self.now, self.step = -step, step

    def __call__(self):
        self.now += self.step
        return self.now


def lines_of(count, step, **options):
    """The lines that so many items give which take so many seconds each."""
    lines = []
    assert list(progress.track(range(count), 'items', log=lines.append, stream=io.StringIO(), now=Clock(step), **options)) == list(range(count))
    return lines


def test_without_a_terminal_lines_come_at_bounded_frequency():
    """A line for each ten seconds at most, with what is left; none where all is done sooner."""
    assert lines_of(9, 1) == []
    assert lines_of(600, 1)[:2] == ['  items: 10 of 600, about 590 s left', '  items: 20 of 600, about 580 s left']
    assert len(lines_of(600, 1)) == 59 and len(lines_of(600, 0.01)) == 0
    assert len(lines_of(5, 60)) == 4


def test_an_unknown_number_of_items_is_counted():
    """As of a generator."""
    lines = []
    assert list(progress.track(iter('abc'), 'batches', log=lines.append, stream=io.StringIO(), now=Clock(60))) == ['a', 'b', 'c']
    assert lines == ['  batches: 1', '  batches: 2', '  batches: 3']


def on_terminal(code, **options):
    """All that a program shows on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdin=follower, stderr=follower, stdout=subprocess.DEVNULL, **options)
    os.close(follower)
    shown = b''
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:     # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert process.wait(30) == 0, shown
    return shown.decode()


def test_on_a_terminal_there_is_a_bar_and_lines_stand_above_it():
    """It is redrawn in place, and gone at the end; a line that is written meanwhile is whole."""
    pytest.importorskip('tqdm', reason='tqdm is not installed: the extra `train` brings it')
    shown = on_terminal(TRACK)
    assert re.search(r'\r  letters:\s+\d+%\|', shown)
    assert re.search(r'(^|[\r\n])half of it\r?\n', shown) and shown.rstrip().endswith('done')
    last = shown.split('\n')[-2]
    assert last.split('\r')[-2 if last.endswith('\r') else -1].strip() == 'done'


def test_without_tqdm_a_terminal_gets_plain_lines():
    """It comes with the extra, which fetching does not need."""
    shown = on_terminal('import sys; sys.modules["tqdm"] = None\n' + TRACK)
    assert '%' not in shown and shown.split() == ['half', 'of', 'it', 'done']


def interrupted(folder, *arguments, until):
    """(status, standard error) of a command that gets Ctrl-C once its log has a text."""
    log = folder / 'log'
    with log.open('wb') as file:
        process = subprocess.Popen(interruptible(*TALKATIVE, *arguments), cwd=ROOT, stderr=file)
    try:
        wait_until(lambda: until in log.read_text() or process.poll() is not None, 120, until)
        process.send_signal(signal.SIGINT)
        return process.wait(60), log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.train
def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(tmp_path):
    """In the middle of training: status 130, no traceback, no weights, no draft."""
    (tmp_path / 'tiny.yml').write_text(RECIPE)
    status, text = interrupted(tmp_path, 'train', str(tmp_path / 'tiny.yml'), '--work', str(tmp_path / 'work'), until='training windows: ')
    assert status == 130 and text.endswith('\nconvert: interrupted; the same command goes on\n') and 'Traceback' not in text
    assert os.listdir(tmp_path / 'work') == [lock.FILE]  # whose lock ended with the process
