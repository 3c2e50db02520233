"""Write docs/reference/metrics.md from the tables that the code exports from: `python docs/generate.py`. A test holds it to them."""

from pathlib import Path

from promlstm.serve.exposition import FAMILIES
from promlstm.serve.telemetry import METRICS

PAGE = Path(__file__).with_name('reference') / 'metrics.md'


def metrics():
    """The text of the page."""
    lines = [
        '# Metrics',
        '',
        'Made by `python docs/generate.py` from the tables in the code. All are gauges unless they end in `_total`.',
        '',
    ]
    lines += ['## Of the entities', '', 'Each carries `detector` and the labels of its entity.', '']
    lines += ['| metric | further labels | meaning |', '|---|---|---|']
    for name, (text, labels) in FAMILIES.items():
        further = ', '.join(f'`{label}`' for label in labels)
        lines.append(f'| `{name}` | {further and further + (" where there are several" if labels == ("feature",) else "")} | {text} |')
    lines += ['', '## Of the exporter', '', 'And those of the process (`process_…`) and of Python (`python_info`).', '']
    lines += ['| metric | labels | meaning |', '|---|---|---|']
    for name, (kind, text, labels) in METRICS.items():
        lines.append(f'| `{name}{"_total" if kind == "counter" else ""}` | {", ".join(f"`{label}`" for label in labels)} | {text} |')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    PAGE.write_text(metrics())
