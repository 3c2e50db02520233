"""The Dockerfile and its lock file, taken apart."""

import re

import servers

TEXT = (servers.ROOT / 'Dockerfile').read_text()
STAGES = dict(re.findall(r'^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)', TEXT, re.MULTILINE | re.DOTALL))
LOCK = (servers.ROOT / '.ci/image.txt').read_text()
LOCKED = re.findall(r'^([\w.-]+)==([\w.]+) ((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+)$', LOCK, re.MULTILINE)


def plain(name):
    """As package indexes compare names."""
    return re.sub(r'[-_.]+', '-', name).lower()
