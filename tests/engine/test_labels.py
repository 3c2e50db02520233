"""Label sets: what makes an entity, and that a scraper reads its labels unchanged."""

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from promlstm.engine import labels
from promlstm.errors import ResponseError
from promlstm.query import selector as promql

NAMES = st.from_regex(r'(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,8}', fullmatch=True)
UNICODE = st.text(st.characters(exclude_categories=['Cs']), max_size=12)
AWKWARD = ['\\', '"', '\n', '\\n', '\r', '\u2028', '\x00', '#', '{}', '= ', ' ', ',', '\U0001f600', 'é', 'é']
VALUES = UNICODE | st.sampled_from(AWKWARD)


def raw(tree, **options):
    return json.dumps(tree, **options).encode()


def read_back(parse, text):
    page = f'# TYPE m gauge\nm{text} 1\n' + ('# EOF\n' if parse is parse_openmetrics else '')
    ((sample,),) = [family.samples for family in parse(page)]
    return sample.labels


@pytest.mark.parametrize('parse', [parse_text, parse_openmetrics])
@given(st.dictionaries(NAMES, VALUES), st.booleans())
@example({'a': ''.join(AWKWARD)}, True)
def test_any_label_set_survives_the_way_to_the_page_and_back(parse, tree, ascii_only):
    """From the JSON of the query API to a scraper's parser, names and values stay the same, whatever Unicode they contain."""
    pairs = labels.pairs(labels.identity(raw(tree, ensure_ascii=ascii_only)))
    assert dict(pairs) == {name: value for name, value in tree.items() if value}
    text = labels.text(labels.exported(pairs, set()))
    assert '\n' not in text.decode()
    assert {name: value for name, value in read_back(parse, text.decode()).items() if value} == dict(pairs)


@given(st.dictionaries(NAMES, VALUES), st.randoms())
def test_an_identity_does_not_depend_on_how_the_labels_are_written(tree, random):
    """Order of labels, white space, escapes and empty labels do not change the entity."""
    items = [*tree.items(), ('zz_empty', ''), ('__name__', 'up')]
    random.shuffle(items)
    assert labels.identity(raw(dict(items), indent=1)) == labels.identity(raw(tree, ensure_ascii=False, separators=(',', ':')))


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_different_label_sets_are_different_entities(one, other):
    """Two identities are equal exactly if the label sets without empty labels are."""
    full = lambda tree: {name: value for name, value in tree.items() if value}  # noqa: E731 (used once a side)
    assert (labels.identity(raw(one)) == labels.identity(raw(other))) == (full(one) == full(other))


def test_a_canonical_label_set_is_not_copied():
    """If the query API wrote it in canonical form, the same object is used, which saves memory."""
    given = b'{"instance":"a","job":"node"}'
    assert labels.identity(given) is given


def test_only_the_labels_of_by_count():
    """With by, other labels do not make another entity; an absent label counts as empty."""
    assert labels.identity(b'{"__name__":"up","job":"node","instance":"a"}', by=('instance', 'zone')) == b'{"instance":"a"}'
    assert labels.identity(b'{"job":"node"}', by=('instance',)) == b'{}'


@pytest.mark.parametrize(
    ('bad', 'begins'),
    [
        (b'', "b'': "),
        (b'{"a":"b"', """b'{"a":"b"': """),
        (b'[]', "b'[]': "),
        (b'{"a":1}', """b'{"a":1}': """),
        (b'{"a":null}', """b'{"a":null}': """),
        (b'{"a":"\xff"}', r"""b'{"a":"\xff"}': """),
        (b'{"a":"\\ud800"}', r"""b'{"a":"\\ud800"}': """),
        (b'x' * 500, f"b'{'x' * 120}': "),
    ],
)
def test_an_invalid_label_set_is_a_response_error(bad, begins):
    """If the bytes are not an object of strings, the message shows how they begin."""
    with pytest.raises(ResponseError) as caught:
        labels.identity(bad)
    assert str(caught.value).startswith('labels of a series are not a JSON object of strings: ' + begins)


