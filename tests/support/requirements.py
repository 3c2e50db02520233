"""What a test needs of the machine: a skip with the reason where it is missing, a failure in CI."""

import importlib.util
import os

import pytest
import servers


def absent(reason):
    """Skips the test, or fails it where everything must be there."""
    if os.environ.get('CI', '').lower() in ('1', 'true') or os.environ.get('PROMLSTM_REQUIRE_TOOLS') == '1':
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need_tools():
    missing = servers.missing_tools()
    if missing:
        absent(f'no {", ".join(missing)} in .cache/tools/bin: make test fetches them (or .ci/install-tools)')


def has_tensorflow() -> bool:
    return importlib.util.find_spec('tensorflow') is not None


def is_accept() -> bool:
    return os.environ.get('PROMLSTM_ACCEPT') == '1'
