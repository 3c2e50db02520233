"""Several processes share an evaluation: together they leave the very files that one leaves; a part that is missing is named."""

import shutil
import subprocess
import sys

import labelled_sets
import msgspec
import numpy as np
import pytest
import servers
import tiny_model
from recipes import GOOD, convert

from convert.data.parts import Part
from convert.evaluation import benchmark, benchmark_sets, portions
from convert.recipe import Telemetry
from promlstm.engine import session

LEFT = ('evaluation.json', 'report.json', 'report.txt', 'report.html')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder of a recipe whose model is calibrated, with labelled sets beside it."""
    folder = tmp_path_factory.mktemp('portions')
    recipe = GOOD.replace('{step_seconds: 300, steps: 1200, entities: 32}', '{step_seconds: 300, steps: 900, entities: 8}')
    (folder / 'tiny.yml').write_text(recipe + '    - {step_seconds: 60, steps: 900, entities: 8}\n')
    labels = np.zeros(900)
    labels[700:720] = 1
    labelled_sets.write(folder / 'labelled/near', 'a', labelled_sets.quiet(900) + 8 * labels[:, None], labels)
    for stage in ('train', 'export', 'verify', 'calibrate'):
        done = convert(stage, folder / 'tiny.yml', '--work', folder / 'work')
        assert done.returncode == 0, done.stderr
    return folder


def arguments(folder, work, *more):
    return ['evaluate', folder / 'tiny.yml', '--work', work, '--data', folder / 'labelled', '--service', 'none', *more]


@pytest.mark.slow
@pytest.mark.parametrize('of', [1, 2, 3])
def test_what_parts_measured_is_what_one_measures(tmp_path, of):
    """To the bit, NaN and all: Results, and what is drawn; each set is measured by one part alone, and once."""
    methods = [benchmark.Method('mean', 'model', session.load(tiny_model.write(tmp_path / 'mean.onnx')))]
    sets = [benchmark_sets.injected(Telemetry(step_seconds=step, steps=720, entities=8), 1) for step in (60, 300)]
    measured = []

    def measure(one):
        measured.append(one.name)
        return benchmark.measure_set(methods, one, lambda line: None)

    def of_all(part):
        shared = portions.Portions(tmp_path / 'key', part)
        found = [shared.measured(number, one, lambda one=one: measure(one)) for number, one in enumerate(sets)]
        figures = [shared.figures(number, name, lambda name=name: {name: 0.1 + 0.2}) for number, name in enumerate(('near', 'far'))]
        shared.check()
        return [each for results, _ in found for each in results], [each for _, scored in found for each in scored], figures

    alone, drawn, figures = of_all(None)
    measured.clear()
    for part in Part(None, of).all()[:-1]:
        of_all(part)
    with pytest.raises(portions.PortionError, match=rf'1 of {of} parts are not completely measured; (.|\n)*\n  part {of - 1} of {of}: '):
        of_all(Part(None, of))
    for _ in range(2):
        of_all(Part(of - 1, of))
    assert sorted(measured) == sorted(one.name for one in sets)
    results, scored, same = of_all(Part(None, of))
    assert msgspec.msgpack.encode(results) == msgspec.msgpack.encode(alone) and same == figures == [{'near': 0.1 + 0.2}, {'far': 0.1 + 0.2}]
    for ours, theirs in zip(scored, drawn, strict=True):
        assert ours.benchmark_set is theirs.benchmark_set
        for one, other in zip((ours.scores, *ours.seen), (theirs.scores, *theirs.seen), strict=True):
            assert one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.mark.train
@pytest.mark.accept
def test_parts_leave_what_one_process_leaves(trained, tmp_path):
    """To the byte: figures, report and page. Two at once; then a third has not been run, and nothing is written before it was."""
    for name in ('alone', 'shared'):
        shutil.copytree(trained / 'work', tmp_path / name)
    assert convert(*arguments(trained, tmp_path / 'alone')).returncode == 0
    work = tmp_path / 'shared'
    commands = [[sys.executable, '-m', 'convert', *map(str, arguments(trained, work, '--part', f'{number}/3'))] for number in (0, 2)]
    both = [subprocess.Popen(command, cwd=servers.ROOT, stderr=subprocess.PIPE) for command in commands]
    assert [child.communicate()[1] and child.returncode for child in both] == [0, 0]
    done = convert(*arguments(trained, work, '--part', 'all/3'))
    assert done.returncode == 1 and '1 of 3 parts are not completely measured' in done.stderr and '\n  part 1 of 3: ' in done.stderr
    assert not any((work / name).exists() for name in LEFT)

    measured = {file: file.read_bytes() for file in work.glob('parts/*/*') if file.suffix in ('.npz', '.json')}
    assert convert(*arguments(trained, work, '--part', '1/3')).returncode == 0
    assert len(measured) < len([file for file in work.glob('parts/*/*') if file.suffix in ('.npz', '.json')])
    assert all(file.read_bytes() == content for file, content in measured.items())
    done = convert(*arguments(trained, work, '--part', 'all/3'))
    assert done.returncode == 0, done.stderr
    for name in LEFT:
        assert (work / name).read_text() == (tmp_path / 'alone' / name).read_text().replace(str(tmp_path / 'alone'), str(work)), name


def test_an_experiment_is_not_divided(tmp_path):
    """Its models are trained one after the other: that is said before anything is read."""
    (tmp_path / 'tiny.yml').write_text(GOOD)
    done = convert('evaluate', tmp_path / 'tiny.yml', '--work', tmp_path / 'work', '--part', '0/2', '--search')
    assert done.returncode == 1 and '--part: --learning-curve and --search are not divided' in done.stderr
