"""The frame of a report as HTML: one file that opens anywhere and loads nothing, in the style of the exporter's pages and with their charts.

Who calls it: report, scoreboard and learning_curve. In come a title and the parts of a page; out comes its text. Without charts it runs no script.
"""

from promlstm.ui import standalone

STYLE = """main{max-width:1100px}h2{border-bottom:1px solid var(--line)}table{width:auto;font-size:13px;margin:.5em 0}
td,th{padding:2px 9px;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}tr.model td{background:var(--surface);font-weight:600}
.wide{overflow-x:auto}.bad{color:var(--anomalous);font-weight:600}.good{color:var(--good);font-weight:600}.note{color:var(--muted);font-size:13px}
.grid2{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:1em}@media(max-width:800px){.grid2{display:block}}
svg{width:100%;max-width:640px;height:auto;font-size:11px}svg text{fill:var(--text)}svg path{fill:none;stroke-width:1.3}.axis{stroke:var(--line-strong)}
.grid{stroke:var(--line)}.mark{stroke:var(--anomalous);stroke-dasharray:4 3}.end{text-anchor:end}.middle{text-anchor:middle}svg .title{fill:var(--muted)}
.legend{font-size:12px;margin:.2em 0}.legend i{display:inline-block;width:11px;height:11px;margin:0 4px 0 10px;border-radius:2px}
figure{margin:.6em 0}figcaption{font-size:12px;color:var(--muted)}.event{margin:0 0 1.4em}.event h4{margin:.3em 0;font-size:13px;overflow-wrap:anywhere}
.event .canvas{height:150px!important}.event .small .canvas{height:64px!important}.event .small.dated .canvas{height:98px!important}"""


def document(title, parts, style='', charts=()):
    """The HTML of a report.

    title   text
    parts   HTML; `<div class="charts" data-chart="0">` is where the first chart is drawn
    style   more rules for it
    charts  what charts are drawn of, see promlstm.ui.past.Past.tree
    """
    scripts = {**standalone.CHARTS, 'data': {'charts': charts}} if charts else {}
    styles = ('style.css', 'chart.css', 'uplot.css') if charts else ('style.css', 'chart.css')
    return standalone.page('report', styles=styles, more_style=STYLE + style, title=title, main=''.join(parts), **scripts)
