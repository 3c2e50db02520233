"""A page as one file that opens from disk, years later too: styles, scripts and data are in it, and it asks nobody for anything.

Who calls it: backtest_report, and convert for its reports. What flows through: the name of a template; out comes HTML. Every text is escaped, data too,
and a policy in the file itself forbids what a page of the exporter is forbidden, but for what is inline. A page without a script may run none.
"""

import base64
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from promlstm.ui.templates import Templates

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
SCRIPTS = "script-src 'unsafe-inline' data:"
# What draws a Past (Past.tree) in each element with `data-chart`, the number of one in the list `charts` of the data.
CHARTS: dict[str, Any] = {'script': 'report.js', 'modules': ('uplot.js', 'units.js', 'columns.js', 'chart.js', 'times.js')}
_IMPORT = re.compile(r'((?:from|import)\s+)"\./([\w.-]+)"')


@cache
def _templates() -> Templates:
    return Templates()


def page(
    template: str, *, styles: Sequence[str], more_style: str = '', data: object = None, script: str = '', modules: Sequence[str] = (), **shown: Any
) -> str:
    """The HTML of a template.

    styles   names of stylesheets of the pages; `more_style` is text
    script   name of the module that is run, `modules` those that it and they import; '' = none
    data     what the module finds in the element `data`
    """
    parts = {'policy': f'{POLICY}; {SCRIPTS}' if script else POLICY, 'style': stylesheet(*styles) + more_style, 'script': ''}
    if script:
        parts |= {'imports': _imports(modules), 'script': _bare(_content(script)), 'data': embedded(data)}
    return _templates().text(template, **parts, **shown)


def stylesheet(*names: str) -> str:
    """Stylesheets of the pages, for an element `style`."""
    found = '\n'.join(_content(name) for name in names)
    assert '</' not in found
    return found


def embedded(data: object) -> str:
    r"""Data as JSON for an element `script`, which no text in it can end.

    >>> embedded({'a': '</script><!--'})
    '{"a":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = msgspec.json.encode(data).decode()
    for letter in '<>&\u2028\u2029':
        text = text.replace(letter, f'\\u{ord(letter):04x}')
    return text


def _imports(modules: Sequence[str]) -> str:
    """An import map: each module by its name, as a URL that holds it. Relative names mean nothing in such a URL, so they are made bare."""
    urls = {name: f'data:text/javascript;base64,{base64.b64encode(_bare(_content(name)).encode()).decode()}' for name in modules}
    return embedded({'imports': urls})


def _bare(module: str) -> str:
    r"""A module whose imports name other modules without a path.

    >>> print(_bare('import uPlot from "./uplot.js";\nimport "./times.js";'))
    import uPlot from "uplot.js";
    import "times.js";
    """
    assert '</' not in module
    return _IMPORT.sub(r'\1"\2"', module)


def _content(name: str) -> str:
    return _templates().content(name)
