"""The command line: `python -m convert all convert/recipes/default.yml` makes the default model from nothing.

The commands and their options are in arguments.py; here is what each of them calls. TensorFlow is imported only when a command needs it,
so that a mistake in an option or in the recipe is reported at once.
"""

import contextlib
import functools
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

FAILED, REFUSED, INTERRUPTED, STOPPED = 1, 3, 130, 143      # exit status
ONCE = {'wrap', 'quantize', 'compare', 'figures', 'healthy', 'graph'}  # commands that leave nothing before their end
BY_SETS = '; the sets that were finished are printed and written: --sets measures the others'


class Stopped(BaseException):
    """SIGTERM: drafts are removed and locks released on the way out, as after Ctrl-C."""


def main(argv=None):
    """Run a command; 0, or with the reason on standard error 1, 3 where the gates refuse the model, 130 after Ctrl-C, 143 after SIGTERM."""
    command = None
    try:
        from convert import arguments  # here, so that Ctrl-C is a sentence from the first moment on

        args = arguments.parse(argv)
        command = args.command
        with _stopping():
            status = COMMANDS.get(command, _stage)(args) or 0
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        return _ended(INTERRUPTED, 'interrupted', command)
    except Stopped:
        return _ended(STOPPED, 'stopped', command)
    except Exception as error:
        if text := _known(error):
            return _ended(FAILED, text)
        raise


def _known(error):
    """What to say of an error that a user can act on; None of any other, which is a fault of ours and shows where it happened."""
    from convert import files
    from convert.errors import ConvertError
    from promlstm.errors import PromlstmError

    if isinstance(error, OSError):
        path = error.filename or f'the output of the command, or a temporary file in {tempfile.gettempdir()}'
        return f'{path}: {files.reason(error) if error.errno in files.FULL else error.strerror or error}'
    return str(error) if isinstance(error, (ConvertError, PromlstmError)) else None


def _ended(status, text, command=None):
    from convert import progress

    if status != FAILED:
        again = '; nothing was written: run the same command again' if command in ONCE else '; the same command goes on'
        text += BY_SETS if command == 'benchmark' else again
    progress.say(f'convert: {text}')
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return status
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)        # or the interpreter tries once more at its end, and complains
    return status


@contextlib.contextmanager
def _stopping():
    """SIGTERM ends the command as Ctrl-C does; only the main thread can be told."""
    try:
        before = signal.signal(signal.SIGTERM, _stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_):
    raise Stopped


def _fetch(args):
    """The one stage that needs no TensorFlow, and may run where there is none."""
    from convert import lock, progress
    from convert.data import collect

    recipe = _forecast_recipe(args) or _recipe(args)
    work = _work(args, recipe)
    with contextlib.nullcontext() if args.part and args.part.number is not None else lock.held(work):
        collect.stage(args.recipe, recipe.data, work, log=progress.say, part=args.part)


def _stage(args):
    from convert import files, lock, progress

    if forecast := _forecast_recipe(args):
        return _forecast_model(args, forecast)
    recipe = _recipe(args)
    work = _work(args, recipe)
    out = args.out or work / f'{recipe.name}.onnx'
    _check_places(args, out)
    part = args.part if args.part and args.part.number is not None else None
    own = part.folder(work) if part else work
    files.folder(own)
    with lock.held(own):
        files.clean(own)
        _need_tensorflow()
        from convert import learning_curve, search, stages
        from convert.evaluation.gates import Refused

        job = stages.Job(args.recipe, recipe, work, out, args.data, progress.say, args.service, args.force, args.part)
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


def _forecast_recipe(args):
    """The recipe of a model that forecasts; None where it is of another family."""
    from convert import forecast_recipe, recipe

    if recipe.family_of(args.recipe) != forecast_recipe.FAMILY:
        return None
    found = forecast_recipe.load(args.recipe)
    return recipe.moved(found, args.until, time.time()) if args.until else found


def _forecast_model(args, recipe):
    """All stages of a model that forecasts, which has no calibration and is made as a whole."""
    from convert import files, lock, places, progress
    from convert.errors import ConvertError
    from convert.evaluation.gates import Refused

    if args.command != 'all':
        raise ConvertError(f'{args.command}: a model of family {recipe.family} is made as a whole: python -m convert all {args.recipe}')
    if args.service:
        raise ConvertError(f'--service: no option of family {recipe.family}: its gates compare with simple forecasts')
    places.labelled_sets(args.data, recipe.training.sets)
    work = _work(args, recipe)
    out = args.out or work / f'{recipe.name}.onnx'
    places.to_write(out)
    files.folder(work)
    with lock.held(work):
        files.clean(work)
        _need_tensorflow()
        from convert import forecast

        try:
            forecast.make(forecast.Order(args.recipe, recipe, work, out, args.data, progress.say, args.force))
        except Refused as error:
            progress.say(f'convert: {error}')
            return 0 if args.keep_on_refusal else REFUSED
    return 0


