"""The command line of `python -m convert`: one parser with a parser for each command. It imports nothing heavy.

A command takes only the options that it uses; argparse refuses all others. What a command then does is in __main__.py.
"""

import argparse
import textwrap
from pathlib import Path
from typing import NamedTuple

from convert import option_types

EPILOG = """\
examples:
  python -m convert all convert/recipes/default.yml
  python -m convert all own.yml --until today --keep-on-refusal     (every month)
  python -m convert compare promlstm/models/default.onnx build/own/own.onnx

The commands fetch to release are the stages of `all`, in order: each uses the
work folder that the previous stages wrote.
`python -m convert COMMAND --help` shows what a command reads and leaves (writes),
and its options."""


class Stage(NamedTuple):
    """A command that takes a recipe: a line for the list, what it reads and leaves, an example, and its options beside --work."""

    summary: str
    description: str
    example: str
    options: tuple[str, ...] = ()


STAGES = {
    'fetch': Stage(
        'read history of your own detectors from Prometheus or files',
        'Reads what the section `data` of the recipe selects: history from Prometheus, or CSV and Parquet files, and the incidents to '
        'exclude. Leaves data/ in the work folder: the telemetry, incidents.json, and a report of its quality (quality.json, quality.txt). '
        'A second run fetches only what is missing. Needs no TensorFlow.',
        'python -m convert fetch own.yml --until today',
        ('until', 'part'),
    ),
    'train': Stage(
        'train the network on synthetic telemetry and on your own',
        'Reads the recipe and, if it has a section `data`, what fetch left. Leaves weights.weights.h5, training.json, learning.json and '
        'training.log in the work folder.',
        'python -m convert train own.yml',
        ('until',),
    ),
    'export': Stage(
        'convert the trained network to an ONNX graph',
        'Reads weights.weights.h5. Leaves graph.onnx: the network and its rules as one graph with checked operators.',
        'python -m convert export own.yml',
    ),
    'verify': Stage(
        'prove that TensorFlow and ONNX Runtime agree',
        'Reads weights.weights.h5 and graph.onnx, and runs both over 500 steps with missing samples. Leaves proof.json, which the exporter '
        'replays each time it loads the model.',
        'python -m convert verify own.yml',
    ),
    'calibrate': Stage(
        'count the alarms on healthy telemetry for each surprise',
        'Reads training.json, graph.onnx and proof.json, and replays the graph over healthy telemetry: synthetic, or the healthy '
        'time of the labelled sets that the recipe names, if --data has them. Leaves calibration.json: alarms per entity-week for each surprise.',
        'python -m convert calibrate own.yml',
        ('data',),
    ),
    'evaluate': Stage(
        'compare it with baselines and the model in service',
        'Reads training.json, graph.onnx, proof.json and calibration.json, and measures the model, the model in service and simple baselines '
        'on the same telemetry: injected faults, your test spans, labelled sets. Leaves evaluation.json, report.txt, report.json and '
        'report.html.',
        'python -m convert evaluate own.yml --service promlstm/models/default.onnx',
        ('out', 'data', 'service', 'until', 'part', 'experiments'),
    ),
    'release': Stage(
        'write the model file, if it passes the gates',
        'Reads what the previous stages left. Leaves the model file: graph, manifest, calibration and proof, read back before it gets its '
        'name. If the gates find it worse than the model in service or a baseline, it writes nothing and exits with status 3.',
        'python -m convert release own.yml --out own.onnx',
        ('out', 'force', 'keep'),
    ),
    'all': Stage(
        'run all of these stages except those that are up to date',
        'Reads the recipe. Leaves the model file, and the files of each stage in the work folder. A second run skips stages whose recipe, '
        'data and tools have not changed, and continues after an interruption.',
        'python -m convert all own.yml --out own.onnx --until today',
        ('out', 'data', 'service', 'until', 'force', 'keep'),
    ),
}

