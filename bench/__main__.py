"""Measure the cost and the quality of promlstm; each measurement prints a table of what it measured and how.

    python -m bench                                those marked with * below: what the exporter does all day
    python -m bench --json=bench.json              the same, also written to a file
    python -m bench step scrape                    these, one after the other
    python -m bench all                            all except those that take long
    python -m bench memory --entities=1000         one, with its options
    python -m bench memory --help                  what it measures and how, and its options
    python -m bench --entities=1000,100000         options without a name belong to `step`
"""

import contextlib
import importlib
import io
import json
import shutil
import sys
import textwrap

from bench import arguments, machine

NAMES = ('footprint', 'memory', 'step', 'detectors', 'today', 'scrape', 'start', 'checkpoint', 'collect', 'incidents', 'forecast', 'ui')
USUAL = ('step', 'scrape', 'start', 'checkpoint', 'detectors', 'churn', 'today')
LONG = ('churn', 'disks', 'failures', 'guard', 'history', 'queries', 'retrain', 'scaling', 'servers', 'tolerate')  # only where they are named


def main(given):
    """Run the measurements in sequence; returns the exit status."""
    first = next((n for n, argument in enumerate(given) if argument.startswith('-')), len(given))
    names, options = given[:first], given[first:]
    if not names and _parser(_listed()).parse_known_args(options)[1]:
        names = ['step']
    if unknown := next((name for name in names if name not in NAMES + LONG and names != ['all']), None):
        return _refused(f'unknown measurement {unknown!r}; expected one of {", ".join(NAMES + LONG)}, and all')
    if len(names) == 1 and names != ['all']:
        chosen = vars(_parser_of(*names).parse_args(options))
    else:
        found, others = _parser(_listed()).parse_known_args(options)
        if others:
            return _refused(f'{others[0]}: options need the name of one measurement before them')
        names, chosen = NAMES if names == ['all'] else names or USUAL, vars(found)
    _measure(names, **chosen)
    return 0


def _refused(text):
    print(f'bench: {text}', file=sys.stderr)
    return 2


def _parser(epilog=None):
    usage = 'python -m bench [NAME …] [--json FILE] [options of the one that is named]'
    return arguments.parser('bench', __doc__, usage=usage, epilog=epilog)


def _parser_of(name):
    """That of one measurement."""
    parser, measurement = arguments.parser(f'bench {name}', arguments.described(name)), importlib.import_module(f'bench.{name}')
    if hasattr(measurement, 'add_options'):
        measurement.add_options(parser)
    return parser


def _listed():
    """All measurements, each with the first line of its docstring."""
    width = shutil.get_terminal_size().columns - 2
    heads = {'measurements:': NAMES, 'measurements that take long, or need what others do not:': LONG}
    lines = []
    for head, names in heads.items():
        lines += [head]
        for name in names:
            first = arguments.described(name).splitlines()[0]
            mark = '*' if name in USUAL else ' '
            lines += textwrap.wrap(first, width, initial_indent=f'  {mark} {name:11}', subsequent_indent=' ' * 15)
        lines += ['']
    return '\n'.join(lines)


def _measure(names, json=None, **options):
    """Run measurements and print their tables; optionally write the output and the figures to a file."""
    about, figures, printed = machine.described(), {}, {}
    print(machine.line(about))
    for name in names:
        measurement = importlib.import_module(f'bench.{name}')
        print(f'\n{name}: {measurement.__doc__.splitlines()[0]}', flush=True)
        with contextlib.redirect_stdout(_Twice(sys.stdout)) as text:
            found = measurement.main(**options)
        figures |= {name: found} if found else {}
        printed[name] = text.getvalue().splitlines()
        if json:  # after each of them: what was measured for an hour is kept where a later one fails
            _write(json, about | {'load_after': machine.load(), 'figures': figures, 'printed': printed})


def _write(path, found):
    path.write_text(json.dumps(found, indent=1) + '\n')


class _Twice(io.StringIO):
    """A stream that also copies what is written to another stream."""

    def __init__(self, other):
        super().__init__()
        self._other = other

    def write(self, text):
        """As StringIO."""
        self._other.write(text)
        return super().write(text)

    def flush(self):
        """The other stream."""
        self._other.flush()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
