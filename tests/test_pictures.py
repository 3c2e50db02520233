"""The pictures of the documents: made by docs/pictures, one for each dashboard, harmless, and drawn right."""

import doctest
import json
import re
import sys
from xml.etree import ElementTree

import pytest
import servers

sys.path.append(str(servers.ROOT / 'docs'))

from pictures import IMAGES, demo, history, legend, panels, svg

FOLDER = servers.ROOT / 'docs/images'
DASHBOARDS = servers.ROOT / 'rules/dashboards'
DRAWINGS = [name for name in IMAGES if name.endswith('.svg')]
LARGEST_BYTES = {'.svg': 150_000, '.png': 300_000}
SPAN = panels.Span(0.0, 3600.0)


def test_every_picture_is_made_by_the_script():
    """No picture that nobody can make again, and none that was not made."""
    assert {path.name for path in FOLDER.iterdir()} == set(IMAGES)


def test_every_dashboard_has_a_picture():
    assert {f'dashboard-{path.stem}.svg' for path in DASHBOARDS.glob('*.json')} == {
        name for name in IMAGES if name.startswith('dashboard-')
    }


def test_every_picture_is_shown_by_a_page_and_no_page_shows_another():
    pages = [servers.ROOT / 'README.md', *(servers.ROOT / 'docs').rglob('*.md')]
    shown = {name for page in pages for name in re.findall(r'images/([\w-]+\.(?:svg|png))', page.read_text())}
    if shown:
        assert shown == set(IMAGES)


@pytest.mark.parametrize('name', IMAGES)
def test_pictures_are_small(name):
    """A page with all of them loads at once."""
    path = FOLDER / name
    assert 1000 < path.stat().st_size <= LARGEST_BYTES[path.suffix]


@pytest.mark.parametrize('name', DRAWINGS)
def test_drawings_are_well_formed_and_ask_for_nothing(name):
    """XML of shapes and text, with a title for who cannot see it: no script, no link, no font or image from elsewhere."""
    text = (FOLDER / name).read_text()
    tree = ElementTree.fromstring(text)
    tags = {element.tag.removeprefix('{http://www.w3.org/2000/svg}') for element in tree.iter()}
    assert tags <= {'svg', 'title', 'style', 'rect', 'circle', 'line', 'path', 'text'}
    assert tree.find('{http://www.w3.org/2000/svg}title').text
    assert not [key for element in tree.iter() for key in element.attrib if key.startswith('on') or 'href' in key]
    assert 'url(' not in text and '@import' not in text and text.count('http://www.w3.org/2000/svg') == 1


@pytest.mark.parametrize('name', DRAWINGS)
def test_drawings_stay_within_their_paper(name):
    """No text begins beyond an edge."""
    tree = ElementTree.fromstring((FOLDER / name).read_text())
    width, height = float(tree.get('width')), float(tree.get('height'))
    texts = tree.findall('{http://www.w3.org/2000/svg}text')
    assert texts and all(0 <= float(each.get('x')) <= width and 0 <= float(each.get('y')) <= height for each in texts)


@pytest.mark.parametrize('name', [name for name in IMAGES if name.startswith('dashboard-')])
def test_pictures_of_dashboards_show_the_panels_that_there_are(name):
    """A dashboard that was changed asks for a new picture: all of its titles are there; and who drew them is said."""
    board = json.loads((DASHBOARDS / f'{name.removeprefix("dashboard-").removesuffix(".svg")}.json').read_text())
    texts = [element.text for element in ElementTree.fromstring((FOLDER / name).read_text()).iter('{http://www.w3.org/2000/svg}text')]
    assert [one['title'] for one in board['panels'] if one['title'] not in texts] == []
    assert board['title'] in texts and panels.NOTE in texts


@pytest.mark.parametrize('module', [demo, history, legend, panels, svg])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def board(*queries, kind='timeseries', unit='none', steps=(), overrides=(), several=True):
    """A dashboard of one panel, as rules/dashboards/make.py makes them."""
    make = servers.module(DASHBOARDS / 'make.py')
    one = make.panel(kind, 'The panel', *queries, unit=unit, what='why', steps=steps, lines=dict(overrides))
    return make.dashboard('promlstm-x', 'A board', 'what it shows', [one], several=several)


def drawn(board, answers):
    """The drawing with the answers {(expression, range query?): result}; what is not among them gives nothing."""
    text = panels.drawn(board, lambda expr, step: answers.get((expr, step is not None), []), SPAN, {'detector': ('cpu', 'cpu')})
    return ElementTree.fromstring(text), text


