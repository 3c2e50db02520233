"""What the tests of the web server share."""

import pytest
from authority import Authority
from serving import Exporter

from promlstm.serve import web


@pytest.fixture(scope='module')
def exporter():
    with Exporter() as running:
        yield running


@pytest.fixture(scope='session')
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('authority') / 'first')


@pytest.fixture(scope='session')
def other(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('authority') / 'second')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Changes of files are noticed at once."""
    monkeypatch.setattr(web, 'POLL_SECONDS', 0.02)
