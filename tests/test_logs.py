"""Log lines: one event a line, as logfmt or JSON."""

import contextlib
import io
import json
import logging
import os
import subprocess

import exporter
import pytest
import servers
from hypothesis import example, given
from hypothesis import strategies as st

from promlstm import logs

FACTS = st.dictionaries(
    st.sampled_from(['detector', 'err', 'url', 'n']), st.text(max_size=20) | st.integers() | st.none() | st.booleans(), max_size=3
)


class Log:
    """The logger of promlstm, writing into a text; restored afterwards."""

    def __init__(self, level='debug', style='logfmt'):
        self.level, self.style, self.text = level, style, io.StringIO()

    def __enter__(self):
        root = logging.getLogger('promlstm')
        self.before = root.handlers[:], root.level, root.propagate
        logs.setup(self.level, self.style, self.text)
        self.logger = logging.getLogger('promlstm.runner')
        return self

    def __exit__(self, *_):
        root = logging.getLogger('promlstm')
        root.handlers[:], root.level, root.propagate = self.before

    @property
    def lines(self):
        return self.text.getvalue().split('\n')[:-1]


def parse_logfmt(line):
    """{key: text} of a logfmt line whose quoted values are JSON strings."""
    facts, rest = {}, line
    while rest:
        key, _, rest = rest.partition('=')
        if rest.startswith('"'):
            facts[key], end = json.JSONDecoder().raw_decode(rest)
            assert rest[end : end + 1] in ('', ' ')
            rest = rest[end + 1 :]
        else:
            facts[key], _, rest = rest.partition(' ')
    return facts


def test_a_line_of_logfmt():
    """Time, level, component and message, then the facts in the order given."""
    with Log() as log:
        record = log.logger.makeRecord(
            log.logger.name,
            logging.WARNING,
            '',
            0,
            'step failed',
            (),
            None,
            extra={'facts': {'detector': 'cpu', 'took': 0.25, 'err': 'a "b"'}},
        )
        record.created, record.msecs = 1_700_000_000.5, 500.0
        log.logger.handle(record)
    assert log.lines == ['ts=2023-11-14T22:13:20.500Z level=warn component=runner msg="step failed" detector=cpu took=0.25 err="a \\"b\\""']


@pytest.mark.parametrize('style', ['logfmt', 'json'])
@given(facts=FACTS, message=st.text(min_size=1, max_size=20))
@example(facts={'err': 'a\nb\r\x1b[31m\u2028\x9b\u202e\ud800', 'url': ''}, message='x=y "z"\n')
def test_whatever_is_logged_stays_one_line_that_reads_back(style, facts, message):
    """Line feeds, quotes and escape sequences in messages and facts (they come from elsewhere) neither break nor colour a line."""
    with Log(style=style) as log:
        logs.event(log.logger, 'info', message, **facts)
    (line,) = log.lines
    read = json.loads(line) if style == 'json' else parse_logfmt(line)
    assert {name: str(read[name]) for name in facts} == {name: str(value) for name, value in facts.items()}
    assert (read['msg'], read['level'], read['component']) == (message, 'info', 'runner')
    assert line.isprintable()


@pytest.mark.parametrize('style', ['logfmt', 'json'])
def test_a_traceback_stays_on_its_line(style):
    """What failed is one event, with the whole traceback."""
    with Log(style=style) as log:
        try:
            raise ValueError('no\ngood')
        except ValueError as error:
            logs.event(log.logger, 'error', 'step failed', exc_info=error)
    (line,) = log.lines
    read = json.loads(line) if style == 'json' else parse_logfmt(line)
    assert read['traceback'].startswith('Traceback (most recent call last):\n') and read['traceback'].endswith('ValueError: no\ngood')


