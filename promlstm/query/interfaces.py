"""What the way to the query API expects from outside: how an HTTP API is to be reached, and how queries are to be asked.

promlstm.config.Source is a QuerySource. This package imports nothing of it, for config builds on higher tiers.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol


class BasicAuth(Protocol):
    """User name and password file; config.BasicAuth is one."""

    @property
    def username(self) -> str: ...
    @property
    def password_file(self) -> str: ...


class Authorization(Protocol):
    """Scheme and file of credentials; config.Authorization is one."""

    @property
    def type(self) -> str: ...
    @property
    def credentials_file(self) -> str: ...


class TLS(Protocol):
    """Files of certificates; config.TLS is one."""

    @property
    def ca_file(self) -> str | None: ...
    @property
    def cert_file(self) -> str | None: ...
    @property
    def key_file(self) -> str | None: ...
    @property
    def insecure_skip_verify(self) -> bool: ...


class OAuth2(Protocol):
    """A client that gets its tokens from a token endpoint; config.OAuth2 is one."""

    @property
    def client_id(self) -> str: ...
    @property
    def client_secret_file(self) -> str: ...
    @property
    def token_url(self) -> str: ...
    @property
    def scopes(self) -> Sequence[str]: ...
    @property
    def endpoint_params(self) -> Mapping[str, str]: ...
    @property
    def tls_config(self) -> TLS | None: ...
    @property
    def proxy_url(self) -> str | None: ...


class Source(Protocol):
    """An HTTP API and how to reach it."""

    @property
    def url(self) -> str: ...
    @property
    def basic_auth(self) -> BasicAuth | None: ...
    @property
    def authorization(self) -> Authorization | None: ...
    @property
    def oauth2(self) -> OAuth2 | None: ...
    @property
    def tls_config(self) -> TLS | None: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def proxy_url(self) -> str | None: ...
    @property
    def max_response(self) -> int | None: ...
    @property
    def concurrency(self) -> int: ...


class QuerySource(Source, Protocol):
    """A query API: how to reach it, and how to ask."""

    @property
    def timeout(self) -> float: ...
    @property
    def method(self) -> Literal['auto', 'GET', 'POST']: ...
