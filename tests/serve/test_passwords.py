"""Passwords: what is right, what it costs, and whom a flood of guesses keeps waiting."""

import asyncio
import threading

import bcrypt
import pytest

from promlstm.serve import passwords
from promlstm.serve.passwords import Busy, Passwords, basic, right

USERS = {'alice': '$2y$04$' + 'a' * 21 + 'u' + 'x' * 31, 'bob': '$2y$05$' + 'b' * 21 + 'u' + 'x' * 31}


def hashed(password, prefix='2b'):
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode().replace('$2b$', f'${prefix}$')


@pytest.mark.parametrize('prefix', ['2a', '2b', '2y'])
@pytest.mark.parametrize('password', [b'secret', 'pässwörd'.encode(), b'', b'x' * 72, b'with: colon'])
def test_hashes_of_all_tools(prefix, password):
    """htpasswd writes $2y$, Go $2a$, Python $2b$; they are the same."""
    known = hashed(password, prefix)
    assert right(password, known) and not right(password[:-1] + b'!', known)


@pytest.mark.parametrize('password', [b'x' * 73, b'x' * 1000, b'x' * 72 + b'\xff\x00'])
def test_beyond_72_bytes_a_password_is_cut(password):
    """As htpasswd cut it when it made the hash; and it is an answer, not an error."""
    assert right(password, hashed(b'x' * 72)) and not right(password, hashed(b'x' * 71))


def test_odd_passwords_and_hashes_are_wrong_and_no_error():
    """Zero bytes, bytes that are no text, a salt whose unused bits are set, a hash that is none."""
    known = hashed(b'secret')
    assert not right(b'se\x00cret', known) and not right(b'\xff\xfe', known)
    alphabet = passwords._ALPHABET
    odd = known[:28] + alphabet[alphabet.index(known[28]) | 1] + known[29:]
    assert right(b'secret', odd) and not right(b'x', 'nonsense')


@pytest.mark.parametrize('header', ['Basic', 'Basic ', 'Basic =', 'Basic /w==', 'Digest YTpi', 'YTpi', 'Basic YQ==', 'Basic\tYTpi'])
def test_headers_without_a_password(header):
    """No user, no colon, not base64, not UTF-8, another scheme."""
    assert basic(header) is None


class Hashes:
    """A hash function whose every call is held until the test lets it go."""

    def __init__(self):
        self.done, self.gate = [], threading.Semaphore(0)

    def __call__(self, password, known):
        self.gate.acquire()
        self.done.append((password, known[:7]))
        return password == b'right'

    def let_go(self, calls=1):
        for _ in range(calls):
            self.gate.release()


@pytest.fixture
def hashes():
    subject = Hashes()
    yield subject
    subject.let_go(1000)


def test_a_pair_costs_one_hash(hashes):
    """Whoever asks at once or later gets what the first one got, right or wrong; another password or another hash costs anew."""

    async def story():
        subject = Passwords(hashes)
        hashes.let_go(4)
        assert await asyncio.gather(*(subject.verify('alice', b'right', USERS, client) for client in 'abc')) == [True] * 3
        assert await subject.verify('alice', b'right', USERS, 'd') and len(hashes.done) == 1
        assert [await subject.verify('alice', b'wrong', USERS, 'd') for _ in range(3)] == [False] * 3 and len(hashes.done) == 2
        assert await subject.verify('alice', b'right', USERS | {'alice': USERS['bob']}, 'd') and len(hashes.done) == 3
        assert await subject.verify('bob', b'right', USERS, 'd') and len(hashes.done) == 3 + (USERS['alice'] != USERS['bob'])

    asyncio.run(story())


def test_an_unknown_user_costs_a_hash_of_a_known_cost(hashes):
    """And is not let in, whatever that hash says."""

    async def story():
        subject = Passwords(hashes)
        hashes.let_go(20)
        assert not any([await subject.verify(f'nobody{n}', b'right', USERS, 'a') for n in range(20)])
        assert {known for _, known in hashes.done} == {'$2b$04$', '$2b$05$'}

    asyncio.run(story())


def test_guesses_keep_nobody_else_waiting(hashes):
    """Of those that wait, the next is of another client, and of the same client of another user: one guess goes before, whatever their number."""

    async def story():
        subject = Passwords(hashes)
        guesses = [asyncio.ensure_future(subject.verify('alice', b'%d' % n, USERS, 'loud')) for n in range(60)]
        await asyncio.sleep(0)
        other = asyncio.ensure_future(subject.verify('bob', b'right', USERS, 'loud'))
        quiet = asyncio.ensure_future(subject.verify('alice', b'right', USERS, 'quiet'))
        await asyncio.sleep(0)
        hashes.let_go(4)
        assert await quiet and await other
        assert len(hashes.done) <= 4
        hashes.let_go(100)
        await asyncio.gather(*guesses)

    asyncio.run(story())


def test_a_client_with_too_many_guesses_is_told_so(hashes):
    """The queue of a client ends; the user name that is tried most makes room for another one."""

    async def story():
        subject = Passwords(hashes)
        guesses = [asyncio.ensure_future(subject.verify('alice', b'%d' % n, USERS, 'loud')) for n in range(passwords.WAITING + 1)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the worker has taken the first
        guesses += [asyncio.ensure_future(subject.verify('alice', b'x%d' % n, USERS, 'loud')) for n in range(5)]
        await asyncio.sleep(0)
        mine = asyncio.ensure_future(subject.verify('bob', b'right', USERS, 'loud'))
        await asyncio.sleep(0)
        hashes.let_go(100)
        assert await mine
        results = await asyncio.gather(*guesses, return_exceptions=True)
        assert sum(isinstance(result, Busy) for result in results) >= 5 and False in results

    asyncio.run(story())


def test_what_is_remembered_is_bounded_and_guesses_displace_nothing_right(monkeypatch):
    """The oldest guess is forgotten; what was right stays."""
    monkeypatch.setattr(passwords, 'WRONG', 3)
    done = []

    async def story():
        subject = Passwords(lambda password, known: done.append(password) or password == b'right')
        assert await subject.verify('alice', b'right', USERS, 'a')
        for n in range(10):
            await subject.verify('alice', b'%d' % n, USERS, 'a')
        before = len(done)
        assert await subject.verify('alice', b'right', USERS, 'a') and len(done) == before
        await subject.verify('alice', b'9', USERS, 'a')
        assert len(done) == before
        await subject.verify('alice', b'0', USERS, 'a')
        assert len(done) == before + 1

    asyncio.run(story())
