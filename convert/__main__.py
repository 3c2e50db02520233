"""The command line: `python -m convert all convert/recipes/default.yml` makes the default model from nothing.

The stages are listed in make.STAGES; each can be run alone on the work folder that the ones before left.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from convert import model_commands

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

EPILOG = """options are those of all stages; a stage takes what concerns it.
stages, in order (what each reads and leaves in the work folder stands at the top of convert/stages.py):
  fetch      history of the exporter's own detectors out of Prometheus, incidents, and a report of its quality (docs/training-data.md)
  train      learn the weights from synthetic telemetry and, with a data section, from your own
  export     the network and its rule as one ONNX graph; operators are counted
  verify     TensorFlow and ONNX Runtime agree over 500 carried steps; write the proof
  calibrate  replay the ONNX file over healthy telemetry: surprise against alarms per entity-week
  evaluate   replay it over injected faults and, with --data, over labelled telemetry, beside simple baselines
  release    graph, manifest, calibration and proof in one file, read back before it gets its name, if the gates let it pass

commands that begin with a model (each with --help of its own):
  wrap       a Keras model that was trained elsewhere becomes a model file
  quantize   an int8 variant of a model file, with what it cost and gained
  compare    two model files side by side, measured on the same telemetry in the same run (docs/retraining.md)

example:
  python -m convert all convert/recipes/default.yml
  python -m convert fetch own.yml
  python -m convert evaluate convert/recipes/default.yml --data DIR
  python -m convert evaluate own.yml --learning-curve
  python -m convert all own.yml --until today --keep-on-refusal     (a monthly job)
  python -m convert compare promlstm/models/default.onnx build/own/own.onnx"""

REFUSED = 3     # exit status

STAGES = ('fetch', 'train', 'export', 'verify', 'calibrate', 'evaluate', 'release')


def arguments():
    """The parser; it imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog='python -m convert', description='Make a promlstm model.', epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('stage', choices=('all', *STAGES), help='one stage, or all of them')
    parser.add_argument('recipe', type=Path, help='the recipe, a YAML file (convert/recipes/default.yml)')
    parser.add_argument('--work', type=Path, metavar='DIR', help='where stages leave what they made (default: build/NAME)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='the model file that release writes (default: WORK/NAME.onnx)')
    parser.add_argument('--data', type=Path, metavar='DIR', help='labelled telemetry to evaluate on: DIR/SET/ENTITY.npz (default: none)')
    parser.add_argument(
        '--service', metavar='FILE',
        help='the model in service, to be compared with: a file, builtin:NAME, or none (default: the file at --out, else builtin:default)',
    )  # fmt: skip
    parser.add_argument('--learning-curve', action='store_true', help='evaluate: how much data is enough, by models made from growing parts of it')
    parser.add_argument('--search', action='store_true', help='evaluate: families and sizes, and the smallest that cannot be told from the best')
    parser.add_argument('--until', metavar='DAY', help="move the spans of the recipe's data so that the last ends there: a date, or today (last midnight, UTC)")
    parser.add_argument('--keep-on-refusal', action='store_true', help='end with status 0 where the gates refuse: the model in service stays')
    parser.add_argument('--force', action='store_true', help='release whatever the gates say (the report keeps the reasons)')
    return parser


def main(argv=None):
    """Run the stages asked for; 0, or with the reason on standard error 1, or 3 where the gates refuse what was made."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] and argv[0] in model_commands.COMMANDS:
        return model_commands.main(argv)
    args = arguments().parse_args(argv)
    from convert import recipe  # before the heavy imports: a mistake in the recipe is told at once

    try:
        told = recipe.load(args.recipe)
        told = recipe.moved(told, args.until, time.time()) if args.until else told
    except recipe.RecipeError as error:
        return _failed(error)
    return _fetch(args, told) if args.stage == 'fetch' else _make(args, told)


def _fetch(args, told):
    """The one stage that needs no TensorFlow, and may run where there is none."""
    from convert.data import collect

    try:
        collect.stage(args.recipe, told.data, args.work or Path('build') / told.name, log=_log)
    except collect.DataError as error:
        return _failed(error)
    return 0


def _make(args, told):
    try:
        import keras  # noqa: F401 (the first of what the extra brings)
    except ModuleNotFoundError as error:
        return _failed(f"{error.name} is not installed: making models needs the extra `train`: pip install '.[train]' in the clone")
    from convert import calibrate, export, release, stages, verify
    from convert.data.spans import DataError
    from convert.evaluation import gates
    from convert.families import classifier, training
    from promlstm.errors import BundleError

    work = args.work or Path('build') / told.name
    job = stages.Job(args.recipe, told, work, args.out or work / f'{told.name}.onnx', args.data, _log, args.service, args.force)
    known = (
        DataError, stages.StageMissing, training.TrainingError, classifier.NoLabels, export.ExportError, verify.VerifyError, calibrate.CalibrationError,
        release.ReleaseError, BundleError,
    )  # fmt: skip
    try:
        if args.service and job.in_service and not job.in_service.exists():
            return _failed(f'--service {args.service}: no such file')
        _run(args, job)
    except gates.Refused as error:
        _failed(error)
        return 0 if args.keep_on_refusal else REFUSED
    except known as error:
        return _failed(error)
    return 0


def _run(args, job):
    from convert import learning_curve, search, stages

    if args.stage == 'evaluate' and (args.learning_curve or args.search):
        if args.learning_curve:
            learning_curve.curve(job)
        if args.search:
            search.search(job)
    elif args.stage == 'all':
        stages.run_all(job)
    else:
        stages.run(job, (args.stage,))


def _log(text):
    print(text, file=sys.stderr, flush=True)


def _failed(error):
    print(f'convert: {error}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
