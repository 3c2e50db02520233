"""The text of the gauges: it is exactly as specified, and every number survives."""

import gzip
import json

import numpy as np
import pytest
import servers
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from promlstm.engine.columns import MISSING, READY, WARMING, Verdicts
from promlstm.serve.exposition import ENOUGH_PIECES, FAMILIES, INCIDENTS, ROWS, Labels, header, lines, render
from promlstm.serve.page import PIECES, Page, pack, text_bytes

GOLDEN = servers.ROOT / 'tests/golden' / 'metrics.txt'
nan, inf = np.nan, np.inf


def verdicts(**columns):
    """Verdicts of what is given; the rest is NaN, of as many rows as scores and as many features as observed."""
    given_columns = {name: np.array(value) for name, value in columns.items()}
    rows, features = given_columns['observed'].shape
    whole = {name: np.full((rows, features), nan) for name in ('expected', 'lower', 'upper', 'usual_lower', 'usual_upper', 'deviation', 'contribution')}
    whole |= {name: np.full(rows, nan) for name in ('score', 'surprise')}
    whole |= {'since': np.full(rows, nan), 'recurring': np.zeros(rows), 'view': np.empty((rows, 0))}
    whole |= given_columns
    status = np.where(np.isnan(whole['score']), WARMING, READY)
    status[np.isnan(whole['observed']).all(1)] = MISSING
    single = {name: whole[name].astype(np.float32) for name in ('score', 'surprise', 'contribution', 'view', 'recurring')}
    return Verdicts(time=1e9, status=status.astype(np.int8), **(whole | single))


# Four hosts: one as expected, one anomalous, one warming up, one missing, and labels that need care.
HOSTS = Labels('host "a"', ('cpu', 'memory'), ('shift', 'spike')).of(
    [b'{"instance":"a:9100","job":"node"}', b'{"instance":"b","view":"x"}', b'{"path":"C:\\\\d\\n"}', b'{"instance":"gone"}']
)
HOST_VERDICTS = verdicts(
    score=[0.25, 12.5, nan, nan],
    observed=[[0.5, 1e12 + 1], [0.1, -inf], [0.75, 2], [nan, nan]],
    expected=[[0.5, 1e12], [nan, 0.3], [nan, nan], [nan, nan]],
    lower=[[0.25, 1e12 - 4], [nan, 1e-9], [nan, nan], [nan, nan]],
    upper=[[0.75, 1e12 + 4], [nan, inf], [nan, nan], [nan, nan]],
    usual_lower=[[0.375, 1e12 - 2], [nan, 0], [nan, nan], [nan, nan]],
    usual_upper=[[0.625, 1e12 + 2], [nan, 0.5], [nan, nan], [nan, nan]],
    recurring=[1, 0, 0, 0],
    contribution=[[0.5, 0.5], [0, 1], [nan, nan], [nan, nan]],
    view=[[1, 0], [0.1, 0.9], [nan, nan], [nan, nan]],
    since=[nan, 1e9 - 60, nan, nan],
)
MISSING_ROWS = np.array([False, False, False, True])
CPU = Labels('cpu', ('',)).of([b'{}'])
CPU_VERDICTS = verdicts(score=[1.5], observed=[[3.0]], expected=[[2.0]], lower=[[1.0]], upper=[[3.0]], contribution=[[1.0]])


def page():
    made = Page(lambda: 1e9)
    made.publish('host "a"', render(HOST_VERDICTS, HOSTS, missing=MISSING_ROWS), 1e9 + 120)
    made.publish('cpu', render(CPU_VERDICTS, CPU, missing=np.array([False])), 1e9 + 120)
    return made


def samples(parse, page):
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in parse(page) for sample in family.samples}


def test_the_page_is_this_text():
    """Two detectors, one with two features and two views: every line as in tests/golden/metrics.txt."""
    assert b''.join(page().parts()).decode() == GOLDEN.read_text()


def test_both_formats_read_it_alike():
    """The parsers of the classic format and of OpenMetrics find the same samples, none of them with a timestamp."""
    text = b''.join(page().parts()).decode()
    classic, open_metrics = samples(parse_text, text), samples(parse_openmetrics, text + '# EOF\n')
    assert classic == open_metrics and len(classic) == text.count('\n') - text.count('#')
    assert {sample.timestamp for family in parse_openmetrics(text + '# EOF\n') for sample in family.samples} == {None}


def test_each_family_is_one_block():
    """However many detectors there are, each family appears once, in the order of FAMILIES, with its help and type."""
    text = b''.join(page().parts()).decode()
    begun = [line.split()[2] for line in text.splitlines() if line.startswith('# TYPE')]
    assert begun == list(FAMILIES)
    assert [line.split('{')[0] for line in text.splitlines() if '{' in line] == [
        family for family in FAMILIES for line in text.splitlines() if line.startswith(family + '{')
    ]


