"""The web configuration file: what other exporters take is taken, and each mistake has its message."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promlstm.errors import ConfigError
from promlstm.serve.web_config import CIPHERS, RateLimit, WebConfig, interval_seconds, parse, read

HASH = '$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG'  # of the documentation of exporter-toolkit
PAIR = 'cert_file: a.crt, key_file: a.key'


@pytest.mark.parametrize('text', ['', '\n', '# nothing\n', '{}', '---\n', 'tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n'])
def test_an_empty_file_configures_nothing(text):
    """Nor do keys without a value."""
    config = parse(text, 'web.yml')
    assert (config.tls_server_config, config.users, config.headers) == (None, {}, {})


def test_a_file_of_other_exporters_is_taken():
    """All keys at once, as the documentation of the format has them."""
    config = parse(
        f'''
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [{', '.join(CIPHERS)}, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256]
http_server_config:
  http2: true
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: ''
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: {HASH}
  bob: {HASH.replace('2y', '2a')}
rate_limit: {{interval: 1s, burst: 20}}
''',
        'web.yml',
    )
    assert config.users['alice'] == HASH and 'X-XSS-Protection' not in config.headers and len(config.headers) == 4


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: 1', 'a: unknown key; known: basic_auth_users, http_server_config, rate_limit, tls_server_config'),
        ('[]', 'expected a mapping, got a list'),
        ('text', 'expected a mapping, got text'),
        ('a: [', "line 1, column 5: expected the node content, but found '<stream end>'"),
        (f'basic_auth_users: {{a: {HASH}, a: {HASH}}}', "line 1, column 85: key 'a' appears twice"),
        ('tls_server_config: {cert: x, x: 1}', None),
        (f'tls_server_config: {{{PAIR}, cert: x}}', 'tls_server_config: cert and cert_file: only one of them'),
        ('tls_server_config: {cert_file: a.crt}', 'tls_server_config: missing one of key or key_file'),
        ('tls_server_config: {key_file: a.key}', 'tls_server_config: missing one of cert or cert_file'),
        ('tls_server_config: {client_auth_type: NoClientCert}', 'tls_server_config: missing one of cert or cert_file'),
        (
            f'tls_server_config: {{{PAIR}, min_version: TLS10}}',
            'tls_server_config.min_version: TLS10 is not supported: it is insecure (RFC 8996); expected TLS12 or TLS13',
        ),
        (f'tls_server_config: {{{PAIR}, max_version: SSL3}}', "tls_server_config.max_version: expected TLS12 or TLS13, got 'SSL3'"),
        (
            f'tls_server_config: {{{PAIR}, min_version: TLS13, max_version: TLS12}}',
            'tls_server_config: min_version TLS13 is above max_version TLS12',
        ),
        (f'tls_server_config: {{{PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}', None),
        (
            f'tls_server_config: {{{PAIR}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}}',
            'tls_server_config.cipher_suites: none of them is for TLS12, and max_version allows no other',
        ),
        (
            f'tls_server_config: {{{PAIR}, curve_preferences: [P1]}}',
            "tls_server_config.curve_preferences: expected one of CurveP256, CurveP384, CurveP521, X25519, got 'P1'",
        ),
        (
            f'tls_server_config: {{{PAIR}, curve_preferences: [CurveP256, X25519]}}',
            "tls_server_config.curve_preferences: Python's ssl supports one curve or its own choice: name one, or leave the key out",
        ),
        *[
            (
                f'tls_server_config: {{{PAIR}, client_ca_file: ca, client_auth_type: {kind}}}',
                f"tls_server_config.client_auth_type: {kind}: Python's ssl asks for a certificate only where it verifies it; "
                'expected one of NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert',
            )
            for kind in ('RequestClientCert', 'RequireClientCert', 'RequireAnyClientCert')
        ],
        (
            f'tls_server_config: {{{PAIR}, client_auth_type: Yes please}}',
            "tls_server_config.client_auth_type: expected one of NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert, got 'Yes please'",
        ),
        (
            f'tls_server_config: {{{PAIR}, client_ca_file: ca}}',
            'tls_server_config: client_ca_file needs client_auth_type: otherwise no certificate is requested',
        ),
        (
            f'tls_server_config: {{{PAIR}, client_auth_type: RequireAndVerifyClientCert}}',
            'tls_server_config.client_auth_type: RequireAndVerifyClientCert without client_ca_file: no certificate could be verified',
        ),
        (
            f'tls_server_config: {{{PAIR}, client_ca_file: ca, client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [a]}}',
            'tls_server_config: client_allowed_sans needs client_auth_type RequireAndVerifyClientCert',
        ),
        ('http_server_config: {headers: {X-Own: a}}', None),
        (
            'http_server_config: {headers: {X-Frame-Options: maybe}}',
            "http_server_config.headers: X-Frame-Options: expected deny or sameorigin, got 'maybe'",
        ),
        (
            'http_server_config: {headers: {X-Content-Type-Options: sniff}}',
            "http_server_config.headers: X-Content-Type-Options: expected nosniff, got 'sniff'",
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb: c"}}',
            'http_server_config.headers: X-XSS-Protection: expected one line of printable ASCII',
        ),
        (f'basic_auth_users: {{"": {HASH}}}', "basic_auth_users: '': expected a name without a colon"),
        (f'basic_auth_users: {{"a:b": {HASH}}}', "basic_auth_users: 'a:b': expected a name without a colon"),
        ('basic_auth_users: [a]', 'basic_auth_users: expected a mapping or nothing, got a list'),
        *[
            (
                f'basic_auth_users: {{a: "{hashed}"}}',
                'basic_auth_users: a: expected a bcrypt hash, which begins with $2a$, $2b$ or $2y$ and has 60 characters; htpasswd -nBC 10 "" makes one',
            )
            for hashed in ('plain', HASH[:-1], HASH + 'x', HASH.replace('$10$', '$03$'), HASH.replace('$10$', '$32$'), HASH.replace('2y', '2x'))
        ],
        (
            f'basic_auth_users: {{a: "{HASH.replace("$10$", "$19$")}"}}',
            'basic_auth_users: a: a cost of 19 takes longer than a request may; 10 is enough',
        ),
        ('rate_limit: {interval: 1 second, burst: 1}', "rate_limit.interval: expected a duration such as 30s, 5m or 1h30m, got '1 second'"),
        ('rate_limit: {interval: 1s}', 'rate_limit: expected an interval and a burst of 1 or more, else no request would be answered'),
    ],
)  # fmt: skip
def test_each_mistake_has_its_message(text, message):
    """It names the file and the key, and what would be right; never a hash."""
    with pytest.raises(ConfigError) as caught:
        parse(text, 'web.yml')
    said = str(caught.value)
    assert said.startswith('web.yml: ') and 'plain' not in said and HASH[:20] not in said
    assert message is None or said == f'web.yml: {message}'


def test_what_is_no_file_is_not_read(tmp_path):
    """A pipe would be waited for, and a folder cannot be read."""
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path, tmp_path / 'pipe'):
        with pytest.raises(ConfigError, match=f'{path}: is not a file'):
            read(path)


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text):
    """Whatever stands in the file: a configuration, or one error with its name."""
    try:
        assert isinstance(parse(text, 'web.yml'), WebConfig)
    except ConfigError as error:
        assert str(error).startswith('web.yml: ')


def test_a_hash_is_in_no_message_of_yaml():
    """A tab or a bracket beside it does not put the line into the log."""
    for text in (f'basic_auth_users:\n  a: {HASH}\n\tb: x', f'basic_auth_users: {{a: {HASH}', f'a: *{HASH}', f'basic_auth_users: {{a: {HASH} b: c}}: d'):
        with pytest.raises(ConfigError) as caught:
            parse(text, 'web.yml')
        assert HASH[7:20] not in str(caught.value)


@pytest.mark.parametrize(('interval', 'is_'), [('0s', 0.0), (0, 0.0), ('1m', 60.0), ('100ms', 0.1)])
def test_rate_limit_intervals(interval, is_):
    """Durations as Prometheus writes them; 0 is no limit."""
    assert interval_seconds(RateLimit(interval=interval, burst=1)) == is_
