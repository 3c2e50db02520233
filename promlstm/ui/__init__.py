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
    window         the span of time that is shown, and how fine
    shapes         which entity the labels of a link mean
    subject        whose past is asked for
    promql         PromQL about one entity
    clients        the servers that pages ask
    asking         questions to them: once for all who want the answer, a few at once
    past           the past of an entity: columns on one grid
    series         answers of a server as columns of an entity
    observed       what was observed, by the expression of a detector
    history        the past of an entity, asked of Prometheus
    sparklines     the last hours of many entities
    silenced       which silences are about an entity
    present        one entity as of the newest step
    neighbours     what is strange at the same time
    links          URLs of an entity in Prometheus, Alertmanager and Grafana
    elsewhere      PromQL to copy, and links
    entity         one entity and its past: its page, /api/v1/entity and /api/v1/history
    now            what is wrong now: the first page, and /api/v1/anomalies
    detectors      what each detector does, and any of its entities
    layers         a graph in layers, as pixels
    onsets         when the alarms of an incident began, as bars
    incidents      all incidents, and one with its causes, onsets and graph
    specification  the document of the API
    site           which path answers what
    written        a configuration as its file has it
    proposal       other settings for a detector, out of a form
    timeline       how many entities alarm at a time
    alarm          an alarm of the past
    comparison     a span replayed with two settings
    rerun          a comparison in a process of its own
    jobs           one of these at a time, and what came of the last ones
    actions        who may change something
    what_if        other settings tried on the past: its page, and /api/v1/what-if
    silencing      the silence that says false alarm
    feedback       "this was a false alarm": its page, and /api/v1/silences
    standalone     a page as one file
    backtest_report  a backtest as such a page
"""

__all__ = [
    'actions', 'alarm', 'anomalies', 'asking', 'backtest_report', 'board', 'clients', 'comparison', 'context', 'detectors', 'elsewhere', 'entities', 'entity',
    'feedback', 'filtering', 'history', 'incidents', 'jobs', 'layers', 'links', 'naming', 'neighbours', 'now', 'observed', 'onsets',
    'past', 'patterns', 'present', 'promql', 'proposal', 'rerun', 'series', 'shapes', 'silenced', 'silencing', 'site', 'sparklines', 'specification',
    'standalone', 'subject', 'templates', 'timeline', 'what_if', 'window', 'wording', 'written',
]  # fmt: skip
