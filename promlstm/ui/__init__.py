"""Pages that people look at, and the JSON behind them, served by `promlstm run`. A view reads what steps left; it never touches a model.

    board      the newest step of each detector
    wording    values in their units, and reasons in words
    anomalies  what is anomalous or missing now, ranked
    templates  the pages as HTML, and the files that they load
    context    what pages and the API read
    handling   how a page is answered
    now        what is wrong now: the first page, and /api/v1/anomalies
    site       which path answers what
"""

__all__ = ['anomalies', 'board', 'context', 'handling', 'now', 'site', 'templates', 'wording']
