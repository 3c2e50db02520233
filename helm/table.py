"""The table of values in the chart's README, made from the comments of values.yaml: `python helm/table.py`."""

import re
from pathlib import Path

import yaml

CHART = Path(__file__).parent / 'promlstm'
README = CHART / 'README.md'
BEGIN, END = '<!-- made by helm/table.py -->\n', '<!-- end -->\n'


def documented(text):
    """(path, comment) of every key that has a comment right above it, in order.

    >>> documented('# One\\n# of many\\na:\\n  # Two\\n  b: 1\\n  c: 2\\n')
    [('a', 'One of many'), ('a.b', 'Two')]
    """
    found, comment, above = [], [], []
    for line in text.splitlines():
        if match := re.match(r'( *)# ?(.*)', line):
            comment.append(match[2])
        elif match := re.match(r'( *)(\w+):', line):
            above = [*above[: len(match[1]) // 2], match[2]]
            if comment:
                found.append(('.'.join(above), ' '.join(comment)))
            comment = []
        else:
            comment = []
    return found


def leaves(values, above=''):
    """(path, default) of every value that is set at once: scalars, lists, and maps that are empty or stand in one line.

    >>> leaves({'a': {'b': 1, 'c': {}}, 'd': []})
    [('a.b', 1), ('a.c', {}), ('d', [])]
    """
    found = []
    for key, value in values.items():
        inner = isinstance(value, dict) and value and f'{above}{key}' not in WHOLE
        found += leaves(value, f'{above}{key}.') if inner else [(above + key, value)]
    return found


WHOLE = ('resources', 'dashboards.labels', 'retraining.resources', 'retraining.exclude.alerts')  # a map that is replaced key by key, and documented as one


def table():
    """The rows: each value with its default; a group's own comment stands before its values."""
    text = (CHART / 'values.yaml').read_text()
    comments, defaults = dict(documented(text)), dict(leaves(yaml.safe_load(text)))
    rows = ['| value | default | meaning |', '|---|---|---|']
    for path, comment in comments.items():
        shown = f'`{_inline(defaults[path])}`' if path in defaults else ''
        rows.append(f'| `{path}` | {shown} | {comment.replace("|", chr(92) + "|")} |')
    return '\n'.join(rows) + '\n'


def _inline(value):
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix('\n').removesuffix('\n...') or "''"


def page(text):
    """README with its table made anew."""
    return text.split(BEGIN)[0] + BEGIN + '\n' + table() + '\n' + END + text.split(END)[1]


if __name__ == '__main__':
    README.write_text(page(README.read_text()))
