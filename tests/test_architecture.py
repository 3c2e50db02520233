"""The laws that a reader relies on, read from the source: imports go down the tiers, and the heavy side stays out of the light one.

Modules are looked at as they lie in the tree, so a new package or a new file at the top has to take its place in TIERS before its tests pass.
docs/architecture.md shows the same tiers; `python docs/generate.py` makes its table, and tests/test_docs.py compares the two.
"""

import ast
import configparser
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from servers import ROOT

# A package, or a module that belongs to none, imports only from lower tiers. `promlstm` itself runs before all others, so it builds on none.
TIERS = {
    'promlstm': 0,
    # what everything may build on
    'promlstm.errors': 1,
    'promlstm.durations': 1,
    'promlstm.logs': 1,
    'promlstm.terminal': 1,
    'promlstm.limits': 1,
    'promlstm.strict_yaml': 1,
    'promlstm.split': 1,
    # what a configuration holds; columns in, columns out; and the way to the samples
    'promlstm.settings': 2,
    'promlstm.engine': 2,
    'promlstm.query': 2,
    # what a user writes; text out
    'promlstm.card': 4,
    'promlstm.semantics': 3,
    'promlstm.config': 4,
    'promlstm.forecasts': 3,
    'promlstm.incidents': 3,
    'promlstm.serve': 3,
    # threads and time; replays
    'promlstm.advice': 5,
    'promlstm.check_edges': 5,
    'promlstm.check_forecasts': 6,
    'promlstm.check_page': 6,
    'promlstm.check_shards': 6,
    'promlstm.contact': 5,
    'promlstm.presets': 5,
    'promlstm.live': 5,
    'promlstm.backtest': 5,
    'promlstm.past_incidents': 5,
    # what a user starts
    'promlstm.check': 8,
    'promlstm.ui': 6,
    'promlstm.demo': 7,
    'promlstm.signals': 6,
    'promlstm.arguments': 8,
    'promlstm.__main__': 9,
    # making models
    'convert': 10,
    'convert.errors': 11,
    'convert.tensorflow_import': 11,
    'convert.progress': 11,
    'convert.files': 12,
    'convert.workers': 12,
    'convert.lock': 13,
    'convert.data': 14,
    'convert.families': 15,
    'convert.forecasts': 15,
    'convert.evaluation': 16,
    # what the pipeline works with
    'convert.recipe': 17,
    'convert.forecast_recipe': 18,
    'convert.correlated': 17,
    'convert.resume': 17,
    'convert.scalars': 16,
    'convert.export': 17,
    'convert.weights': 17,
    'convert.places': 17,
    'convert.verify': 18,
    'convert.calibrate': 18,
    'convert.release': 18,
    'convert.job': 18,
    'convert.forecast_file': 18,
    # the pipeline
    'convert.train': 19,
    'convert.forecast': 20,
    'convert.stages': 20,
    # commands that run it
    'convert.compare': 21,
    'convert.graph': 21,
    'convert.learning_curve': 21,
    'convert.quantize': 21,
    'convert.external': 21,
    'convert.without_lstm': 21,
    'convert.search': 22,
    'convert.wrap': 22,
    'convert.benchmark': 22,
    # the command line
    'convert.option_types': 22,
    'convert.arguments': 23,
    'convert.__main__': 24,
}

# Making models may build on what judges a sample and on the way to its samples, never on what runs or serves. The demo's fleet is the
# ground of the synthetic telemetry, and reports have the style and the charts of the exporter's pages.
CONVERT_MAY = {
    'promlstm', 'promlstm.errors', 'promlstm.strict_yaml', 'promlstm.logs', 'promlstm.terminal', 'promlstm.engine', 'promlstm.query',
    'promlstm.config', 'promlstm.card', 'promlstm.forecasts', 'promlstm.incidents', 'promlstm.demo.fleet', 'promlstm.demo.shop',
    'promlstm.ui.past',
    'promlstm.ui.standalone',
}  # fmt: skip

# Of these not even an indirect import: they are the training side, or weigh as much.
HEAVY = {'tensorflow', 'keras', 'tf2onnx', 'onnx', 'pandas', 'scipy', 'sklearn', 'convert'}

# Names that say nothing of what is inside, so that everything ends up there.
NAMELESS = {'utils', 'util', 'helpers', 'helper', 'common', 'misc', 'manager', 'base'}

