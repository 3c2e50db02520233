"""The frame of a report as HTML: one file that opens anywhere and loads nothing, in the style of the exporter's pages.

Who calls it: report, scoreboard and learning_curve. In come a title and the parts of a page; out comes its text. Its policy lets it run no script.
"""

from html import escape

from promlstm.ui import standalone

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """main{max-width:1100px}h2{border-bottom:1px solid var(--line)}table{width:auto;font-size:13px;margin:.5em 0}
td,th{padding:2px 9px;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}tr.model td{background:var(--surface);font-weight:600}
.wide{overflow-x:auto}.bad{color:var(--anomalous);font-weight:600}.good{color:var(--good);font-weight:600}.note{color:var(--muted);font-size:13px}
.grid2{display:grid;grid-template-columns:1fr 1fr;gap:1em}@media(max-width:800px){.grid2{display:block}}
svg{width:100%;max-width:640px;height:auto;font-size:11px}svg text{fill:var(--text)}svg path{fill:none;stroke-width:1.3}.axis{stroke:var(--line-strong)}
.grid{stroke:var(--line)}.mark{stroke:var(--anomalous);stroke-dasharray:4 3}.end{text-anchor:end}.middle{text-anchor:middle}svg .title{fill:var(--muted)}
.legend{font-size:12px;margin:.2em 0}.legend i{display:inline-block;width:11px;height:11px;margin:0 4px 0 10px;border-radius:2px}
figure{margin:.6em 0}figcaption{font-size:12px;color:var(--muted)}"""


def document(title, parts, style=''):
    """The HTML of a report.

    title  text
    parts  HTML
    style  more rules for it
    """
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)}</title><style>{standalone.stylesheet("style.css", "chart.css")}{STYLE}{style}</style></head>'
        f'<body><main>{"".join(parts)}</main></body></html>\n'
    )
