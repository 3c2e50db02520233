"""What is wrong now: the first page, and /api/v1/anomalies."""

from collections.abc import Mapping

from promlstm.serve.messages import Answer, Request
from promlstm.ui import anomalies
from promlstm.ui.context import Context
from promlstm.ui.handling import Routes, json, number, wants_gzip


def routes(context: Context) -> Routes:
    """The pages of this group."""

    def listing(given: Mapping[str, str]) -> tuple[anomalies.Asked, anomalies.Listing]:
        asked = anomalies.Asked(
            given.get('detector', ''), given.get('q', ''), given.get('state', ''), number(given, 'offset', 0, 0, 10_000_000),
            number(given, 'limit', anomalies.LIMIT, 1, anomalies.MOST),
        )  # fmt: skip
        return asked, anomalies.listing(context.board.present(context.statuses()), asked)

    def page(request: Request, given: Mapping[str, str]) -> Answer:
        asked, found = listing(given)
        return context.templates.page('now', gzip=wants_gzip(request), asked=asked, listing=found, statuses=context.statuses())

    def api(request: Request, given: Mapping[str, str]) -> Answer:
        return json(request, listing(given)[1])

    return {('GET', '/'): page, ('GET', '/api/v1/anomalies'): api}
