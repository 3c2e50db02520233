"""What is asked and what is answered, as values.

Who calls it: conversation (makes requests, sends answers), door and site (make answers).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from promlstm.serve.page import unpacked, unpacked_bytes

TEXT = 'text/plain; charset=utf-8'
_QUALITY_0 = re.compile(r'q=0(\.0*)?\Z')


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request. headers: names in lower case; of a name that stands several times the values are joined by commas.

    query    what follows the path after a question mark, as it was sent
    body     as it was sent
    trusted  whether whoever asks may see everything; False = nothing beyond whether promlstm is healthy and ready
    """

    method: str
    path: str
    headers: Mapping[str, str]
    client: str
    trusted: bool = True
    query: str = ''
    body: bytes = b''

    def header(self, name: str) -> str:
        """The value of a header, empty if there is none."""
        return self.headers.get(name, '')


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: parts are sent one after the other.

    unpacks  parts are gzip members, and what is in them is sent: unpacked one by one, so that nobody holds the whole
    """

    status: int
    content_type: str
    parts: Sequence[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    unpacks: bool = False

    def size_bytes(self) -> int:
        """How long the body is."""
        return sum(map(unpacked_bytes if self.unpacks else len, self.parts))

    def body(self) -> Iterator[bytes]:
        """The body, part by part."""
        return map(unpacked, self.parts) if self.unpacks else iter(self.parts)


def text(status: int, said: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer that is a few lines of text."""
    return Answer(status, TEXT, [said.encode()], headers or {})


def path_and_query(target: str) -> tuple[str, str]:
    """The path and the query of a request target; both are empty if it is not a URL.

    >>> path_and_query('/metrics?x=1'), path_and_query('http://host/metrics'), path_and_query('http://[')
    (('/metrics', 'x=1'), ('/metrics', ''), ('', ''))
    """
    if target.startswith('/'):
        path, _, query = target.partition('#')[0].partition('?')
        return path, query
    try:
        url = urlsplit(target)
    except ValueError:
        return '', ''
    return url.path, url.query


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header has gzip; a quality of 0 forbids it (RFC 9110, section 12.4.2).

    >>> accepts_gzip('deflate, gzip;q=0.5'), accepts_gzip('gzip;q=0'), accepts_gzip('')
    (True, False, False)
    """
    for part in accept_encoding.lower().replace(' ', '').split(','):
        name, *options = part.split(';')
        if name == 'gzip':
            return not any(_QUALITY_0.match(option) for option in options)
    return False
