"""The command line: `python -m convert all convert/recipes/default.yml` makes the default model from nothing.

The commands and their options are in arguments.py; here is what each of them calls. TensorFlow is imported only when a command needs it,
so that a mistake in an option or in the recipe is reported at once.
"""

import os
import re
import sys
import time
from pathlib import Path

from convert import arguments, progress
from convert.errors import ConvertError
from promlstm.errors import PromlstmError

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

FAILED, REFUSED, INTERRUPTED = 1, 3, 130        # exit status


def main(argv=None):
    """Run a command; 0, or with the reason on standard error 1, 3 where the gates refuse the model, 130 after Ctrl-C."""
    args = arguments.parse(argv)
    run = {'fetch': _fetch, 'wrap': _wrap, 'quantize': _quantize, 'compare': _compare, 'figures': _figures}.get(args.command, _stage)
    try:
        return run(args) or 0
    except (ConvertError, PromlstmError, OSError) as error:
        progress.say(f'convert: {error}')
        return FAILED
    except KeyboardInterrupt:
        progress.say('convert: interrupted')
        return INTERRUPTED


def _fetch(args):
    """The one stage that needs no TensorFlow, and may run where there is none."""
    from convert.data import collect

    recipe = _recipe(args)
    collect.stage(args.recipe, recipe.data, _work(args, recipe), log=progress.say)


def _stage(args):
    recipe = _recipe(args)
    _need_tensorflow()
    from convert import learning_curve, search, stages
    from convert.evaluation.gates import Refused

    work = _work(args, recipe)
    job = stages.Job(args.recipe, recipe, work, args.out or work / f'{recipe.name}.onnx', args.data, progress.say, args.service, args.force)
    if args.service and job.in_service and not job.in_service.exists():
        raise ConvertError(f'--service {args.service}: no such file')
    if args.learning_curve:
        learning_curve.run(job)
    if args.search:
        search.run(job)
    if args.learning_curve or args.search:
        return 0
    try:
        stages.run_all(job) if args.command == 'all' else stages.run(job, (args.command,))
    except Refused as error:
        progress.say(f'convert: {error}')
        return 0 if args.keep_on_refusal else REFUSED
    return 0


def _recipe(args):
    from convert import recipe

    found = recipe.load(args.recipe)
    return recipe.moved(found, args.until, time.time()) if args.until else found


def _work(args, recipe):
    return args.work or Path('build') / recipe.name


def _wrap(args):
    _need_file(args.model)
    _need_tensorflow()
    from convert import wrap

    text = args.scaling.read_bytes() if args.scaling else '\n'.join(args.feature).encode()
    scaling = wrap.scaling(text, args.scaling or '--feature')
    model = wrap.read(args.model, scaling, output=args.output, width=args.window)
    low, high = args.step, args.slowest_step or args.step
    if not 0 < low <= high:
        raise wrap.WrapError(f'--slowest-step: got {high:g} s, expected at least --step ({low:g} s)')
    name = args.name or re.sub('[^a-z0-9_-]', '-', args.model.stem.lower())
    made = wrap.wrap(
        model, args.out, step_seconds=(low, high), name=name, description=args.description, healthy=args.healthy, log=progress.say
    )
    progress.say(f'{args.out}: {made.bundle.size_bytes} bytes, sha256 {made.bundle.sha256}')


def _quantize(args):
    _need_file(args.model)
    from convert import recipe
    from promlstm.engine import session

    if args.out.exists() and args.out.samefile(args.model):
        raise ConvertError(f'{args.out}: is the model itself: an int8 variant never takes its place')
    chosen, digest = recipe.load(args.recipe), recipe.digest(args.recipe)
    if session.load(args.model).bundle.manifest.training.recipe != digest:
        progress.say(
            f'{args.recipe}: is not the recipe that {args.model} was made by, or was changed since: it is measured on other telemetry'
        )
    _need_tensorflow()
    from convert import quantize

    made = quantize.quantize(args.model, chosen, args.out, progress.say)
    progress.say(f'{args.out}: sha256 {made.bundle.sha256}')


def _compare(args):
    from convert import compare

    text = compare.compare(
        args.model, args.b, recipe_path=args.recipe, data=args.data, html=args.html, as_json=args.json, log=progress.say
    )
    print(text, end='')


def _figures(args):
    from convert.evaluation import figures
    from promlstm.engine import session

    print(figures.markdown(session.load(session.resolve(args.model)).bundle), end='')


def _need_file(path):
    if not path.exists():
        raise ConvertError(f'{path}: no such file')


def _need_tensorflow():
    try:
        import keras  # noqa: F401 (the first of what the extra brings)
    except ModuleNotFoundError as error:
        extra = "making models needs the extra `train`: pip install '.[train]' in the clone"
        raise ConvertError(f'{error.name} is not installed: {extra}') from error


if __name__ == '__main__':
    sys.exit(main())