def test_the_compressed_page_is_the_plain_one():
    """Blocks are compressed one by one; joined they are one gzip file with the plain text."""
    assert gzip.decompress(b''.join(page().parts(gzip=True))) == b''.join(page().parts())


def test_unknown_values_have_no_line():
    """A warming entity has its sample and nothing else, a missing one at most the gauge that says so."""
    blocks = {family: b''.join(block).decode() for family, block in render(HOST_VERDICTS, HOSTS, missing=MISSING_ROWS).items()}
    assert [family for family in blocks if 'path=' in blocks[family]] == ['promlstm_observed']
    assert [family for family in blocks if '"gone"' in blocks[family]] == ['promlstm_entity_missing']
    assert not any('NaN' in block or 'null' in block for block in blocks.values())


def test_only_anomalous_entities_have_views():
    """The kind of anomaly is shown only for an anomalous entity."""
    block = b''.join(render(HOST_VERDICTS, HOSTS, missing=MISSING_ROWS)['promlstm_view']).decode()
    assert 'instance="b"' in block and 'instance="a:9100"' not in block


def test_a_single_feature_has_no_feature_label_and_no_contribution():
    """Both would carry no information."""
    blocks = render(CPU_VERDICTS, CPU, missing=np.array([False]))
    assert 'promlstm_contribution' not in blocks and not any(b'feature=' in piece for block in blocks.values() for piece in block)


def test_no_entities_give_an_empty_page():
    """A family without lines is left out, with its header."""
    empty = verdicts(observed=np.empty((0, 1)))
    assert render(empty, Labels('cpu', ('',)), missing=np.zeros(0, bool)) == {}
    only_nan = verdicts(observed=[[nan]])
    blocks = render(only_nan, CPU, missing=np.array([False]))
    assert blocks == {}
    quiet = Page(lambda: 0)
    quiet.publish('cpu', blocks, 1)
    assert quiet.parts() == quiet.parts(gzip=True) == []


def test_the_label_text_of_a_row_is_cached():
    """Row i has the text of identity i: from the cache if entities are added, rendered again if rows were dropped."""
    a, b, c = (b'{"instance":"%s"}' % name for name in (b'a', b'b', b'c'))
    few = CPU.of([a, b])
    more = few.of([a, b, c])
    assert few.of([a, b]) is few and len(few) == 2
    assert more.prefixes[:2] == few.prefixes and more.prefixes[0] is few.prefixes[0]
    assert more.prefixes[2] == b'{detector="cpu",instance="c",job=""'
    assert more.of([c, a]).prefixes == [more.prefixes[2], more.prefixes[0]]
    assert more.of([]).prefixes == []


@pytest.mark.parametrize(('features', 'views'), [(('',), ()), (('a', 'b'), ()), (('',), ('v',)), (('a', 'b'), ('v',))])
def test_a_label_that_is_called_as_one_of_ours_is_renamed_in_all_detectors(features, views):
    """Those of the families, and those by which rules tell replicas and entities apart; labels of alerts alone stay as they are."""
    ours = ('bound', 'detector', 'feature', 'horizon', 'promlstm_entity', 'promlstm_replica', 'promlstm_scope', 'view')
    theirs = ('severity', 'zone')
    made = Labels('d', features, views).of([json.dumps({name: name.upper() for name in (*ours, *theirs)}).encode()])
    renamed = {'detector': 'd', 'instance': '', 'job': ''} | {f'exported_{name}': name.upper() for name in ours}
    (labels,) = samples(parse_text, 'x' + made.prefixes[0].decode() + '} 1\n')
    assert dict(labels[1:]) == {**renamed, **{name: name.upper() for name in theirs}}


