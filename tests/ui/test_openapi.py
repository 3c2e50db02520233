"""/api/v1/openapi.yml: it says of the API what the running server does, all of it, and nothing else."""

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from requirements import is_accept
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from servers import ROOT

from promlstm.serve import api
from promlstm.ui import specification


@pytest.fixture(scope='module')
def document(pages):
    return yaml.safe_load(pages.get(specification.PATH).text)


PARSED = ('match: ', 'entity: ', 'range: ', 'end: ', 'of: ')
PATHS = yaml.safe_load((ROOT / 'promlstm/ui/openapi.yml').read_text())['paths']
OPERATIONS = [
    (path, method.upper(), mode)
    for path, methods in PATHS.items()
    for method, said in methods.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or 'parameters' in said or 'requestBody' in said  # what takes nothing cannot be asked wrongly
]


@pytest.mark.parametrize(('path', 'method', 'mode'), OPERATIONS)
def test_what_is_answered_is_what_is_documented(pages, document, path, method, mode):
    """Requests that the document allows, and others: each answer has a status, a type and a form that stand there, and what is wrong is refused.

    Whoever asks for a change is refused, for these pages are served without `--web.enable-actions`; test_what_if.py and test_feedback_page.py have the others.
    """
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=pages.url)
    statuses = set()

    @settings(max_examples=40 if is_accept() else 15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call(headers={'Accept-Encoding': 'identity'})
        # No schema says what a regular expression or a label set is, so a wrong one is refused, too; and a URL that is too long is not read at all.
        unread = answer.status_code in (403, 414) or (answer.status_code == 400 and answer.json()['error'].startswith(PARSED))
        case.validate_response(answer, excluded_checks=[positive_data_acceptance, negative_data_rejection] if unread else [])
        statuses.add(answer.status_code)

    ask()
    if method.upper() != 'GET':
        assert 403 in statuses and statuses <= {400, 403}
        return
    assert statuses & ({200, 404} if mode is GenerationMode.POSITIVE else {400, 404, 405})


def test_each_route_stands_in_the_document_and_no_other(pages, document):
    """Paths and methods of /api/v1 are those of the document."""
    ui = pages.site._pages.__self__
    routes = {(path, method.lower()) for method, path in ui._handlers if path.startswith('/api/')} | {(api.INCIDENTS, 'get')}
    assert routes == {(path, method) for path, methods in document['paths'].items() for method in methods}


def test_it_is_there_compressed_too(pages):
    """YAML, as RFC 9512 names it."""
    got = pages.get(specification.PATH, **{'Accept-Encoding': 'gzip'})
    assert (got.status_code, got.headers['Content-Type'], got.headers['Content-Encoding']) == (200, 'application/yaml; charset=utf-8', 'gzip')
    assert yaml.safe_load(got.text)['openapi'] == '3.1.0'
