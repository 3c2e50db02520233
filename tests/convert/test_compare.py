"""Two models side by side: what differs in their cards, what they find on the same telemetry, and whether that is more than noise."""

import msgspec
import pytest
import tiny_model
from benchmark_results import result

from convert.__main__ import main
from convert.evaluation import gates
from promlstm.engine import session

pytestmark = pytest.mark.train

RECIPE_TAIL = '    - {step_seconds: 300, steps: 1200, entities: 16}'


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """A running mean, and one of another name that was calibrated differently."""
    folder = tmp_path_factory.mktemp('compare')
    row = msgspec.structs.replace(tiny_model.ROW, surprise=(2, 4, 6))
    tiny_model.write(folder / 'a.onnx', manifest={'name': 'first'})
    tiny_model.write(folder / 'b.onnx', manifest={'name': 'second'}, calibration=msgspec.structs.replace(tiny_model.CALIBRATION, rows=(row,)))
    return folder / 'a.onnx', folder / 'b.onnx'


@pytest.fixture
def small(tmp_path):
    from recipes import GOOD

    path = tmp_path / 'small.yml'
    path.write_text(GOOD.replace('    - {step_seconds: 300, steps: 1200, entities: 32}', RECIPE_TAIL))
    return path


def test_it_says_what_differs_and_whether_it_matters(pair, small, tmp_path, capsys):
    """Names and thresholds differ, the networks do not: as much is found, fewer alarms are raised; and a page with plots."""
    assert main(['compare', *map(str, pair), '--recipe', str(small), '--html', str(tmp_path / 'page.html')]) == 0
    out = capsys.readouterr().out
    lines = [' '.join(line.split()) for line in out.splitlines()]
    assert 'name first second' in lines and 'surprise at 1/week, 1 s, class 0 2.00 4.00' in lines
    assert not any(line.startswith('warm-up') for line in lines)
    assert 'injected_300s: events found at equal false alarms' in out and 'no difference that is more than noise' in out
    assert 'injected_300s: alarms per entity-week in healthy time: A ' in out
    page = (tmp_path / 'page.html').read_text()
    assert 'What differs' in page and '<td>second</td>' in page


def test_json_is_one_document(pair, small, capsys):
    assert main(['compare', *map(str, pair), '--recipe', str(small), '--json']) == 0
    assert msgspec.json.decode(capsys.readouterr().out)['service'] == session.load(pair[0]).bundle.sha256


def test_a_file_that_is_no_model_is_named(pair, tmp_path, capsys):
    assert main(['compare', str(pair[0]), str(tmp_path / 'none.onnx')]) == 1
    assert capsys.readouterr().err == f'convert: {tmp_path}/none.onnx: cannot be read: No such file or directory\n'


def test_the_same_file_twice_differs_in_nothing(pair):
    from convert import compare

    one = session.load(pair[0])
    assert compare.differences(one, one) == [('nothing differs', '', '')]


def test_what_a_card_says_is_escaped(pair, tmp_path):
    """A model file from elsewhere cannot put markup into the page."""
    from convert import compare

    other = session.load(tiny_model.write(tmp_path / 'c.onnx', manifest={'name': '<b>bold</b>'}))
    page = compare._differences_html(session.load(pair[0]), other)
    assert '<td>&lt;b&gt;bold&lt;/b&gt;</td>' in page and '<b>' not in page


@pytest.mark.parametrize(('ours', 'theirs', 'words'), [([2] * 30, [1] * 30, 'B is better'), ([1] * 30, [2] * 30, 'A is better'), ([2] * 30, [2] * 30, 'noise')])
def test_the_better_one_is_named(ours, theirs, words):
    from convert import compare

    (verdict,) = gates.judge([result('b', 'model', ours), result('a', 'in service', theirs)], gates.Gates())
    assert words in compare.conclusion(verdict)
