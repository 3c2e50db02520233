"""Put the pages of the docs site and its configuration into build: `python docs/assemble.py`, then `zensical build --strict -f build/zensical.toml`.

The pages lie all over the repository, because that is where people read them: README.md, docs/, the runbook beside the rules, the chart's
README. They are copied to build/site-source at the same relative paths, so their links stay right, together with the files that they
link to.

Mermaid draws the diagrams in the reader's browser. It is fetched here, by its hash, and served with the site, to the pages that have a
diagram (5 MB): the theme would load it from a server of others. Where npm is not there, a diagram is shown as its source.
"""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / 'build/site-source'
CONFIG = ROOT / 'docs/site.toml'
CACHE = ROOT / '.cache/docs'
MERMAID = 'mermaid@12.3.0'
MERMAID_SHA512 = '4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=='  # base64, as npm gives it
LINK = re.compile(r'\]\(([^()\s#]+)(?:#[^()\s]*)?\)')
CODE = re.compile(r'^```.*?^```$|`[^`\n]*`', re.DOTALL | re.MULTILINE)


def navigation(nav):
    """The pages that a navigation names, in order.

    >>> navigation([{'Home': 'README.md'}, {'How to': [{'Helm': 'docs/how-to/helm.md'}]}])
    ['README.md', 'docs/how-to/helm.md']
    """
    found = []
    for entry in nav:
        for below in entry.values():
            found += [below] if isinstance(below, str) else navigation(below)
    return found


def links(text):
    """The files that a page links to, relative to it, in order; not what stands in code, and no other site."""
    return [link for link in LINK.findall(CODE.sub('', text)) if '://' not in link and not link.startswith('mailto:')]


def main():
    """Copy the configuration, the pages and what they link to; what was built before is removed."""
    for made in (TARGET, TARGET.parent / 'site', TARGET.parent / '.cache'):
        shutil.rmtree(made, ignore_errors=True)
    script, project = mermaid(), tomllib.loads(CONFIG.read_text())['project']
    TARGET.mkdir(parents=True)
    (TARGET.parent / 'zensical.toml').write_text(CONFIG.read_text())
    for style in project['extra_css']:
        _place(style).write_bytes((ROOT / style).read_bytes())
    for page in navigation(project['nav']):
        text = (ROOT / page).read_text()
        for link in links(text):
            path = (ROOT / page).parent / link
            if path.suffix != '.md' and path.is_file():
                _place(path.resolve().relative_to(ROOT)).write_bytes(path.read_bytes())
        _place(page).write_text(with_diagrams(page, text) if script else text.replace('```mermaid\n', '```text\n'))
    if script:
        _place('mermaid.min.js').write_bytes(script)
    return 0


def with_diagrams(page, text):
    """A page that loads Mermaid if it has a diagram.

    >>> with_diagrams('docs/architecture.md', '```mermaid\\n```\\n').splitlines()[-1]
    '<script src="../mermaid.min.js"></script>'
    """
    if '```mermaid\n' not in text:
        return text
    return f'{text}\n<script src="{"../" * page.count("/")}mermaid.min.js"></script>\n'


def _place(path):
    target = TARGET / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def mermaid():
    """The script as npm has it; empty where there is no npm. A file with another hash ends the build."""
    package = CACHE / f'{MERMAID.replace("@", "-")}.tgz'
    if not package.exists():
        if not shutil.which('npm'):
            print('docs/assemble.py: no npm here: diagrams are shown as their source', file=sys.stderr)
            return b''
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(['npm', 'pack', '--silent', '--ignore-scripts', MERMAID], cwd=CACHE, stdout=subprocess.DEVNULL, check=True)
    found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != MERMAID_SHA512:
        package.unlink()
        raise SystemExit(f'docs/assemble.py: {MERMAID}: sha512 is {found}, expected {MERMAID_SHA512}')
    with tarfile.open(package) as archive:
        return archive.extractfile('package/dist/mermaid.min.js').read()


if __name__ == '__main__':
    sys.exit(main())
