"""Faults of connections and of HTTP: what comes is late, short, long, packed, or from the wrong place."""

import time
import zlib
from functools import partial

from torture.faults import Fault, Subject
from torture.lane import CALM, STRUCK, Lane, trial

SLOW = r'did not answer within the timeout of 2 s'
NOT_HTTP = r'an answer that is not HTTP'
BOMB_BYTES = 4_000_000_000  # unpacked; 4 MB on the wire
BOMB_BLOCK_BYTES = 8_000_000
LARGEST = '64MB'  # max_response
PEAK_KILOBYTES = 300_000  # what the chart allows: the process, and the largest answer for each of the two that are struck


def head(status, length, more=b''):
    """The head of an answer; `length` may be anything."""
    return b'HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %s\r\n%s\r\n' % (status, str(length).encode(), more)


def reset(peer, _request, _answer):
    peer.reset()


def reset_within(peer, _request, answer):
    peer.send(head(200, len(answer.body)) + answer.body[: len(answer.body) // 2])
    time.sleep(0.05)  # so that the first half is there before the RST, which overtakes what was not read
    peer.reset()


def hole(peer, _request, _answer):
    peer.wire.left.wait()
    peer.reset()


def half(peer, _request, answer):
    peer.send(head(200, len(answer.body)) + answer.body[: len(answer.body) // 2])
    raise ConnectionError


def lengthened(peer, _request, answer, held):
    peer.send(head(200, len(answer.body) + 100) + answer.body)
    if held:
        peer.wire.left.wait()
    raise ConnectionError


def shortened(peer, _request, answer):
    peer.send(head(200, len(answer.body) - 40) + answer.body)


def length(peer, _request, answer, text):
    peer.send(head(200, text) + answer.body)
    peer.wire.left.wait()
    raise ConnectionError


def two_lengths(peer, _request, answer):
    peer.send(head(200, len(answer.body), b'Content-Length: %d\r\n' % (len(answer.body) - 9)) + answer.body)


def drip(peer, data):
    """A byte, again and again: each read gets something, and nothing comes to an end."""
    for place in range(len(data)):
        peer.send(data[place : place + 1])
        if peer.wire.left.wait(0.2):
            break
    raise ConnectionError


def dripping_head(peer, _request, answer):
    drip(peer, head(200, len(answer.body), b'X-Long: %s\r\n' % (b'a' * 3000)))


def dripping_body(peer, _request, answer):
    peer.send(head(200, len(answer.body)))
    drip(peer, answer.body)


def dripping_chunks(peer, _request, _answer):
    peer.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    drip(peer, b'0' * 3000)


def bomb(peer, _request, _answer, status=200):
    """A gzip of blanks without end, made of one block that is sent again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(b' ' * BOMB_BLOCK_BYTES) + packer.flush(zlib.Z_FULL_FLUSH)
    times = BOMB_BYTES // BOMB_BLOCK_BYTES
    peer.send(
        head(status, 10 + len(block) * times, b'Content-Encoding: gzip\r\nLocation: http://127.0.0.1:9/\r\n')
        + b'\x1f\x8b\x08'
        + bytes(6)
        + b'\xff'
    )
    for _ in range(times):
        peer.send(block)


def redirect(peer, _request, _answer, status):
    peer.answer(b'{}', status, b'Location: http://127.0.0.1:9/api/v1/query\r\n')


def dripping_redirect(peer, _request, _answer):
    peer.send(head(302, 100_000, b'Location: http://127.0.0.1:9/\r\n'))
    drip(peer, b' ' * 3000)


def refusal(peer, _request, _answer, status, body=b'sorry', more=b''):
    peer.answer(body, status, more)


def struck(name, strike, reason, tries=(1, 5)):
    """A fault of the proxy: it strikes, the reason has to be seen, the scores have to come back as if nothing had been."""

    def attempt(lane):
        tried = trial(lane, lambda: lane.proxy.begin(strike), lane.proxy.heal, reason=reason)
        peak = lane.status('VmHWM') if tried.survived else 0
        if peak > PEAK_KILOBYTES:
            tried.problems.append(f'{peak // 1024} MiB of memory at the peak')
        return tried

    return Fault(name, attempt, tries)


def refused(lane):
    return trial(lane, lane.proxy.refuse, lane.proxy.start, reason='Connection refused', names=(*STRUCK, *CALM), calm=())


def resting(lane):
    """A server that asks for rest gets it from all detectors, also those whose expressions it would answer."""
    refuse = partial(refusal, status=429, more=b'Retry-After: 10\r\n')
    return trial(lane, lambda: lane.proxy.begin(refuse), lane.proxy.heal, reason='(answered 429|asked for a pause)', names=(*STRUCK, *CALM), calm=())


def hole_for_all(lane):
    before, lane.proxy.word = lane.proxy.word, ''
    try:
        return trial(lane, lambda: lane.proxy.begin(hole), lane.proxy.heal, reason=SLOW, names=(*STRUCK, *CALM), calm=())
    finally:
        lane.proxy.word = before


SUBJECT = Subject(
    'transfers',
    lambda world, name: Lane(world, name, source={'max_response': LARGEST}),
    (
        Fault('connection refused', refused, (2, 5)),
        struck('reset before a byte', reset, 'cannot be reached: Connection reset'),
        struck('reset within the answer', reset_within, 'ended the connection during an answer'),
        struck('no answer to one expression', hole, SLOW),
        Fault('no answer to any', hole_for_all),
        struck('half a body', half, 'ended the connection during an answer'),
        struck('length too large, then closed', partial(lengthened, held=False), 'ended the connection during an answer'),
        struck('length too large, held open', partial(lengthened, held=True), SLOW),
        struck('length too small', shortened, 'not a query result'),
        struck('length is a word', partial(length, text='abc'), NOT_HTTP),
        struck('length is negative', partial(length, text='-5'), NOT_HTTP),
        struck('two lengths', two_lengths, NOT_HTTP),
        struck('head drips', dripping_head, SLOW),
        struck('body drips', dripping_body, SLOW),
        struck('chunk line drips', dripping_chunks, f'{SLOW}|{NOT_HTTP}'),
        struck('gzip bomb', bomb, f'more than max_response|{SLOW}'),
        struck('301', partial(redirect, status=301), 'redirects to http://127.0.0.1:9/'),
        struck('302', partial(redirect, status=302), 'redirects to http://127.0.0.1:9/'),
        struck('302 whose body drips', dripping_redirect, 'redirects to http://127.0.0.1:9/'),
        struck('302 whose body is a bomb', partial(bomb, status=302), 'redirects to http://127.0.0.1:9/'),
        struck('302 to nowhere', partial(refusal, status=302), 'answered 302'),
        struck('401', partial(refusal, status=401), 'answered 401: not allowed'),
        struck(
            '401 with a cookie', partial(refusal, status=401, more=b'Set-Cookie: a=%s\r\n' % (b'b' * 3000)), 'answered 401: not allowed'
        ),
        struck('403', partial(refusal, status=403), 'answered 403: not allowed'),
        struck('404', partial(refusal, status=404), 'answered 404'),
        Fault('429 with Retry-After', resting),
        struck('500', partial(refusal, status=500), 'answered 500'),
        struck('503', partial(refusal, status=503), 'answered 503'),
    ),
    lanes=3,
)