WRAP = """\
the scaling: a line for each feature in the order of the model, with mean and
std if it was standardised, or min and max if it was scaled to 0…1:
  cpu: {mean: 0.42, std: 0.11}
  memory: {min: 0, max: 8.0e+9}

examples:
  python -m convert wrap their.keras --scaling scaling.yml --step 60s --out their.onnx
  python -m convert wrap saved_model/ --feature 'cpu: {mean: 0.42, std: 0.11}' --step 30s --output forecast --out their.onnx"""


BENCHMARK = """\
how to read it: for one false alarm per entity-week, one threshold for all entities
of a set is found in hindsight, the same way for every method; the gain is the
first model's recall minus that of the row, with its 90 % interval. An event recurs
if one as large came at the same time of day on two of the previous seven days.
docs/how-to/benchmark.md says where to get labelled sets and how to make your own.
--root-cause measures how often an incident's cause is named: docs/explanation/root-cause.md.
--forecast measures forecasts; those of the baselines if no MODEL is given. Its DIR may have
  SET/ENTITY.npz     labelled telemetry, as for --data: its healthy time is forecast
  NAME_hourly.npz    pairs of arrays SERIES_train and SERIES_test: samples of each hour,
                     and the hours that follow, such as M4's hourly series

examples:
  python -m convert benchmark builtin:default --data labelled/
  python -m convert benchmark own.onnx builtin:default --data labelled/ --sets WSD,NAB --errors --out benchmark/
  python -m convert benchmark own.onnx --data labelled/ --most-by-one-entity 0.1 --json figures.json
  python -m convert benchmark --root-cause incidents/
  python -m convert benchmark --forecast labelled/ --sets WSD,NAB --json forecasts.json
  python -m convert benchmark --forecast labelled/ --against AutoETS --sample 20"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Text of several lines as it is written, other text wrapped, and room for the longest name in the list of commands."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._action_max_length = 13        # argparse forgets that the names of commands are indented

    def _fill_text(self, text, width, indent):
        if '\n' in text:
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def parse(argv=None):
    """The arguments of a command line; `command` is the name of the command. A mistake exits with 2 and the usage of that command."""
    args, unknown = parser().parse_known_args(argv)
    refuse = vars(args).pop('refuse')
    if unknown:
        refuse(f'unrecognized arguments: {" ".join(unknown)}')
    if args.command == 'benchmark':
        _check_benchmark(args, refuse)
    return args


def _check_benchmark(args, refuse):
    """Models and labelled telemetry are needed, or recorded incidents, or series to forecast, but only one of these."""
    names = {
        '--data': args.data, '--root-cause': args.root_cause, '--forecast': args.forecast, '--sets': args.sets, '--out': args.out, '--errors': args.errors,
        '--recurring-counts': args.recurring_counts,
        '--most-by-one-entity': args.most_by_one_entity, '--against': args.against, '--sample': args.sample,
    }  # fmt: skip
    given = [name for name, value in names.items() if value not in (None, False, ())]
    takes = {'--root-cause': (), '--forecast': ('--sets', '--against', '--sample')}
    for what, options in takes.items():
        if what in given and (unfit := [name for name in given if name not in (what, *options)]):
            refuse(f'argument {what}: not allowed with {", ".join(unfit)}')
    if args.root_cause is not None:
        args.model = args.model or ['builtin:default']
    elif args.forecast is None:
        if missing := [name for name, value in (('MODEL', args.model), ('--data', args.data)) if not value]:
            refuse(f'the following arguments are required: {", ".join(missing)}')
        if unfit := [name for name in takes['--forecast'] if name in given and name != '--sets']:
            refuse(f'argument {unfit[0]}: only allowed with --forecast')


def parser():
    """The parser of all commands."""
    out = argparse.ArgumentParser(prog='python -m convert', description='Make a promlstm model.', epilog=EPILOG, formatter_class=_Formatter)
    commands = out.add_subparsers(dest='command', required=True, title='commands', metavar='COMMAND')
    for name, stage in STAGES.items():
        _stage(commands, name, stage)
    _wrap(commands)
    _quantize(commands)
    _compare(commands)
    _benchmark(commands)
    _figures(commands)
    _healthy(commands)
    _graph(commands)
    return out


def _command(commands, name, summary, description, epilog):
    out = commands.add_parser(name, help=summary, description=description, epilog=epilog, formatter_class=_Formatter)
    out.set_defaults(refuse=out.error)
    return out


def _stage(commands, name, stage):
    out = _command(commands, name, stage.summary, stage.description, f'example:\n  {stage.example}')
    out.set_defaults(out=None, data=None, service=None, until=None, force=False, keep_on_refusal=False, learning_curve=False, search=False, part=None)
    out.add_argument('recipe', type=Path, help='the recipe, a YAML file such as convert/recipes/default.yml')
    out.add_argument('--work', type=Path, metavar='DIR', help='the work folder (default: build/NAME)')
    for option in stage.options:
        OPTIONS[option](out)


def _out(out):
    out.add_argument('--out', type=Path, metavar='FILE', help='the model file to write (default: WORK/NAME.onnx)')


def _data(out):
    what = 'labelled telemetry to evaluate on, and to calibrate on if the recipe names sets: DIR/SET/ENTITY.npz (default: none)'
    out.add_argument('--data', type=Path, metavar='DIR', help=what)


def _service(out):
    out.add_argument(
        '--service',
        metavar='FILE',
        help='the model in service to compare with: a file, builtin:NAME, or none (default: the file at --out, else builtin:default)',
    )


def _until(out):
    out.add_argument(
        '--until', metavar='DAY', help='move the spans of the recipe so that the last one ends there: a date, or today (last midnight, UTC)'
    )


def _part(out):
    out.add_argument(
        '--part',
        type=option_types.part,
        metavar='NUMBER/OF',
        help='do one of several parts, 0/5 to 4/5, on a work folder that all of them share; auto/5: the part is the index of the pod in an indexed '
        'Kubernetes Job; all/5: combine the results of the parts (default: do everything)',
    )


def _experiments(out):
    out.add_argument('--learning-curve', action='store_true', help='instead of a report: how much data is enough, from models of growing parts of it')
    out.add_argument('--search', action='store_true', help='instead of a report: the best family and size, the smallest that is as good as the best')


def _force(out):
    out.add_argument('--force', action='store_true', help='release even if the gates refuse (the report has the reasons)')


def _keep(out):
    out.add_argument('--keep-on-refusal', action='store_true', help='exit with status 0 if the gates refuse: the model in service stays')


OPTIONS = {
    'out': _out, 'data': _data, 'part': _part, 'service': _service, 'until': _until, 'experiments': _experiments, 'force': _force, 'keep': _keep,
}  # fmt: skip


def _wrap(commands):
    out = _command(
        commands,
        'wrap',
        'make a model file from a Keras model that was trained elsewhere',
        'Reads a .keras file or a SavedModel folder, and how its features were scaled. Leaves a model file, verified against Keras and '
        'calibrated. docs/how-to/own-model.md lists which models can be wrapped, and what their output has to be.',
        WRAP,
    )
    out.add_argument('model', type=Path, help='a .keras file or a SavedModel folder')
    scaling = out.add_mutually_exclusive_group(required=True)
    scaling.add_argument('--scaling', type=Path, metavar='FILE', help='how each feature was scaled, YAML')
    scaling.add_argument('--feature', action='append', metavar='LINE', help='a line of such a file; repeat for each feature')
    out.add_argument('--step', type=option_types.duration, required=True, metavar='DURATION', help='the step that the model was trained for, such as 60s')
    out.add_argument('--slowest-step', type=option_types.duration, metavar='DURATION', help='the longest step that it may be used for (default: the same)')
    out.add_argument('--window', type=int, metavar='STEPS', help='steps of its window, if the model accepts any number')
    out.add_argument(
        '--output', choices=('probability', 'reconstruction', 'forecast'), help='what its output is (default: from the shape of the output)'
    )
    out.add_argument('--name', metavar='NAME', help='name of the model (default: that of its file)')
    out.add_argument('--description', default='', metavar='TEXT', help='a description for people')
    out.add_argument(
        '--healthy',
        default='synthetic',
        metavar='WHAT',
        help='what to calibrate on: "synthetic", a folder of labelled telemetry DIR/ENTITY.npz, or "none" (default: synthetic)',
    )
    out.add_argument('--out', type=Path, required=True, metavar='FILE', help='the model file to write')


def _quantize(commands):
    out = _command(
        commands,
        'quantize',
        'make an int8 variant of a model file',
        'Reads a model file and its recipe. Leaves a smaller model file with int8 LSTMs, its own proof and its own calibration, and prints '
        'the cost in accuracy and the gain in speed.',
        'example:\n  python -m convert quantize promlstm/models/forecaster.onnx convert/recipes/forecaster.yml --out forecaster-int8.onnx',
    )
    out.add_argument('model', type=Path, help='a model file')
    out.add_argument('recipe', type=Path, help='the recipe that it was made with')
    out.add_argument('--out', type=Path, required=True, metavar='FILE', help='the file to write, not the model itself')


def _compare(commands):
    out = _command(
        commands,
        'compare',
        'show two model files side by side',
        'Reads two model files and measures both on the same telemetry. Prints what differs and whether it matters; leaves only the '
        'page of --html.',
        'example:\n  python -m convert compare promlstm/models/default.onnx build/own/own.onnx --recipe own.yml --html compare.html',
    )
    out.add_argument('model', metavar='A', help='a model file, such as the one in service, or builtin:NAME')
    out.add_argument('b', metavar='B', help='the other model file')
    out.add_argument('--recipe', type=Path, metavar='FILE', help='use the evaluation telemetry and gates of this recipe (default: 96 entities at 60 and 300 s)')
    out.add_argument('--data', type=Path, metavar='DIR', help='also use labelled telemetry: DIR/SET/ENTITY.npz')
    out.add_argument('--html', type=Path, metavar='FILE', help='write a page with plots')
    out.add_argument('--json', action='store_true', help='print JSON')


def _benchmark(commands):
    out = _command(
        commands,
        'benchmark',
        'compare models with baselines on labelled telemetry',
        'Reads model files and labelled telemetry, and replays them with the code of the exporter: recall at a budget of false alarms, promised and '
        'actual false alarms of calibrated thresholds, injected faults by kind; compared with each model without its LSTM and with baselines. '
        'Prints a table for each set when it is finished; leaves only the files of --out and --json, which are rewritten after each set.',
        BENCHMARK,
    )
    out.add_argument('model', nargs='*', metavar='MODEL', help='a model file, or builtin:NAME; further ones are compared with the first')
    out.add_argument('--data', type=Path, metavar='DIR', help='labelled telemetry, DIR/SET/ENTITY.npz; read only')
    out.add_argument(
        '--root-cause',
        type=Path,
        metavar='DIR',
        help='instead: recorded incidents with a known cause, DIR/SCENARIO__ISSUE.npz, and simulated ones (default model: builtin:default)',
    )
    out.add_argument(
        '--forecast',
        type=Path,
        metavar='DIR',
        help='instead: series to forecast, DIR/SET/ENTITY.npz and DIR/NAME_hourly.npz, see below; MODEL, if any, is a forecast model',
    )
    out.add_argument('--against', metavar='ROW', help='for --forecast: the row that others are compared with (default: the first MODEL, or the seasonal naive)')
    out.add_argument(
        '--sample',
        type=option_types.number,
        metavar='N',
        help='for --forecast: number of series of a set that AutoETS, AutoTheta and Prophet forecast, if they are installed; 0 = none (default: 5)',
    )
    out.add_argument(
        '--sets', type=option_types.names, default=(), metavar='NAMES', help='only these sets, such as WSD,AIOPS (default: all, and injected faults)'
    )
    out.add_argument('--out', type=Path, metavar='PATH', help='write a page (if the name ends in .html), or page, text and JSON (into a folder)')
    out.add_argument('--json', type=Path, metavar='FILE', help='write all figures as JSON')
    out.add_argument('--errors', action='store_true', help='list the missed events and false alarms of the first model, and draw them in the page')
    out.add_argument(
        '--recurring-counts',
        action='store_true',
        help='add a row for each model without its memory of previous days, so that a daily event is an alarm every day',
    )
    out.add_argument(
        '--standing',
        type=option_types.standing,
        default=14_400.0,
        metavar='DURATION',
        help='an alarm that stands this long counts again; 0 = only once (default: 4h)',
    )
    out.add_argument(
        '--most-by-one-entity',
        type=option_types.share,
        metavar='SHARE',
        help="exit with status 1 if one entity has more than this share of a set's false alarms, such as 0.1",
    )
    out.add_argument('--processes', type=option_types.count, metavar='N', help='number of processes that replay (default: the number of cores, at most four)')


def _figures(commands):
    out = _command(
        commands,
        'figures',
        "print a model's own figures as Markdown tables",
        'Reads a model file. Prints the tables of its calibration and evaluation that the documentation shows. Needs no TensorFlow.',
        'example:\n  python -m convert figures promlstm/models/default.onnx',
    )
    out.add_argument('model', metavar='FILE', help='a model file, or builtin:NAME')


def _healthy(commands):
    out = _command(
        commands,
        'healthy',
        'count false alarms on healthy metrics of many shapes',
        'Replays a model over simulated metrics with the shapes of real fleets: nightly jobs, leader elections, saw teeth, counts, heavy tails. '
        'They have no faults, so every alarm is false. Prints a table by shape, and how many warnings and pages the shipped rules would raise. '
        'Needs no TensorFlow and no data; five minutes on one core.',
        'example:\n  python -m convert healthy builtin:default\n  python -m convert healthy own.onnx --days 30 --entities 6',
    )
    out.add_argument('model', metavar='FILE', help='a model file, or builtin:NAME')
    out.add_argument('--days', type=option_types.days, default=14, metavar='N', help='days to replay, at a step of a minute; 5 or more (default: 14)')
    out.add_argument('--entities', type=option_types.count, default=32, metavar='N', help='entities of each shape (default: 32)')


def _graph(commands):
    out = _command(
        commands,
        'graph',
        'learn dependencies from history',
        'Replays the detectors of a configuration over past weeks and finds which names (services, pods) become anomalous after which others. Leaves '
        'a file for root_cause.graph_file, for dependencies that no query returns. Finds only effects that take a step or more to arrive, and that '
        'were seen several times. Needs no TensorFlow.',
        'examples:\n  python -m convert graph promlstm.yml --label service --out graph.json\n  python -m convert graph --simulated 3',
    )
    out.add_argument('config', type=Path, nargs='?', metavar='CONFIG', help='a configuration of promlstm')
    out.add_argument('--days', type=option_types.count, default=14, metavar='N', help='days of history, until now (default: 14)')
    out.add_argument('--detector', action='append', default=[], metavar='NAME', help='only this detector; repeatable (default: all)')
    out.add_argument('--label', action='append', default=[], metavar='LABEL', help='label whose values are the names; repeatable (default: all linking labels)')
    out.add_argument('--out', type=Path, default=Path('graph.json'), metavar='FILE', help='the file to write (default: graph.json)')
    out.add_argument(
        '--simulated', type=option_types.count, metavar='N', help='learn from N simulated fleets instead, print precision and recall, and write nothing'
    )
