"""Make the pictures of the documents: `python docs/pictures [PICTURE …]`, from a clone, with `pip install '.[train,pictures]'`.

A picture that cannot be made here is named with what is missing; the others are made, and the exit status is 1.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# This folder as the package `pictures`, and its modules not as modules of their own.
sys.path[:1] = [str(ROOT), str(ROOT / 'docs'), str(ROOT / 'tests/support')]

from pictures import IMAGES  # noqa: E402 (found by the line above)

BOARDS = ('overview', 'detector', 'exporter')


def main(argv=None):
    """Make what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser('python docs/pictures', description='Make docs/images from the real programs; all takes seven minutes.')
    parser.add_argument('picture', nargs='*', metavar='PICTURE', help=f'only these, of {", ".join(IMAGES)} (default: all)')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/images', metavar='DIR', help='where to write (default: docs/images)')
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.picture) - set(IMAGES)):
        parser.error(f'{", ".join(unknown)}: no such picture; there are {", ".join(IMAGES)}')
    wanted, failed = args.picture or list(IMAGES), False
    args.out.mkdir(parents=True, exist_ok=True)
    for group in dict.fromkeys(IMAGES[name] for name in wanted):
        names = [name for name in wanted if IMAGES[name] == group]
        if gap := missing(group):
            failed = True
            print(f'{", ".join(names)}: not made, {gap}', file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix='promlstm-pictures-') as directory:
            made = MAKERS[group](Path(directory), say(group))
        for name in names:
            (args.out / name).write_bytes(made[name] if isinstance(made[name], bytes) else made[name].encode())
            print(f'{args.out / name}')
    return int(failed)


def missing(group):
    """What a group of pictures needs and is not here, in words; empty = nothing."""
    if group == 'demo' and importlib.util.find_spec('pyte') is None:
        return "the terminal emulator pyte is missing: pip install '.[pictures]'"
    if group == 'dashboards':
        import servers

        gone = [name for name in ('prometheus', 'promtool') if not os.access(servers.TOOLS / name, os.X_OK)]
        return f'{" and ".join(gone)} missing in {servers.TOOLS}: make tools' if gone else ''
    if group == 'report' and importlib.util.find_spec('tensorflow') is None:
        return "convert needs TensorFlow: pip install '.[train]'"
    if group in ('pages', 'report'):
        from pictures import pages

        return pages.missing()
    return ''


def say(group):
    """A function that prints a line of progress with the time that has passed."""
    began = time.monotonic()
    return lambda words: print(f'{group} {time.monotonic() - began:4.0f} s  {words.strip()}', file=sys.stderr, flush=True)


def demo(_directory, log):
    """{file: text} of the demo's terminal."""
    from pictures import demo

    log('running promlstm demo')
    return {'demo.svg': demo.picture(ROOT)}


def dashboards(directory, log):
    """{file: text} of the dashboards."""
    from pictures import history, panels

    made, span = {}, panels.Span(history.BEGIN, history.end())
    with history.prometheus(directory, log) as prometheus:

        def ask(expr, step):
            return prometheus.query(expr, span.end) if step is None else prometheus.query_range(expr, span.begin, span.end, step)

        for name in BOARDS:
            board = json.loads((ROOT / f'rules/dashboards/{name}.json').read_text())
            chosen = (history.DETECTOR, history.DETECTOR) if name == 'detector' else ('.*', 'All')
            made[f'dashboard-{name}.svg'] = panels.drawn(board, ask, span, {'detector': chosen})
    return made


def report(directory, log):
    """{file: bytes} of the page of a report."""
    from pictures import report

    return {'report.png': report.picture(directory, log)}


def pages(directory, log):
    """{file: bytes} of the first screens of pages."""
    from pictures import pages

    return {f'page-{name}.png': made for name, made in pages.pictures(directory, log).items()}


MAKERS = {'demo': demo, 'dashboards': dashboards, 'report': report, 'pages': pages}

if __name__ == '__main__':
    sys.exit(main())
