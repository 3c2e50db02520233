"""Pages that people look at, and the JSON behind them, served by `promlstm run`. A view reads what steps left; it never touches a model.

    board          the newest step of each detector
    wording        values in their units, and reasons in words
    patterns       regular expressions of whoever asks, in linear time
    filtering      which rows are wanted: by labels, by a text
    naming         what tells an entity from the others of its detector
    anomalies      what is anomalous or missing now, ranked
    entities       all entities of a detector, page by page
    templates      the pages as HTML, and the files that they load
    context        what pages and the API read
    handling       how a page is answered
    now            what is wrong now: the first page, and /api/v1/anomalies
    detectors      what each detector does, and any of its entities
    layers         a graph in layers, as pixels
    onsets         when the alarms of an incident began, as bars
    incidents      all incidents, and one with its causes, onsets and graph
    specification  the document of the API
    site           which path answers what
"""

__all__ = [
    'anomalies', 'board', 'context', 'detectors', 'entities', 'filtering', 'handling', 'incidents', 'layers', 'naming', 'now', 'onsets', 'patterns', 'site',
    'specification', 'templates', 'wording',
]  # fmt: skip