# The name one imports, where it is not the name one installs.
IMPORT_NAMES = {'PyYAML': 'yaml', 'prometheus-client': 'prometheus_client'}


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {name_of(path): path for folder in ('promlstm', 'convert') for path in sorted((ROOT / folder).rglob('*.py'))}
PACKAGES = {name for name, path in MODULES.items() if path.name == '__init__.py'}
SUBPACKAGES = {name for name in PACKAGES if '.' in name}
OURS = {name: path for name, path in MODULES.items() if name.startswith('promlstm')}


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names of all that a file imports, anywhere in it, relative ones made absolute.

    `from a.b import c` counts as a.b.c, for c may be a module.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.relative_to(ROOT).parts
            above = package[: len(package) - node.level + 1] if node.level else ()
            names |= {'.'.join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return frozenset(names)


@functools.cache
def modules_imported(path: Path) -> frozenset[str]:
    """The modules of ours that a file imports: of `promlstm.engine.session.load` the longest part that is a module."""
    found = set()
    for name in imported(path):
        parts = name.split('.')
        if parts[0] in ('promlstm', 'convert'):
            found.add(next('.'.join(parts[:n]) for n in range(len(parts), 0, -1) if '.'.join(parts[:n]) in MODULES))
    return frozenset(found)


def room(module: str) -> str:
    """What has a tier: the sub-package that a module lies in, else the module itself."""
    package = '.'.join(module.split('.')[:2])
    return package if package in SUBPACKAGES else module


@pytest.mark.parametrize('module', MODULES)
def test_imports_go_down_the_tiers(module):
    """A module imports only from its own package and from lower tiers."""
    mine = room(module)
    assert mine in TIERS, f'{mine} has no tier: put it into TIERS of {Path(__file__).name}, above all that it builds on'
    upwards = {name for name in modules_imported(MODULES[module]) if room(name) != mine and TIERS[room(name)] >= TIERS[mine]}
    assert not upwards, f'{module}, tier {TIERS[mine]}, imports from its own tier or above: {sorted(upwards)}'


@pytest.mark.parametrize('package', sorted(SUBPACKAGES))
def test_no_circle_within_a_package(package):
    """The modules of a package can be put in an order in which each imports only those before it."""
    inside = {name: modules_imported(path) & {each for each in MODULES if room(each) == package} for name, path in MODULES.items() if room(name) == package}
    while free := [name for name, needs in inside.items() if not needs - {name}]:
        inside = {name: needs - set(free) for name, needs in inside.items() if name not in free}
    assert not inside, f'these import each other: {sorted(inside)}'


@pytest.mark.parametrize('package', sorted(SUBPACKAGES))
def test_a_package_has_one_front_door(package):
    """`__all__` of a package names modules that exist, its docstring says in a line what each is, and others import no other one."""
    path = MODULES[package]
    tree = ast.parse(path.read_text())
    (names,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert all(f'{package}.{name}' in MODULES for name in names)
    lines = {line.split()[0] for line in ast.get_docstring(tree, clean=False).splitlines() if line.startswith('    ')}
    assert lines == set(names), lines ^ set(names)
    for other, file in MODULES.items():
        if room(other) != package:
            private = {name for name in modules_imported(file) if room(name) == package} - {f'{package}.{name}' for name in names} - {package}
            assert not private, f'{other} imports {private}: not in __all__ of {package}'


@pytest.mark.parametrize('module', MODULES)
def test_nothing_private_crosses_a_package(module):
    """A name that begins with an underscore is imported by its own package only."""
    crossing = {
        name for name in imported(MODULES[module])
        if name.split('.')[0] in ('promlstm', 'convert') and name.split('.')[-1].startswith('_') and not name.endswith('__')
        and not name.startswith(room(module))
    }  # fmt: skip
    assert not crossing


@pytest.mark.parametrize('module', OURS)
def test_the_exporter_imports_only_what_it_installs(module):
    """Whatever promlstm imports is its own, in the standard library, or in install_requires of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    installed = {IMPORT_NAMES.get(name, name) for name in setup['options']['install_requires'].split()}
    assert not installed & HEAVY
    top = {name.split('.')[0] for name in imported(MODULES[module])}
    assert top - {'promlstm'} - set(sys.stdlib_module_names) <= installed


@pytest.mark.parametrize('module', [name for name in MODULES if name.startswith('convert')])
def test_making_models_builds_on_nothing_that_serves(module):
    """convert imports of promlstm only what judges a sample and what asks for samples."""
    used = {name for name in modules_imported(MODULES[module]) if name.startswith('promlstm')}
    above = {name for name in used if not {name, room(name)} & CONVERT_MAY}
    assert not above, f'{module} imports {above}'


def test_no_file_is_named_after_nothing():
    """No Python file has a name, or a part of one, that would fit any content."""
    files = [path for folder in ('promlstm', 'convert', 'tests') for path in (ROOT / folder).rglob('*.py')]
    assert [path for path in files if NAMELESS & set(path.stem.split('_'))] == []


# Run in a fresh interpreter: this one has imported half of all that by now.
IMPORT_ALL = """
import importlib, json, logging, sys, threading
import prometheus_client

families = list(prometheus_client.REGISTRY._names_to_collectors)
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps({
    'modules': sorted({name.split('.')[0] for name in sys.modules}),
    'threads': threading.active_count(),
    'handlers': len(logging.root.handlers),
    'registered': [name for name in prometheus_client.REGISTRY._names_to_collectors if name not in families],
}))
"""


@pytest.fixture(scope='module')
def after_import():
    """What an interpreter holds after it has imported every module of promlstm and done nothing else."""
    done = subprocess.run([sys.executable, '-c', IMPORT_ALL, *OURS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('\n') == 1, f'an import prints: {done.stdout}'
    return json.loads(done.stdout)


def test_no_import_pulls_in_the_heavy_side(after_import):
    """With every module of promlstm imported, none of the heavy packages is loaded, not even through another one."""
    assert HEAVY & set(after_import['modules']) == set()


def test_nothing_happens_at_import(after_import):
    """Importing starts no thread, sets up no logging and registers no metric in the global registry."""
    assert (after_import['threads'], after_import['handlers'], after_import['registered']) == (1, 0, [])