@given(st.binary())
def test_arbitrary_bytes_raise_only_a_response_error(data):
    """The result is an identity or a ResponseError."""
    try:
        again = labels.identity(labels.identity(data))
    except ResponseError:
        return
    assert labels.pairs(again) == tuple(sorted(labels.pairs(again)))


COLLISIONS = [
    ({'instance': 'a'}, {'detector'}, {'instance': 'a'}),
    ({'detector': 'x'}, {'detector'}, {'exported_detector': 'x'}),
    ({'detector': 'x', 'exported_detector': 'y'}, {'detector'}, {'exported_detector': 'x', 'exported_exported_detector': 'y'}),
    ({'detector': 'x', 'feature': 'y', 'view': 'z'}, {'detector', 'feature'}, {'exported_detector': 'x', 'exported_feature': 'y', 'view': 'z'}),
    ({'k8s.pod': 'x', 'k8s_pod': 'y'}, set(), {'U__k8s_2e_pod': 'x', 'k8s_pod': 'y'}),
    ({'0': 'x'}, set(), {'U__0': 'x'}),
    ({'größe': 'x'}, set(), {'U__gr_f6__df_e': 'x'}),
    ({'__tenant__': 'x'}, set(), {'U______tenant____': 'x'}),
    ({'U__a': 'x'}, set(), {'U__U____a': 'x'}),
]  # fmt: skip


@pytest.mark.parametrize(('tree', 'ours', 'becomes'), COLLISIONS)
def test_labels_that_collide_with_ours_are_renamed(tree, ours, becomes):
    """As on any scrape: the prefix exported_, once more if the label has it already, and the escaping of Prometheus for UTF-8 names."""
    assert labels.exported(tuple(sorted(tree.items())), ours) == tuple(sorted(becomes.items()))


@given(st.dictionaries(st.text(max_size=6) | NAMES, VALUES), st.sets(st.sampled_from(['detector', 'feature', 'view']), max_size=3))
@example({'': 'x'}, set())
def test_renamed_labels_stay_distinct(tree, ours):
    """Whatever their names, all labels keep their values under distinct classic names that are not ours."""
    got = labels.exported(tuple(sorted(tree.items())), ours)
    names = [name for name, _ in got]
    assert len(set(names)) == len(names) == len(tree) and not set(names) & ours
    assert all(labels.LABEL_NAME.match(name) for name in names)
    assert sorted(value for _, value in got) == sorted(tree.values())


@given(st.dictionaries(st.text(min_size=1, max_size=6).filter(lambda name: name != '__name__') | NAMES, VALUES.filter(bool), min_size=1))
@example({'k8s.pod': 'a', 'größe': '"', '__tenant_id__': 'x', 'exported_job': '\n'})
def test_a_selector_in_a_message_finds_what_it_names(tree):
    """Pasted into Prometheus it selects the entity: names that are no identifiers stand in quotes, as Prometheus 3 reads them."""
    assert promql.matches(promql.selector(labels.selector(sorted(tree.items()))), tree)


@pytest.mark.parametrize(
    ('given_labels', 'text'),
    [
        ((), '{instance="",job=""}'),
        ((('job', 'node'),), '{instance="",job="node"}'),
        ((('a', '1'), ('job', 'node'), ('zone', 'eu')), '{a="1",instance="",job="node",zone="eu"}'),
        ((('instance', 'x'), ('job', '')), '{instance="x",job=""}'),
    ],
)
def test_job_and_instance_are_always_written(given_labels, text):
    """Explicit empty labels keep Prometheus from adding its own."""
    assert labels.text(given_labels).decode() == text


def test_escaping():
    """The three special characters of the formats are escaped, so a line feed does not end the line."""
    assert labels.escape('a\\b"c\nd\re') == 'a\\\\b\\"c\\nd\re'
    assert len(list(io.BytesIO(labels.text((('a', 'x\ny'),))))) == 1
