"""The query APIs of a configuration: each on its own, and the same one as long as its settings are the same."""

import threading

import pytest
from wire import Wire, replying

from promlstm import config, limits
from promlstm.errors import ResponseError
from promlstm.query.sources import Sources

VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"1"]}]}}'


def sources(before=None, **urls):
    return Sources({name: config.Source(url=url, concurrency=1, timeout=20.0) for name, url in urls.items()}, before=before)


def test_who_hangs_holds_no_slot_of_another():
    """With one query in flight at once: the one that never gets its answer is of another source."""
    release = threading.Event()

    def hangs(peer, number):
        while peer.request():
            release.wait(20)
            peer.answer(VECTOR)

    with Wire(hangs) as stuck, Wire(replying(lambda request: VECTOR)) as good:
        subject = sources(stuck=stuck.url, good=good.url)
        waiting = threading.Thread(target=lambda: subject['stuck'].instant('up', 0))
        waiting.start()
        for _ in range(3):
            assert subject['good'].instant('up', 0).values.tolist() == [1.0]
        assert waiting.is_alive()
        release.set()
        waiting.join(20)


def test_the_method_that_a_server_takes_is_remembered_for_it_alone():
    """One that does not take POST is asked by GET from then on, the other still by POST."""
    with Wire(replying(lambda request: VECTOR if request.method == 'GET' else (405, b''))) as get, Wire(replying(lambda request: VECTOR)) as post:
        subject = sources(get=get.url, post=post.url)
        for name in ('get', 'post', 'get', 'post'):
            subject[name].instant('up', 0)
        assert [request.method for request in get.requests] == ['POST', 'GET', 'GET']
        assert [request.method for request in post.requests] == ['POST', 'POST']


def test_what_has_not_changed_is_the_same_api():
    """Its connections and what was found out stay; one of another URL is another one."""
    old = sources(a='http://a', b='http://b')
    new = sources(before=old, a='http://a', b='http://c', d='http://b')
    assert new['a'] is old['a'] and new['b'] is not old['b'] and new['d'] is not old['b']
    with pytest.raises(KeyError):
        old['d']


def test_the_memory_for_answers_is_shared_among_the_sources(monkeypatch):
    """Several large answers at once must fit into the limit of the container: each source takes its part, also after a change of their number."""
    monkeypatch.setattr(limits, 'memory_bytes', lambda: 12 * 4_000_000)
    body = VECTOR[:-2] + b' ' * 3_000_000 + b'}}'
    with Wire(replying(lambda request: body)) as wire:
        alone = sources(a=wire.url)
        assert alone['a'].instant('up', 0).values.tolist() == [1.0]
        both = sources(before=alone, a=wire.url, b=wire.url + '/b')
        assert alone['a'].instant('up', 1).values.tolist() == [1.0]  # it is not in force yet
        both.share_memory()
        for name in 'ab':
            with pytest.raises(ResponseError, match=r'more than max_response \(2000000 bytes\)'):
                both[name].instant('up', 2)
