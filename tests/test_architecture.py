"""The laws that a reader relies on, read from the source: imports go down the tiers, and the heavy side stays out of the light one.

Modules are looked at as they lie in the tree, so a new one has to take its place in TIERS before its tests pass.
"""

import ast
import configparser
import json
import subprocess
import sys
from pathlib import Path

import pytest
import real

PACKAGE = real.ROOT / 'promlstm'
CONVERT = real.ROOT / 'convert'
MODULES = {path.stem: path for path in sorted(PACKAGE.rglob('*.py'))}

# A module imports only from lower tiers. __init__ runs before every other module, so it can build on none.
TIERS = {
    # what everything may build on
    '__init__': 0,
    'errors': 0,
    'labels': 1,
    'columns': 1,
    'clock': 1,
    'logs': 1,
    # formats and arithmetic: no I/O
    'bundle': 2,
    'config': 2,
    'score': 2,
    'season': 2,
    'entities': 2,
    'exposition': 2,
    'fleet': 2,
    'selector': 2,
    'table': 2,
    # one edge or one holder of memory each
    'http': 3,
    'prometheus': 4,
    'session': 3,
    'checkpoint': 3,
    'history': 3,
    'memory': 3,
    'board': 3,
    'answers': 3,
    'ledger': 3,
    'presets': 3,
    # the order of the stages; convert builds on nothing above
    'detector': 4,
    # what runs detectors and serves what they say
    'telemetry': 5,
    'server': 5,
    'source': 5,
    'runner': 5,
    'backtest': 5,
    'display': 5,
    'scheduler': 6,
    # what a user starts
    'check': 7,
    'demo': 7,
    '__main__': 8,
}

# What making models may build on: all that judges a sample, nothing that serves.
CONVERT_TIER = 4

# Of these not even an indirect import: they are the training side, or weigh as much.
HEAVY = {'tensorflow', 'keras', 'tf2onnx', 'onnx', 'pandas', 'scipy', 'sklearn', 'convert'}

# Names that say nothing of what is inside, so that everything ends up there.
NAMELESS = {'utils', 'util', 'helpers', 'helper', 'common', 'misc', 'manager', 'base'}

# The name one imports, where it is not the name one installs.
IMPORT_NAMES = {'PyYAML': 'yaml', 'prometheus-client': 'prometheus_client'}


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, anywhere in it, relative ones made absolute.

    `from a.b import c` counts as a.b.c, for c may be a module.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.relative_to(real.ROOT).parts
            above = package[: len(package) - node.level + 1] if node.level else ()
            names |= {'.'.join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return names


def of_promlstm(path: Path) -> set[str]:
    """The modules of promlstm that a file imports; what is no module, e.g. promlstm.__version__, is out of __init__."""
    names = [[*name.split('.'), '__init__'] for name in imported(path)]
    return {name[1] if name[1] in MODULES else '__init__' for name in names if name[0] == 'promlstm'}


def top_level(path: Path) -> set[str]:
    """The packages that a file imports, by their first name."""
    return {name.split('.')[0] for name in imported(path)}


@pytest.mark.parametrize('module', MODULES)
def test_imports_go_down_the_tiers(module):
    """A module of promlstm has a tier and imports only modules of lower tiers."""
    assert module in TIERS, f'promlstm/{module}.py has no tier: put it into TIERS of {Path(__file__).name}, above all that it builds on'
    upwards = {name: TIERS[name] for name in of_promlstm(MODULES[module]) if TIERS.get(name, 0) >= TIERS[module]}
    assert not upwards, f'promlstm/{module}.py, tier {TIERS[module]}, imports from its own tier or above: {upwards}'


def test_promlstm_is_flat():
    """Every module lies in the package itself, so that its name alone says which tier it has."""
    assert [path for path in MODULES.values() if path.parent != PACKAGE] == []


@pytest.mark.parametrize('module', MODULES)
def test_the_exporter_imports_only_what_it_installs(module):
    """Whatever promlstm imports is its own, in the standard library, or in install_requires of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(real.ROOT / 'setup.cfg')
    installed = {IMPORT_NAMES.get(name, name) for name in setup['options']['install_requires'].split()}
    assert not installed & HEAVY
    assert top_level(MODULES[module]) - {'promlstm'} - set(sys.stdlib_module_names) <= installed


@pytest.mark.parametrize('path', sorted(CONVERT.rglob('*.py')), ids=lambda path: path.stem)
def test_making_models_builds_on_nothing_that_serves(path):
    """convert imports nothing of promlstm above the detector."""
    above = {name for name in of_promlstm(path) if TIERS.get(name, 0) > CONVERT_TIER}
    assert not above, f'{path.name} imports {above}, above tier {CONVERT_TIER}'


def test_no_file_is_named_after_nothing():
    """No Python file has a name, or a part of one, that would fit any content."""
    files = [path for folder in (PACKAGE, CONVERT, real.ROOT / 'tests') for path in folder.rglob('*.py')]
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
    modules = ['promlstm' if name == '__init__' else f'promlstm.{name}' for name in MODULES]
    done = subprocess.run([sys.executable, '-c', IMPORT_ALL, *modules], cwd=real.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('\n') == 1, f'an import prints: {done.stdout}'
    return json.loads(done.stdout)


def test_no_import_pulls_in_the_heavy_side(after_import):
    """With every module of promlstm imported, none of the heavy packages is loaded, not even through another one."""
    assert HEAVY & set(after_import['modules']) == set()


def test_nothing_happens_at_import(after_import):
    """Importing starts no thread, sets up no logging and registers no metric in the global registry."""
    assert (after_import['threads'], after_import['handlers'], after_import['registered']) == (1, 0, [])
