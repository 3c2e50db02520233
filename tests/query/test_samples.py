"""An answer is read in parts: the columns are those of the answer read at once, whatever stands in it."""

import json
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promlstm.query import samples

ODD = '},{"metric":{'
TEXT = st.text(st.characters(exclude_categories=['Cs']) | st.sampled_from(ODD), max_size=12) | st.just(ODD)
NUMBER = (
    st.floats().map(repr) | st.integers(-(2**70), 2**70).map(str)
    | st.sampled_from(['NaN', '+Inf', '-Inf', '-0', '0', '-0.0', '1e400', '5e-324', '9007199254740993', ' 1 ', '1_0'])
)  # fmt: skip
SERIES = st.fixed_dictionaries({'metric': st.dictionaries(TEXT, TEXT, max_size=3), 'value': st.tuples(st.sampled_from([1.5, 7.0, -3.0]), NUMBER)})


def bits(value):
    """A number as its bits, all NaN alike."""
    return 'NaN' if value != value else struct.pack('d', value)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(samples, 'PART_BYTES', 40)


@given(st.lists(SERIES, max_size=20), st.booleans())
@example([{'metric': {'a': ODD * 5, ODD: '"'}, 'value': (1.5, '-0')}] * 3, True)
def test_parts_have_the_columns_of_the_whole(series, ascii_only):
    """Labels byte by byte, values bit by bit as float() reads them, times in their order; no text within a string is taken for the end of a series."""
    text = json.dumps(series, separators=(',', ':'), ensure_ascii=ascii_only).encode()
    keys, times, values, unread = samples.read(text)
    assert keys == [json.dumps(each['metric'], separators=(',', ':'), ensure_ascii=ascii_only).encode() for each in series]
    assert times == list(dict.fromkeys(each['value'][0] for each in series)) and unread == 0
    assert [bits(value) for value in values.tolist()] == [bits(float(each['value'][1])) for each in series]
    assert samples.read(json.dumps(series).encode())[2].tobytes() == values.tobytes()  # with spaces there is nothing to cut at


GOOD = '{"metric":{"a":"b"},"value":[1,"2"]}'


@pytest.mark.parametrize('odd', [
    '{"metric":{"a":"b"},"histogram":[1,{}]}', '{"metric":{"a":"b"},"value":[1,"x"]}', '{"metric":{"a":"b"},"value":[1,"1,2"]}',
    '{"metric":{"a":"b"},"value":[1,""]}', '{"metric":{"a":"b"},"value":[1,2]}', '{"metric":{"a":"b"},"value":null}', '{"value":[1,"2"]}', 'null', '1',
    '[]', '{"metric":{"x":[{"a":1},{"metric":{"a":"b"}}]},"value":[1]}', '{"metric":{"a":"\xff"},"value":[1,"\xff"]}',
])  # fmt: skip
@pytest.mark.parametrize('place', [0, 5, 9])
def test_one_odd_series_anywhere_is_noticed(odd, place):
    """Then the answer is read series by series, which knows what is to be said of it."""
    series = [GOOD] * 10
    series[place] = odd
    assert samples.read(f'[{",".join(series)}]'.encode('latin-1')) is None


@pytest.mark.parametrize('text', [b'null', b'{}', b'1', b'"a"', b'[1]', b'["a"]'])
def test_what_is_no_list_of_series_is_noticed(text):
    """Whatever JSON it is."""
    assert samples.read(text) is None


SPAN = st.fixed_dictionaries(
    {'metric': st.dictionaries(TEXT, TEXT, max_size=3), 'values': st.lists(st.tuples(st.sampled_from([1.5, 7.0, -3.0, 1750000200.123]), NUMBER), max_size=6)}
)


@given(st.lists(SPAN, max_size=20), st.booleans())
@example([{'metric': {'a': ODD * 5, ODD: '"'}, 'values': [(1.5, '-0'), (7.0, '1'), (8.0, 'NaN')]}, {'metric': {}, 'values': []}] * 3, True)
@example([{'metric': {}, 'values': [(60.0 * number, '0.1') for number in range(100)]}], True)
def test_parts_of_a_range_have_the_columns_of_the_whole(series, ascii_only):
    """As for an instant answer, with the times of all samples and how many each series has."""
    text = json.dumps(series, separators=(',', ':'), ensure_ascii=ascii_only).encode()
    keys, counts, times, values, unread = samples.read_spans(text)
    assert keys == [json.dumps(each['metric'], separators=(',', ':'), ensure_ascii=ascii_only).encode() for each in series]
    assert counts.tolist() == [len(each['values']) for each in series] and unread == 0
    assert times.tolist() == [time for each in series for time, _ in each['values']]
    assert [bits(value) for value in values.tolist()] == [bits(float(text)) for each in series for _, text in each['values']]
    assert samples.read_spans(json.dumps(series).encode())[3].tobytes() == values.tobytes()


@pytest.mark.parametrize('odd', [
    '{"metric":{"a":"b"},"histograms":[[1,{}]]}', '{"metric":{"a":"b"},"values":[[1,"x"]]}', '{"metric":{"a":"b"},"values":[[1,"1,2"]]}',
    '{"metric":{"a":"b"},"values":[[1,"[2]"]]}', '{"metric":{"a":"b"},"values":[[1,""]]}', '{"metric":{"a":"b"},"values":[[1,2]]}',
    '{"metric":{"a":"b"},"values":[[1,"2",3,"4"]]}', '{"metric":{"a":"b"},"values":[1,"2"]}', '{"metric":{"a":"b"},"values":null}',
    '{"values":[[1,"2"]]}', 'null', '1', '[]', '{"metric":{"a":"\xff"},"values":[[1,"\xff"]]}',
])  # fmt: skip
@pytest.mark.parametrize('place', [0, 5, 9])
def test_one_odd_series_of_a_range_is_noticed(odd, place):
    """Then the answer is read series by series."""
    series = ['{"metric":{"a":"b"},"values":[[1,"2"],[2,"3"]]}'] * 10
    series[place] = odd
    assert samples.read_spans(f'[{",".join(series)}]'.encode('latin-1')) is None
