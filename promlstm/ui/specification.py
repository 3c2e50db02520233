"""/api/v1/openapi.yml: what the API takes and gives, as OpenAPI 3.1. A test compares it with the routes and with what they answer."""

from collections.abc import Mapping
from importlib.resources import files

from promlstm.serve.handling import Routes, allow, wants_gzip
from promlstm.serve.messages import Answer, Request
from promlstm.serve.page import compressed
from promlstm.ui.context import Context

PATH = '/api/v1/openapi.yml'
_YAML = 'application/yaml; charset=utf-8'  # RFC 9512


def routes(_context: Context) -> Routes:
    """The pages of this group."""
    document = (files('promlstm.ui') / 'openapi.yml').read_bytes()
    packed = compressed(document)

    def specification(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given)
        gzip = wants_gzip(request)
        headers = {'Vary': 'Accept-Encoding'} | ({'Content-Encoding': 'gzip'} if gzip else {})
        return Answer(200, _YAML, [packed if gzip else document], headers)

    return {('GET', PATH): specification}
