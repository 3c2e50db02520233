"""The file of a graph that was learnt: what is written is read again, and everything else is refused with a reason."""

import json
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promlstm.errors import ConfigError
from promlstm.incidents import learnt
from promlstm.incidents.learnt import Edge, Learnt

GRAPH = Learnt(
    format=1, promlstm='1.0', start=0.0, end=1e6, step_seconds=60.0, within=('cluster',), labels=('service',), detectors={'cpu': 'a' * 64}, names=3,
    edges=(Edge(('service', 'shop'), ('service', 'cart'), {'cluster': 'eu'}, 0.1 + 0.2, 60.0),),
)  # fmt: skip


def test_what_was_written_is_read(tmp_path):
    """With its digest, which the configuration may name in either case."""
    path = tmp_path / 'graph.json'
    path.write_bytes(learnt.encoded(GRAPH))
    found, sha256 = learnt.load(path)
    assert found == GRAPH and learnt.load(path, sha256.upper())[0] == GRAPH
    got = learnt.edges_for(found, ['cluster'], ['service', 'pod'], 'x')
    assert got.edges == [(('service', 'shop'), ('service', 'cart'))] and got.within == [(('cluster', 'eu'),)] and got.odd == ()


def changed(**keys):
    """The file with other values, its digest left as it was."""
    tree = json.loads(learnt.encoded(GRAPH))
    tree['graph'] |= keys
    return json.dumps(tree).encode()


def edge(**keys):
    return [msgspec.to_builtins(GRAPH.edges[0]) | keys]


@pytest.mark.parametrize('data, says', [
    (b'', 'not a graph that'),
    (b'[]', 'not a graph that'),
    (b'{"edges": []}', 'not a graph that'),
    (b'[' * 100_000, 'not a graph that'),
    (learnt.encoded(GRAPH)[:-5], 'not a graph that'),
    (changed(format=2), 'its format is 2, and this version of promlstm reads 1'),
    (changed(format=2, new='key'), 'its format is 2, and this version of promlstm reads 1'),
    (changed(new='key'), 'unknown field `new`'),
    (changed(names=4), 'its content does not match its digest'),
    (changed(edges=edge(strength=0.5)), 'its content does not match its digest'),
    (changed(edges=edge(strength=2)), 'not a graph that'),
    (changed(edges=edge(delay_seconds=0)), 'not a graph that'),
    (changed(edges=edge(dependant=['service', ''])), 'not a graph that'),
])  # fmt: skip
def test_other_files_are_refused(data, says):
    """Cut off, of another version, changed by hand, or nothing of the kind."""
    with pytest.raises(ConfigError, match=r'^graph\.json: ') as caught:
        learnt.decoded(data, 'graph.json')
    assert says in str(caught.value)


def test_another_file_than_is_meant_is_refused():
    """By its digest, which is told, so that it can be copied into the configuration."""
    with pytest.raises(ConfigError, match=r'its sha256 is [0-9a-f]{64}, but graph_sha256 is b{64}'):
        learnt.decoded(learnt.encoded(GRAPH), 'x', sha256='B' * 64)


@pytest.mark.parametrize('within, linking, says', [
    ((), ('service',), 'it was learnt within cluster, and root_cause.within is nothing'),
    (('cluster',), ('pod',), 'its names are values of the label service, which links no entities: add it to root_cause.labels'),
])  # fmt: skip
def test_a_graph_that_does_not_fit_is_refused(within, linking, says):
    """Learnt across what is not compared now, or of names that no entity is linked by."""
    with pytest.raises(ConfigError, match=says):
        learnt.edges_for(GRAPH, within, linking, 'x')


def test_a_graph_without_edges_is_told():
    """It can be read, and says nothing."""
    assert learnt.edges_for(msgspec.structs.replace(GRAPH, edges=()), ['cluster'], [], 'x').odd == ('no edges',)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    """A pipe, a folder, nothing at all, and something too large."""
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'large').write_bytes(b'')
    os.truncate(tmp_path / 'large', learnt.LARGEST_BYTES + 1)
    large = f'larger than {learnt.LARGEST_BYTES} bytes'
    for name, words in {'pipe': 'not a regular file', 'large': large, 'gone': 'cannot be read: No such file', '': 'cannot be read'}.items():
        with pytest.raises(ConfigError, match=words):
            learnt.load(tmp_path / name)


TREES = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.sampled_from(['graph', 'format', 'sha256']), inner)
)


@given(st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_no_bytes_escape_the_exception_tree(data):
    """Whatever they are."""
    with pytest.raises(ConfigError):
        learnt.decoded(data, 'x')
