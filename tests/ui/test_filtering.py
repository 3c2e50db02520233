"""Which entities a text and matchers find: the same as a reader of PromQL would, whatever stands in the labels."""

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promlstm.engine.labels import escape
from promlstm.serve.handling import BadQuery
from promlstm.ui.filtering import Wanted, chosen, wanted
from promlstm.ui.naming import shared
from promlstm.ui.patterns import BadPattern, full_match

TEXT = st.text(st.characters(exclude_categories=['Cs']) | st.sampled_from('"\\{}:,=ab\n'), max_size=6)
NAMES = st.sampled_from(['a', 'job', 'k8s.pod', 'b"c', 'job":"x'])
LABELS = st.dictionaries(NAMES, TEXT.filter(bool), max_size=4)
ROWS = st.lists(LABELS, max_size=6)


def found(asked, rows):
    identities = [msgspec.json.encode(labels, order='sorted') for labels in rows]
    return chosen(asked, identities, np.arange(len(rows))).tolist()


@given(ROWS, NAMES, TEXT, st.sampled_from(['=', '!=']))
def test_an_equality_is_one_of_labels(rows, name, value, operator):
    """A label that is not there is the empty text; what looks like a label inside of a value is none."""
    quoted = name if name.isidentifier() else f'"{escape(name)}"'
    asked = wanted('', f'{quoted}{operator}"{escape(value)}"')
    assert found(asked, rows) == [row for row, labels in enumerate(rows) if (labels.get(name, '') == value) == (operator == '=')]


@given(ROWS, NAMES, st.sampled_from(['.*', 'a+', '[ab]*', '', '.+', 'a|b', '(?i)A.*', r'\n']), st.sampled_from(['=~', '!~']))
def test_a_regular_expression_matches_from_end_to_end(rows, name, pattern, operator):
    """A dot takes line feeds, too, as in Prometheus."""
    quoted = name if name.isidentifier() else f'"{escape(name)}"'
    asked = wanted('', f'{quoted}{operator}"{escape(pattern)}"')
    meant = re.compile(pattern, re.S)
    assert found(asked, rows) == [row for row, labels in enumerate(rows) if bool(meant.fullmatch(labels.get(name, ''))) == (operator == '=~')]


@given(ROWS, TEXT)
def test_a_text_is_looked_for_in_names_and_values(rows, text):
    """In whichever case, in each `name=value` by itself."""
    asked = wanted(text, '')
    meant = text.strip().lower()
    assert found(asked, rows) == [
        row for row, labels in enumerate(rows) if not meant or any(meant in f'{name}={value}'.lower() for name, value in labels.items())
    ]


@given(ROWS)
def test_shared_labels_are_those_with_one_value(rows):
    """On all entities; a single one shares nothing."""
    identities = [msgspec.json.encode(labels, order='sorted') for labels in rows]
    common = set.intersection(*(set(labels.items()) for labels in rows)) if len(rows) > 1 else set()
    assert shared(identities) == {name for name, _ in common}


def test_no_expression_takes_time_without_end():
    """This one, tried by going back, takes longer than the universe is old; RE2 is done at once."""
    assert found(wanted('', 'a=~"(a+)+(a+)+(a+)+b"'), [{'a': 'a' * 5000}]) == []


WRONG = [('(', 'missing )'), (r'(a)\1', 'RE2'), ('(?=a)', 'RE2'), ('a{1000}{1000}', 'multiple repeat'), ('x' * 501, '500')]


@pytest.mark.parametrize(('pattern', 'why'), WRONG)
def test_a_wrong_expression_is_explained(pattern, why):
    """Also one that Python takes and RE2 does not."""
    with pytest.raises(BadPattern, match=re.escape(why)):
        full_match(pattern, ['a'])


def test_a_wrong_expression_is_refused_where_there_is_nothing_to_look_at():
    """So that a form says what is wrong, although the detector has no entity yet."""
    with pytest.raises(BadQuery, match='RE2'):
        wanted('', r'a=~"(a)\\1"')
    assert not wanted('', '{}') and wanted(' ', '') == Wanted()


@given(st.text(max_size=60))
def test_any_matchers_are_read_or_refused(text):
    """Whatever somebody types."""
    try:
        wanted(text, text)
    except BadQuery as error:
        assert str(error).startswith('match: ')
