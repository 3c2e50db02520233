"""The commands that begin with a model in place of a recipe: `wrap`, `quantize`, `compare`. Their options, and what to do; nothing heavy before."""

import argparse
import re
import sys
from pathlib import Path

from promlstm.config import seconds

COMMANDS = ('wrap', 'quantize', 'compare')

WRAP = """the scaling, one line for each feature in the order of the model, either as it was standardised or as it was brought to 0…1:
  cpu: {mean: 0.42, std: 0.11}
  memory: {min: 0, max: 8.0e+9}

examples:
  python -m convert wrap their.keras --scaling scaling.yml --step 60s --out their.onnx
  python -m convert wrap saved_model/ --feature 'cpu: {mean: 0.42, std: 0.11}' --step 30s --output forecast --out their.onnx

What can be wrapped, and what its output has to be, stands in docs/families.md."""


def arguments():
    """The parser of all."""
    parser = argparse.ArgumentParser(prog='python -m convert')
    verbs = parser.add_subparsers(dest='command', required=True)
    wrap = verbs.add_parser(
        'wrap', help='a Keras model made elsewhere becomes a model file', description='Make a model file of a Keras model that was trained elsewhere.',
        epilog=WRAP, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    wrap.add_argument('model', type=Path, help='a .keras file or a SavedModel folder')
    given = wrap.add_mutually_exclusive_group(required=True)
    given.add_argument('--scaling', type=Path, metavar='FILE', help='how each feature was scaled, YAML')
    given.add_argument('--feature', action='append', metavar='LINE', help='a line of that file; once for each feature')
    wrap.add_argument('--step', type=_seconds, required=True, metavar='DURATION', help='the step that it was trained for, such as 60s')
    wrap.add_argument('--slowest-step', type=_seconds, metavar='DURATION', help='the slowest that it may serve (default: the same)')
    wrap.add_argument('--window', type=int, metavar='STEPS', help='steps of its window, where the model takes any number')
    wrap.add_argument('--output', choices=('probability', 'reconstruction', 'forecast'), help='what its output is (default: told from the shape)')
    wrap.add_argument('--name', metavar='NAME', help='of the model (default: of its file)')
    wrap.add_argument('--description', default='', metavar='TEXT', help='for people')
    wrap.add_argument(
        '--healthy', default='synthetic', metavar='WHAT',
        help='what to calibrate on: "synthetic", a folder of labelled telemetry DIR/ENTITY.npz, or "none" (default: synthetic)',
    )  # fmt: skip
    wrap.add_argument('--out', type=Path, required=True, metavar='FILE', help='the model file to write')
    small = verbs.add_parser('quantize', help='an int8 variant of a model file', description='Make an int8 variant, and tell what it cost and gained.')
    small.add_argument('model', type=Path, help='a model file')
    small.add_argument('recipe', type=Path, help='the recipe that it was made by')
    small.add_argument('--out', type=Path, required=True, metavar='FILE', help='the file to write; another than the model')
    two = verbs.add_parser('compare', help='two model files side by side', description='Explain two model files side by side: of the same run.')
    two.add_argument('model', metavar='A', help='a model file, such as the one in service, or builtin:NAME')
    two.add_argument('b', metavar='B', help='the other')
    two.add_argument('--recipe', type=Path, metavar='FILE', help='whose evaluation telemetry and gates to use (default: 96 entities at 60 and 300 s)')
    two.add_argument('--data', type=Path, metavar='DIR', help='labelled telemetry as well: DIR/SET/ENTITY.npz')
    two.add_argument('--html', type=Path, metavar='FILE', help='write a page with plots')
    two.add_argument('--json', action='store_true', help='print JSON')
    return parser


def _seconds(text):
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv):
    """Do it; 0, or 1 with the reason on standard error."""
    args = arguments().parse_args(argv)
    log = lambda text: print(text, file=sys.stderr, flush=True)      # noqa: E731 (for those below)
    if args.command != 'compare' and not args.model.exists():
        log(f'convert: {args.model}: no such file')
        return 1
    try:
        return {'wrap': _wrap, 'quantize': _quantize, 'compare': _compare}[args.command](args, log)
    except _known() as error:
        log(f'convert: {error}')
        return 1


def _known():
    from convert import calibrate, export, quantize, recipe, release, verify, wrap
    from promlstm.errors import BundleError

    return (
        wrap.WrapError, quantize.QuantizeError, export.ExportError, verify.VerifyError, calibrate.CalibrationError, release.ReleaseError,
        recipe.RecipeError, BundleError, OSError,
    )  # fmt: skip


def _wrap(args, log):
    from convert import wrap

    text = args.scaling.read_bytes() if args.scaling else '\n'.join(args.feature).encode()
    scaling = wrap.scaling(text, args.scaling or '--feature')
    foreign = wrap.read(args.model, scaling, output=args.output, width=args.window)
    name = args.name or re.sub('[^a-z0-9_-]', '-', args.model.stem.lower())
    low, high = args.step, args.slowest_step or args.step
    if not 0 < low <= high:
        raise wrap.WrapError(f'--slowest-step: got {high:g} s, expected at least --step ({low:g} s)')
    made = wrap.wrap(foreign, args.out, step_seconds=(low, high), name=name, description=args.description, healthy=args.healthy, log=log)
    log(f'{args.out}: {made.bundle.size_bytes} bytes, sha256 {made.bundle.sha256}')
    return 0


def _quantize(args, log):
    from convert import quantize, recipe
    from promlstm.engine import session

    if args.out.exists() and args.out.samefile(args.model):
        raise quantize.QuantizeError(f'{args.out}: is the model itself: an int8 variant never takes its place')
    if session.load(args.model).bundle.manifest.training.recipe != recipe.digest(args.recipe):
        log(f'{args.recipe}: is not the recipe that {args.model} was made by, or was changed since: what is measured is of another kind of telemetry')
    made = quantize.quantize(args.model, recipe.load(args.recipe), args.out, log)
    log(f'{args.out}: sha256 {made.bundle.sha256}')
    return 0


def _compare(args, log):
    from convert import compare

    return compare.run(args)
