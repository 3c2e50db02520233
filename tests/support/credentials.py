"""The credentials that tests use. None of them may be in what a program under test logs or prints: conftest and servers.Process look."""

PASSWORD = 'pa:ss wörd'
SECRETS = (PASSWORD, 'hunter2')


def shown_in(text):
    """Those of SECRETS that a text shows."""
    return [secret for secret in SECRETS if secret in text]
