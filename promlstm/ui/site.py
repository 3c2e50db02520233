"""Which path answers what: pages as HTML, files, and JSON under /api/v1.

Who calls it: serve.site, for all paths that are not its own. What flows through: a Request whose path has no prefix; out comes an Answer, or None where
there is no such page. Answers are made in threads beside the event loop: one that asks Prometheus may take its time, and scrapes do not wait for it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from promlstm.serve.handling import BadQuery, Handler, NotFound, parameters, refusal, wants_gzip
from promlstm.serve.messages import Answer, Request, text
from promlstm.ui import detectors, entity, feedback, incidents, now, specification, what_if
from promlstm.ui.context import Context

THREADS = 4
PATIENT = ('/entity', '/feedback', '/api/v1/history', '/api/v1/silences')  # these ask others: they wait in threads of their own, so that pages never do
GROUPS = (now.routes, incidents.routes, detectors.routes, entity.routes, what_if.routes, feedback.routes, specification.routes)


class Ui:
    """All pages and the API behind them."""

    def __init__(self, context: Context) -> None:
        self._templates = context.templates
        self._threads, self._patient = (ThreadPoolExecutor(THREADS, name) for name in ('promlstm-ui', 'promlstm-ui-waits'))
        self._handlers: dict[tuple[str, str], Handler] = {}
        for group in GROUPS:
            self._handlers |= group(context)

    async def answer(self, request: Request) -> Answer | None:
        """The answer to a request; None = there is no such page, and nobody who reads pages has asked."""
        method = 'GET' if request.method == 'HEAD' else request.method
        if method == 'GET' and request.path.startswith('/static/'):
            return self._templates.file(request.path, gzip=wants_gzip(request))
        if handler := self._handlers.get((method, request.path)):
            threads = self._patient if request.path in PATIENT else self._threads
            return await asyncio.get_running_loop().run_in_executor(threads, self._answered, handler, request)
        allowed = sorted(method for method, path in self._handlers if path == request.path)
        if not allowed:
            return self._refused(request, NotFound(f'There is no page {request.path[:200]}.')) if method == 'GET' else None
        names = ', '.join(['HEAD', *allowed] if 'GET' in allowed else allowed)
        return text(405, f'Method not allowed. Allowed: {names}.\n', {'Allow': names})

    def _answered(self, handler: Handler, request: Request) -> Answer:
        try:
            return handler(request, parameters(request.query))
        except BadQuery as error:
            return self._refused(request, error)

    def _refused(self, request: Request, error: BadQuery) -> Answer:
        """What is wrong with what was asked: JSON for programs, a page for people."""
        if request.path.startswith('/api/'):
            return refusal(request, error.status, error.kind, str(error))
        return self._templates.page('refused', status=error.status, gzip=wants_gzip(request), why=str(error), nothing=error.status == 404)