@pytest.mark.parametrize(('level', 'kept'), [('debug', 4), ('info', 3), ('warn', 2), ('error', 1)])
def test_the_lowest_level_that_is_logged(level, kept):
    """Levels are those of Prometheus."""
    with Log(level=level) as log:
        for each in logs.LEVELS:
            logs.event(log.logger, each, 'x')
    assert len(log.lines) == kept
    assert [parse_logfmt(line)['level'] for line in log.lines] == list(logs.LEVELS)[-kept:]


def test_setting_up_twice_does_not_log_twice():
    """The last setup counts."""
    with Log() as log:
        again = io.StringIO()
        logs.setup('info', 'json', again)
        logs.event(log.logger, 'info', 'x')
    assert log.lines == [] and json.loads(again.getvalue())['msg'] == 'x'


def log_to(stream, style='logfmt'):
    """A logger that writes to a stream of the system."""
    logger = logging.Logger('promlstm.test')
    handler = logs.Handler(stream)
    handler.setFormatter(logs.Formatter(style))
    logger.addHandler(handler)
    return logger


def drained(reader):
    """What a pipe holds."""
    os.set_blocking(reader, False)
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    return b''.join(parts).decode()


def test_a_reader_that_stopped_holds_nobody():
    """A full pipe: lines are lost and counted, none is cut in two, and the next that finds room says how many."""
    reader, writer = os.pipe()
    with open(writer, 'w') as stream, contextlib.closing(os.fdopen(reader, 'rb', 0)):
        logger = log_to(stream)
        for number in range(3000):
            logger.info('line', extra={'facts': {'number': number, 'text': 'x' * 100}})
        first = drained(reader)
        logger.info('read again')
        second = drained(reader)
    lines = [parse_logfmt(line) for line in (first + second).splitlines()]
    told = [int(line['number']) for line in lines if line['msg'] == 'line']
    assert told == list(range(len(told))) and 100 < len(told) < 3000 and all(len(line['text']) == 100 for line in lines if 'text' in line)
    assert [line['msg'] for line in lines[-2:]] == ['log lines were lost: their reader had stopped', 'read again']
    assert int(lines[-2]['lines']) == 3000 - len(told)


def test_a_line_longer_than_the_room_is_ended_later():
    """A traceback of many pages reaches a reader that reads on."""
    reader, writer = os.pipe()
    with open(writer, 'w') as stream, contextlib.closing(os.fdopen(reader, 'rb', 0)):
        logger = log_to(stream)
        logger.info('long', extra={'facts': {'text': 'x' * 200_000}})
        text = drained(reader)
        for _ in range(5):
            logger.info('after')
            text += drained(reader)
    messages = [parse_logfmt(line) for line in text.splitlines()]
    assert len(messages[0]['text']) == 200_000 and messages[-1]['msg'] == 'after'


def test_a_reader_that_has_gone_breaks_nothing():
    """A closed pipe, and a disk that is full."""
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(OSError), open(writer, 'w') as stream:
        log_to(stream).info('to nobody')
    with open('/dev/full', 'w') as stream:
        log_to(stream).info('to nothing')


@pytest.mark.slow
def test_an_exporter_whose_log_nobody_reads_goes_on(tmp_path):
    """Thousands of requests at level debug fill the pipe; each is answered, and SIGTERM ends the process."""
    config = tmp_path / 'promlstm.yml'
    config.write_text('prometheus: {url: "http://127.0.0.1:1"}\ndetectors: [{name: cpu, expr: up}]\n')
    port = servers.free_port()
    command = [exporter.RUNTIME, '-m', 'promlstm', 'run', f'--config.file={config}', f'--web.listen-address=127.0.0.1:{port}', '--log.level=debug']
    with subprocess.Popen(list(map(str, command)), cwd=servers.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        ready = servers.answers(f'http://127.0.0.1:{port}/-/healthy')
        servers.wait_until(ready, 60, 'it to serve')
        assert all(ready() for _ in range(1500))
        child.terminate()
        assert child.wait(60) == 0
