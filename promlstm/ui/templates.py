"""The pages as HTML, and the files that they load.

Who calls it: site. Templates are Jinja's, every text in them is escaped. Styles and scripts lie under a path that has their digest, so that a browser
may keep them for ever and never has those of another version. Nothing is inline, and nothing comes from elsewhere: the policy of the pages forbids it.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from promlstm import __version__
from promlstm.serve.handling import link
from promlstm.serve.messages import Answer
from promlstm.serve.page import compressed
from promlstm.terminal import duration
from promlstm.ui import wording
from promlstm.ui.naming import Shared

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
# With `no-referrer` a browser would send `Origin: null` with the forms of our own pages, too (Fetch, section 3.2.1).
REFERRER = 'same-origin'
HTML = 'text/html; charset=utf-8'
_KINDS = {'.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml', '.LICENSE': 'text/plain; charset=utf-8'}


class Templates:
    """All templates and files, read once."""

    def __init__(self) -> None:
        folder = files('promlstm.ui') / 'static'
        self._files = {path.name: path.read_bytes() for path in sorted(folder.iterdir(), key=lambda path: path.name) if path.is_file()}
        digest = hashlib.sha256(b'\0'.join(name.encode() + b'\0' + content for name, content in self._files.items()))
        self.static = f'static/{digest.hexdigest()[:16]}'
        self._packed = {name: compressed(content) for name, content in self._files.items()}
        self._environment = Environment(
            loader=PackageLoader('promlstm.ui'), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
        )
        self.shared = Shared().of
        self._environment.filters |= {
            'value': value, 'unbroken': wording.unbroken, 'iso': iso, 'utc': utc, 'kind': wording.kind, 'pair': lambda text: (text, text),
        }  # fmt: skip
        self._environment.globals |= {
            'version': __version__, 'static': self.static, 'link': link, 'band': band, 'duration': duration, 'shared': self.shared,
        }  # fmt: skip

    def text(self, name: str, **shown: Any) -> str:
        """The text of the template NAME.html."""
        return self._environment.get_template(f'{name}.html').render(**shown)

    def content(self, name: str) -> str:
        """A style or script by its name."""
        return self._files[name].decode()

    def page(self, name: str, *, status: int = 200, gzip: bool = False, **shown: Any) -> Answer:
        """A page, from the template NAME.html."""
        text = self.text(name, **shown).encode()
        headers = {'Content-Security-Policy': POLICY, 'Referrer-Policy': REFERRER, 'Cache-Control': 'no-store', **_encoding(gzip)}
        return Answer(status, HTML, [compressed(text) if gzip else text], headers)

    def file(self, path: str, *, gzip: bool) -> Answer | None:
        """A file by its path below the root, such as `static/DIGEST/style.css`; None = there is none."""
        folder, _, name = path.strip('/').rpartition('/')
        if folder != self.static or name not in self._files:
            return None
        kind = next((kind for ending, kind in _KINDS.items() if name.endswith(ending)), 'application/octet-stream')
        headers = {'Cache-Control': 'public, max-age=31536000, immutable', **_encoding(gzip)}
        return Answer(200, kind, [self._packed[name] if gzip else self._files[name]], headers)


def value(number: float | None, unit: str = '') -> str:
    """As wording.value, and no line breaks within it."""
    return wording.unbroken(wording.value(number, unit))


def band(lower: float | None, upper: float | None, unit: str = '') -> str:
    """As wording.band, and no line breaks between a number and its unit."""
    return wording.unbroken(wording.band(lower, upper, unit))


def iso(seconds: float) -> str:
    """An instant as `<time datetime>` has it.

    >>> iso(1750000200.25)
    '2025-06-15T15:10:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def utc(seconds: float) -> str:
    """An instant for readers without JavaScript, who have no zone of their own.

    >>> utc(1750000200.0)
    '15 Jun 15:10 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%-d %b %H:%M UTC')


def _encoding(gzip: bool) -> Mapping[str, str]:
    return {'Content-Encoding': 'gzip', 'Vary': 'Accept-Encoding'} if gzip else {'Vary': 'Accept-Encoding'}