def _check_places(args, out):
    """What a stage will read and write, before it takes minutes."""
    from convert import places
    from convert.errors import ConvertError
    from promlstm.engine import session

    if args.data and (args.learning_curve or args.search):
        raise ConvertError(f'--data {args.data}: it is for the finished model, not for --learning-curve and --search: leave it out')
    if args.part and (args.learning_curve or args.search):
        raise ConvertError('--part: --learning-curve and --search are not divided: leave it out')
    places.labelled_sets(args.data)
    if args.service and args.service != 'none':
        path = session.resolve(args.service)
        if not path.exists():
            raise ConvertError(f'--service {args.service}: no such file')
        session.load(path)
    if args.command in ('all', 'release'):
        places.to_write(out)


def _recipe(args):
    from convert import recipe

    found = recipe.load(args.recipe)
    return recipe.moved(found, args.until, time.time()) if args.until else found


def _work(args, recipe):
    return args.work or Path('build') / recipe.name


def _wrap(args):
    from convert import places, progress

    places.to_read(args.model)
    places.to_write(args.out)
    if args.healthy not in ('synthetic', 'none'):
        from convert.data import labelled

        labelled.read(args.healthy)
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
    from convert import places, progress, recipe
    from convert.errors import ConvertError
    from promlstm.engine import session

    places.to_read(args.model)
    places.to_write(args.out)
    if args.out.exists() and args.out.samefile(args.model):
        raise ConvertError(f'{args.out}: is the model itself: choose another file for the int8 variant')
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
    from convert import compare, places, progress

    places.labelled_sets(args.data)
    if args.html:
        places.to_write(args.html)
    text = compare.compare(
        args.model, args.b, recipe_path=args.recipe, data=args.data, html=args.html, as_json=args.json, log=progress.say
    )
    print(text, end='')


def _benchmark(args):
    from convert import places, progress
    from promlstm.engine import session

    if args.root_cause:
        _root_cause(args)
        return
    if args.forecast:
        _forecast(args)
        return
    places.labelled_sets(args.data, args.sets)
    for model in args.model:
        session.load(session.resolve(model))
    _need_tensorflow()
    from convert import benchmark

    options = benchmark.Options(
        args.model, args.data, args.sets, args.out, args.json, args.errors, args.recurring_counts, args.standing, args.most_by_one_entity, args.processes
    )
    benchmark.run(options, functools.partial(print, flush=True), progress.say)


def _root_cause(args):
    from convert import places, progress
    from convert.evaluation import root_cause, root_cause_cases
    from promlstm.engine import session

    root_cause_cases.check(args.root_cause)
    if args.json:
        places.to_write(args.json)
    models = {name: session.load(session.resolve(name)) for name in dict.fromkeys(args.model)}
    say = functools.partial(print, flush=True)
    boards = [root_cause.run(loaded, name, args.root_cause, say, progress.say) for name, loaded in models.items()]
    if args.json:
        args.json.write_bytes(root_cause.encoded(boards))


def _forecast(args):
    from convert import places, progress
    from convert.evaluation import forecasting

    if args.json:
        places.to_write(args.json)
    sample = forecasting.SAMPLE if args.sample is None else args.sample
    options = forecasting.Options(args.forecast, tuple(args.model), args.sets, args.against, sample, args.json)
    forecasting.run(options, functools.partial(print, flush=True), progress.say)


def _figures(args):
    from convert.evaluation import figures
    from promlstm.engine import session

    print(figures.markdown(session.load(session.resolve(args.model)).bundle), end='')


def _healthy(args):
    from convert import progress
    from convert.evaluation import healthy
    from promlstm.engine import session

    steps = int(args.days * healthy.DAY / 60)
    track = functools.partial(progress.track, what='steps', total=steps, log=progress.say)
    counts = healthy.count(session.load(session.resolve(args.model)), days=args.days, entities=args.entities, progress=track)
    print(healthy.text(counts), end='')


def _graph(args):
    from convert import graph, places, progress
    from convert.errors import ConvertError
    from convert.evaluation import spreading
    from promlstm import config

    if args.simulated:
        steps = functools.partial(progress.track, what='steps', total=spreading.STEPS, log=progress.say)
        print('\n'.join(graph.simulated(args.simulated, steps)))
        return
    if not args.config:
        raise ConvertError('CONFIG: missing; give it, or --simulated N')
    places.to_write(args.out)
    found = graph.make(
        config.load(args.config), detectors=args.detector, wanted=args.label, days=args.days, now=time.time(), out=args.out, say=progress.say,
        progress=lambda name: functools.partial(progress.track, what=f'steps of {name}', log=progress.say),
    )  # fmt: skip
    print('\n'.join(found))


def _need_tensorflow():
    from convert import tensorflow_import

    try:
        tensorflow_import.load()
    except ModuleNotFoundError as error:
        from convert.errors import ConvertError

        extra = "making models needs the extra `train`: pip install '.[train]' in the clone"
        raise ConvertError(f'{error.name} is not installed: {extra}') from error


COMMANDS = {
    'fetch': _fetch, 'wrap': _wrap, 'quantize': _quantize, 'compare': _compare, 'benchmark': _benchmark, 'figures': _figures, 'healthy': _healthy,
    'graph': _graph,
}  # fmt: skip (all others are stages)

if __name__ == '__main__':
    sys.exit(main())
