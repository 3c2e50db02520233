"""Values in their units: what scripts write is what the server writes, and ticks of an axis say where they are."""

import json
import math
import random
import subprocess

import pytest
from browser import NODE, need_browser
from servers import ROOT

from promlstm.ui import wording

UNITS = ('', 'bytes', 'seconds', 'ratio', '%', '°C', 'per second', 'bytes per second')


@pytest.fixture(scope='module')
def said(tmp_path_factory):
    """A function of an expression of JavaScript over the module that gives its value."""
    need_browser()
    module = tmp_path_factory.mktemp('units') / 'units.mjs'
    module.write_text((ROOT / 'promlstm/ui/static/units.js').read_text())

    def evaluate(expression):
        program = f'import * as units from "./units.mjs"; console.log(JSON.stringify({expression}))'
        done = subprocess.run([NODE, '--input-type=module', '-e', program], cwd=module.parent, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)

    return evaluate


@pytest.mark.slow
def test_scripts_write_values_as_the_server_does(said):
    """Of all sizes, of both signs, in every unit."""
    drawn = random.Random(1)
    numbers = [0, 1, 999.4, 999.6, 1023.9, 1024, 1e6, 59.9999, *(drawn.choice([-1, 1]) * 10 ** drawn.uniform(-8, 17) for _ in range(500))]
    ours = {unit: [wording.unbroken(wording.value(number, unit)) for number in numbers] for unit in UNITS}
    theirs = said(f'Object.fromEntries({json.dumps(UNITS)}.map((unit) => [unit, {json.dumps(numbers)}.map((number) => units.value(number, unit))]))')
    plain = lambda text: text.replace('\xa0', ' ').replace('e-0', 'e-').replace('e+0', 'e+')  # noqa: E731 (an exponent has two digits in Python)
    wrong = [
        (unit, number, mine, other) for unit in UNITS for number, mine, other in zip(numbers, ours[unit], theirs[unit], strict=True)
        if plain(mine) != plain(other)
    ]  # fmt: skip
    assert not wrong, wrong[:5]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('splits', 'unit', 'texts'),
    [
        ([0, 0.5, 1], '', ['0', '0.5', '1']),
        ([14 * 2**30 + k * 2**28 for k in range(3)], 'bytes', ['14 GiB', '14.25 GiB', '14.5 GiB']),
        ([229_100_000, 229_150_000], '', ['229.1 M', '229.15 M']),
        ([0.1 + 0.2, 0.4], 'seconds', ['300 ms', '400 ms']),
        ([math.pi], '', ['3.14159']),
    ],
)
def test_ticks_have_as_many_digits_as_they_need(said, splits, unit, texts):
    assert [text.replace('\xa0', ' ') for text in said(f'units.ticks({json.dumps(splits)}, {json.dumps(unit)})')] == texts
