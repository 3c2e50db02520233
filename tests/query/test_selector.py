"""Selectors as Prometheus 2 and 3 write them: names with dots and all of UTF-8 stand in quotes."""

import pytest

from promlstm.errors import QueryRejected
from promlstm.query.selector import Matcher, matches, selector


@pytest.mark.parametrize(
    'expr',
    [
        '{"http.requests"}',
        '{ "http.requests" , }',
        "{'http.requests'}",
        '{"http.requests", "k8s.pod"="a"}',
        '{"k8s.pod"="a", "http.requests"}',
        '{__name__="http.requests", `k8s.pod`=~"a|b"}',
        '{"http.requests", "k8s.pod"!="", k8s_pod=""}',
    ],
)
def test_quoted_names_are_understood(expr):
    """The name of the metric stands in the braces, those of labels before their operator."""
    assert matches(selector(expr), {'__name__': 'http.requests', 'k8s.pod': 'a'})
    assert not matches(selector(expr), {'__name__': 'http_requests', 'k8s.pod': 'a'})


def test_escapes_in_a_quoted_name():
    """As in a value."""
    assert selector(r'up{"a\"b"="x"}') == (Matcher('__name__', '=', 'up'), Matcher('a"b', '=', 'x'))


@pytest.mark.parametrize('expr', ['{"http.requests" "k8s.pod"="a"}', '{k8s.pod="a"}', 'up{"a"="x}', r'{"\q"}', '{}', ''])
def test_what_is_no_selector(expr):
    """A name with a dot needs its quotes."""
    with pytest.raises(QueryRejected):
        selector(expr)


@pytest.mark.parametrize(('matcher', 'valid'), [('a=~"("', False), ('a!~"["', False), ('a="("', True), ('a!="["', True)])
def test_only_the_value_of_a_regular_expression_has_to_be_one(matcher, valid):
    """Any text can be equal to another."""
    if valid:
        assert matches(selector(f'up{{{matcher}}}'), {'__name__': 'up', 'a': '('})
    else:
        with pytest.raises(QueryRejected, match='error parsing regexp'):
            selector(f'up{{{matcher}}}')
