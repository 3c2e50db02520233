"""Write what the reference pages take from the code: `python docs/generate.py`. A test compares the pages with it.

docs/reference/metrics.md is written whole, from the tables that the exporter exports from. In the other pages the tables between
`<!-- from CODE -->` and `<!-- end -->` get their names, types and defaults from the code; only the column `meaning` is written by hand, and
kept. A key without a meaning stops the script. The diagram in docs/architecture.md is drawn from the imports. What is said of the shipped
model comes from its file, see figures.py; `python docs/generate.py --families AUTOENCODER CLASSIFIER`, with the files of two released
models, writes down anew what docs/explanation/families.md compares.

It needs the environment of the tests, since tests/test_architecture.py knows the tiers.
"""

import importlib
import re
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'docs'), str(ROOT / 'tests'), str(ROOT / 'tests/support')]  # convert is not installed, nor are the tests

from promlstm.serve.exposition import FAMILIES, FORECASTS, INCIDENTS  # noqa: E402
from promlstm.serve.telemetry import METRICS  # noqa: E402

METRICS_PAGE = ROOT / 'docs/reference/metrics.md'
PAGES = (
    *(ROOT / name for name in ('README.md', 'docs/architecture.md', 'docs/get-started.md', 'docs/how-to/helm.md')),
    *sorted((ROOT / 'docs/explanation').glob('*.md')),
    *sorted((ROOT / 'docs/reference').glob('*.md')),
)
TABLE = re.compile(r'<!-- from ([\w.]+) -->\n(.*?)<!-- end -->\n', re.DOTALL)
DIAGRAM = re.compile(r'<!-- imports -->\n.*?<!-- end -->\n', re.DOTALL)
UNITS = (('d', 86400), ('h', 3600), ('m', 60), ('s', 1))


def page(path):
    """The text of a generated page as it should be."""
    from figures import with_figures

    return metrics() if path == METRICS_PAGE else DIAGRAM.sub(lambda _: imports(), with_figures(with_tables(path.read_text())))


def metrics():
    """The page of all metrics."""
    lines = [
        '# Metrics',
        '',
        'Which metrics does promlstm export, and what do they mean? This page is made by `python docs/generate.py` from the tables in the code. A metric is a',
        'gauge unless its name ends in `_total`.',
        '',
        '## Gauges of the entities',
        '',
        'Each gauge has the label `detector` and the labels of its entity.',
        '',
        '| metric | further labels | meaning |',
        '|---|---|---|',
    ]
    for name, (text, labels) in FAMILIES.items():
        further = ', '.join(f'`{label}`' for label in labels)
        lines.append(f'| `{name}` | {further and further + (" if the detector has several" if labels == ("feature",) else "")} | {text} |')
    lines += [
        '', '## Gauges of forecasts', '',
        'For detectors with `forecast`. As above, each gauge has the label `detector` and the labels of its entity, and `feature` if the detector has',
        'several. [Forecasts](../how-to/forecasts.md) shows how to use them.', '', '| metric | further labels | meaning |', '|---|---|---|',
    ]  # fmt: skip
    for name, (text, labels) in FORECASTS.items():
        lines.append(f'| `{name}` | {", ".join(f"`{label}`" for label in labels)} | {text} |')
    lines += [
        '', '## Gauges of incidents', '',
        'For all detectors together. Gauges with the label `detector` also have the labels of their entity. If the cause is a whole, such as a service of',
        'several pods, `promlstm_incident_cause_score` has only its name, and an empty `detector`. The [API](api.md) has the members and the reasons.',
        '', '| metric | labels | meaning |', '|---|---|---|',
    ]  # fmt: skip
    for name, (text, labels) in INCIDENTS.items():
        lines.append(f'| `{name}` | {", ".join(f"`{label}`" for label in labels)} | {text} |')
    lines += ['', '## Metrics of the exporter', '', 'There are also metrics of the process (`process_…`) and of Python (`python_info`).', '']
    lines += ['| metric | labels | meaning |', '|---|---|---|']
    for name, (kind, text, labels) in METRICS.items():
        lines.append(f'| `{name}{"_total" if kind == "counter" else ""}` | {", ".join(f"`{label}`" for label in labels)} | {text} |')
    return '\n'.join(lines) + '\n'