@pytest.mark.parametrize('rows', [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 3 * ROWS + 7, 40 * ROWS + 7])
@pytest.mark.parametrize('hole', [None, 0, ROWS - 1, ROWS, -1])
def test_a_block_in_pieces_has_a_line_for_each_row(rows, hole):
    """However the rows fall into pieces, and wherever one has no number: whole lines, in the order of the rows, as if each were written alone."""
    column = np.arange(rows) / 8
    if hole is not None and hole < rows:
        column[hole] = nan
    made = Labels('d', ('',)).of([b'{"row":"%d"}' % row for row in range(rows)])
    pieces = render(verdicts(observed=column[:, None]), made, missing=np.zeros(rows, bool)).get('promlstm_observed', [])
    known = [(row, value) for row, value in enumerate(column.tolist()) if value == value]
    wanted = [f'promlstm_observed{{detector="d",instance="",job="",row="{row}"}} {value}' for row, value in known]
    assert b''.join(pieces).decode().splitlines() == wanted
    assert all(piece.endswith(b'\n') and not piece.startswith(b'\n') for piece in pieces)
    assert len(pieces) == -(-len(known) // max(ROWS, len(known) // ENOUGH_PIECES))


@pytest.mark.parametrize('threads', [1, 2, 3])
def test_text_that_is_packed_as_it_is_written_is_the_same(threads):
    """Written and compressed piece by piece, by however many threads, a page has the text that it has if all of it is written first."""
    rows = PIECES * ROWS // 2 + 7
    columns = verdicts(observed=np.arange(rows)[:, None] / 8, score=np.arange(rows) / 1000)
    made, missing = Labels('d', ('',)).of([b'{"row":"%d"}' % row for row in range(rows)]), np.arange(rows) % 3 == 0
    written, packed = render(columns, made, missing=missing), pack(lines(columns, made, missing=missing), threads)
    assert sum(map(len, written.values())) > PIECES and list(packed) == list(written)
    for family, block in written.items():
        assert [gzip.decompress(member) for member in packed[family].members] == block
        assert text_bytes(packed[family]) == text_bytes(block)
    one, other = Page(lambda: 0.0), Page(lambda: 0.0)
    one.publish('d', packed, 1)
    other.publish('d', written, 1)
    assert one.parts() == other.parts() and b''.join(one.parts()).count(b'\n') > sum(map(len, written.values()))


@given(arrays.arrays(np.float64, st.integers(1, 20), elements=st.floats(allow_nan=True)))
@example(np.array([5e-324, 1.7976931348623157e308, -0.0, 1e16, 123456789012345680.0, 0.1, -1e-7, inf, -inf, nan, 2**53 + 1.0]))
def test_float64_values_survive_unchanged(column):
    """A scraper reads observed values, of any size, exactly as Prometheus had them; NaN has no line."""
    made = Labels('d', ('',)).of([b'{"row":"%d"}' % row for row in range(len(column))])
    blocks = render(verdicts(observed=column[:, None]), made, missing=np.zeros(len(column), bool))
    text = b''.join(blocks.get('promlstm_observed', ())).decode()
    for parse, end in ((parse_text, ''), (parse_openmetrics, '# EOF\n')):
        got = samples(parse, '# TYPE promlstm_observed gauge\n' + text + end)
        back = {int(dict(labels)['row']): value for (_, *labels), value in got.items()}
        assert back == {row: value for row, value in enumerate(column.tolist()) if value == value}
        assert all(np.signbit(back[row]) == np.signbit(column[row]) for row in back)


@given(arrays.arrays(np.float32, st.integers(1, 20), elements=st.floats(allow_nan=False, width=32)))
@example(np.float32([1.4e-45, 3.4028235e38, 0.1, 16777217, 1e10, -0.0]))
def test_float32_values_survive_with_the_fewest_digits(column):
    """A score is written with the digits of float32, 0.1 as 0.1, and a scraper reads the same float32."""
    made = Labels('d', ('',)).of([b'{"row":"%d"}' % row for row in range(len(column))])
    columns = verdicts(score=column, observed=np.full((len(column), 1), nan))
    lines = b''.join(render(columns, made, missing=np.zeros(len(column), bool))['promlstm_anomaly_score']).decode().splitlines()
    texts = [line.split()[-1] for line in lines]
    assert np.array_equal(np.array([float(text) for text in texts], np.float32).view(np.int32), column.view(np.int32))
    assert all(len(text.lstrip('-').replace('.', '').lstrip('0').split('e')[0].rstrip('0')) <= 9 for text in texts)


def test_rounding_errors_of_0_are_shown_as_0():
    """The expectation for a constant 0 is shown as 0; samples, and values that are small in their unit, are unchanged."""
    columns = verdicts(
        score=[0, 0], observed=[[1e-30], [2e-9]], expected=[[-4.53e-34], [1e-9]], lower=[[-1e-29], [-1e-17]], upper=[[1e-29], [3e-9]]
    )
    blocks = render(columns, Labels('d', ('',)).of([b'{"row":"0"}', b'{"row":"1"}']), missing=np.zeros(2, bool))
    numbers = {family: [line.split()[-1] for line in b''.join(block).decode().splitlines()] for family, block in blocks.items()}
    assert (numbers['promlstm_observed'], numbers['promlstm_expected']) == (['1e-30', '2e-9'], ['0.0', '1e-9'])
    assert (numbers['promlstm_expected_lower'], numbers['promlstm_expected_upper']) == (['0.0', '-1e-17'], ['0.0', '3e-9'])


def test_headers_are_one_line_each():
    """Help texts need no escaping, and every family is a gauge."""
    for family, (help_text, labels) in (FAMILIES | INCIDENTS).items():
        assert header(family) == f'# HELP {family} {help_text}\n# TYPE {family} gauge\n'.encode()
        assert not set(help_text) & set('\\\n"') and help_text.endswith('.') and set(labels) <= {'feature', 'view', 'incident', 'detector'}


if __name__ == '__main__':  # PYTHONPATH=.:tests/support python tests/serve/test_exposition.py writes the golden text, to be read before it is committed
    GOLDEN.write_bytes(b''.join(page().parts()))
