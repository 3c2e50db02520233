"""What keeps credentials out of all output of the test run finds them where they are."""

import sys

import pytest
import servers
from credentials import SECRETS
from servers import Process

pytest_plugins = ['pytester']


@pytest.mark.parametrize('secret', SECRETS)
def test_a_process_that_logs_a_credential_fails_its_test(tmp_path, secret):
    process = Process([sys.executable, '-c', f'print({secret!r}, flush=True); input()'], lambda: True, log=tmp_path / 'log')
    process.start()
    process.child.wait()
    with pytest.raises(AssertionError, match='shows a password or token'):
        process.stop()


@pytest.mark.parametrize('where', ['print(SECRET)', 'print(SECRET, file=sys.stderr)', 'logging.warning(SECRET)'])
def test_a_test_whose_output_has_a_credential_fails(pytester, capsys, where):
    support = servers.ROOT / 'tests/support'
    pytester.makeini(f'[pytest]\npythonpath = {support}')
    pytester.makeconftest((support.parent / 'conftest.py').read_text())
    pytester.makepyfile(f'import logging\nimport sys\nfrom credentials import SECRETS\nSECRET = SECRETS[0]\ndef test_it():\n    {where}\n')
    result = pytester.runpytest_subprocess('-p', 'no:cacheprovider')
    capsys.readouterr()  # or this test would fail as well
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*a password or token is in the output*'])