def series(labels, *values, step=60):
    return {'metric': labels, 'values': [[number * step, str(value)] for number, value in enumerate(values) if value is not None]}


def test_expressions_get_the_values_of_variables():
    _, text = drawn(board(('x{detector="$detector"}', '{{instance}}')), {('x{detector="cpu"}', True): [series({'instance': 'a<b'}, 1, 2)]})
    assert 'a&lt;b' in text and 'No data' not in text


def test_a_line_breaks_where_there_is_no_sample():
    tree, _ = drawn(board(('x', 'x')), {('x', True): [series({}, 1, 2, None, 4, 1, None, 7)]})
    (line,) = [each for each in tree.iter() if each.get('class') == 'line' and 'stroke-width' not in each.get('style')]
    assert line.get('d').count('M') == 2  # and the last sample, which is alone, is a dot
    assert sum(each.tag.endswith('circle') for each in tree.iter()) == 1


def test_higher_values_are_drawn_higher_and_later_ones_to_the_right():
    tree, _ = drawn(board(('x', 'x')), {('x', True): [series({}, 1, 5)]})
    (line,) = [each for each in tree.iter() if each.get('class') == 'line' and 'stroke-width' not in each.get('style')]
    (x0, y0), (x1, y1) = [map(float, point.split()) for point in line.get('d')[1:].split('L')]
    assert x0 < x1 and y0 > y1


def test_a_band_is_filled_between_the_lines_that_its_names_name():
    """As in Grafana: a name that no series has fills nothing."""
    queries = (('x', '__auto'), ('low', 'lower'), ('high', 'upper'))
    answers = {
        (name, True): [series({'instance': 'a', 'job': 'b'}, value, value + 1)] for name, value in (('x', 2), ('low', 1), ('high', 3))
    }
    for other, areas in (('lower', 1), ('lower a', 0)):
        tree, text = drawn(board(*queries, overrides={'upper': {'custom.fillBelowTo': other}}.items()), answers)
        assert sum('opacity' in (each.get('style') or '') for each in tree.iter()) == areas
    assert '{instance=&quot;a&quot;, job=&quot;b&quot;}' in text


def test_a_panel_without_data_says_so_and_why_that_may_be():
    _, text = drawn(board(('x', 'x')), {})
    assert 'No data' in text and text.count('why') == 2  # beside the title as well


def test_a_stat_shows_the_newest_value_in_the_colour_of_its_threshold():
    tree, _ = drawn(board(('x', ''), kind='stat', steps=[(None, 'green'), (1, 'red')]), {('x', True): [series({}, 0, 3)]})
    assert [each.text for each in tree.iter() if each.get('class') == 'big red'] == ['3']


def test_a_table_has_the_highest_first_in_the_unit_of_the_panel():
    found = [{'metric': {'__name__': 'x', 'host': name}, 'value': [0, value]} for name, value in (('a', '60'), ('b', '7200'))]
    tree, _ = drawn(board(('x', ''), kind='table', unit='s'), {('x', False): found})
    assert [each.text for each in tree.iter() if (each.get('class') or '').startswith('cell')] == [
        'host',
        'Value',
        'b',
        '2 h',
        'a',
        '1 min',
    ]


def test_times_at_which_an_alert_fires_are_shaded():
    tree, _ = drawn(
        board(('x', 'x')),
        {('x', True): [series({}, 1, 2)], ('ALERTS{alertname=~"Promlstm.+",alertstate="firing"}', True): [series({}, 1, 1)]},
    )
    assert sum(each.get('class') == 'firing' for each in tree.iter()) == 1


def test_a_terminal_keeps_its_columns_and_colours():
    text = demo.drawn([[('ab  ', 'red'), ('c<d', '')], []], 'title', 'what')
    words = [each for each in ElementTree.fromstring(text).iter('{http://www.w3.org/2000/svg}text') if each.get('textLength')]
    assert [(each.text, each.get('class')) for each in words] == [('ab', 'red'), ('c<d', None)]
    assert float(words[1].get('x')) - float(words[0].get('x')) == pytest.approx(4 * demo.CELL, abs=0.11)


def test_units_of_the_dashboards_are_known():
    """A unit that is not would be drawn as a bare number."""
    used = {one['fieldConfig']['defaults']['unit'] for path in DASHBOARDS.glob('*.json') for one in json.loads(path.read_text())['panels']}
    assert used <= {'none', 'percentunit', 'ops', 'dateTimeAsLocal', *svg.UNITS}