def imports():
    """The imports between packages as a Mermaid diagram, without those that follow from others.

    Left out are the modules at the bottom: they stand in no package and import none. The other modules at the top of convert are one node.
    """
    import test_architecture as architecture

    edges = {}
    for module, path in architecture.MODULES.items():
        for other in architecture.modules_imported(path):
            edges.setdefault(_node(module), set()).add(_node(other))
    edges = {node: {other for other in others if other and other != node} for node, others in edges.items() if node}
    lines = ['<!-- imports -->', '```mermaid', 'flowchart TD']
    lines += [f'    {node.replace(".", "_")}["{node}"]' for node in sorted(edges)]
    for node in sorted(edges):
        implied = {far for near in edges[node] for far in _reached(edges, near)}
        lines += [f'    {node.replace(".", "_")} --> {other.replace(".", "_")}' for other in sorted(edges[node] - implied)]
    return '\n'.join([*lines, '```', '<!-- end -->', ''])


def _node(module):
    """The node of a module in the diagram; none where the module stands at the bottom."""
    import test_architecture as architecture

    room = architecture.room(module)
    if room in architecture.SUBPACKAGES:
        return room
    below = {other for other in architecture.modules_imported(architecture.MODULES[module]) if other != room}
    if not any(_node(other) for other in below):
        return None
    return 'convert' if room.startswith('convert') else room


def _reached(edges, node):
    """All that can be reached from a node, which there is no circle to."""
    return {far for near in edges.get(node, ()) for far in (near, *_reached(edges, near))}


def with_tables(text):
    """A page with its tables as the code says."""
    return TABLE.sub(lambda match: f'<!-- from {match[1]} -->\n{_table(match[1], match[2])}<!-- end -->\n', text)


def _table(code, before):
    """The rows of a struct's keys or of a dict of tensors; meanings are taken from the table that was there."""
    meanings = dict(re.findall(r'^\| `([^`]+)` \|.*\| ([^|]*(?:\\\|[^|]*)*) \|$', before, re.MULTILINE))
    module, name = code.rsplit('.', 1)
    subject = getattr(importlib.import_module(module), name)
    if code == 'test_architecture.TIERS':
        head, rows = ('module', 'tier'), {key: (str(tier),) for key, tier in subject.items()}
    elif isinstance(subject, dict):
        head, rows = ('tensor', 'type', 'shape'), {key: (dtype, f'[{", ".join(axes)}]') for key, (dtype, axes) in subject.items()}
    else:
        head, rows = ('key', 'default'), {field.encode_name: (_default(subject, field),) for field in _fields(subject)}
    if missing := [key for key in rows if not meanings.get(key, '').strip()]:
        raise SystemExit(f'docs/generate.py: {code}: write a meaning for {", ".join(missing)}')
    lines = [(*head, 'meaning'), ('---',) * (len(head) + 1), *((f'`{key}`', *cells, meanings[key]) for key, cells in rows.items())]
    return ''.join('|---' * len(line) + '|\n' if line[0] == '---' else f'| {" | ".join(line)} |\n' for line in lines)


def _fields(struct):
    """Its own first, then those that it shares with others."""
    fields = [field for field in msgspec.structs.fields(struct) if not field.encode_name.startswith('-')]
    return sorted(fields, key=lambda field: field.name not in struct.__annotations__)


def _default(struct, field):
    """The default of a key as a reader would write it."""
    from convert import recipe

    if struct is recipe.Recipe and field.name in recipe.BORROWED:
        return 'shipped'
    if field.required:
        return 'required'
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return 'see below'
    return 'none' if value in (None, '', ()) else f'`{_written(value)}`'


def _written(value):
    """A value as YAML has it.

    >>> [_written(value) for value in (0.0, 0.25, 1_000_000, (1, 2), False, {}, 'auto', ':')]
    ['0', '0.25', '1000000', '[1, 2]', 'false', '{}', 'auto', '":"']
    """
    from promlstm.config import Duration, Size

    if isinstance(value, Duration):
        unit, size = next(((unit, size) for unit, size in UNITS if value and value % size == 0), ('', 1))
        return f'{value / size:g}{unit}'
    if isinstance(value, Size):
        return f'{value // 1_000_000}MB'
    if isinstance(value, tuple):
        return f'[{", ".join(_written(each) for each in value)}]'
    if isinstance(value, bool):
        return str(value).lower()
    if value == ':':
        return '":"'
    return f'{value:g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--families']:
        from figures import record

        record(sys.argv[2:])
    for path in PAGES:
        path.write_text(page(path))
