"""A graph in layers: whatever the edges, it can be read."""

import re

from hypothesis import given
from hypothesis import strategies as st

from promlstm.ui.layers import BOX_HEIGHT, BOX_WIDTH, GAP_WIDTH, MARGIN, drawing


@st.composite
def graphs(draw):
    """(how many nodes, edges between them), circles among them."""
    count = draw(st.integers(1, 12))
    node = st.integers(0, count - 1)
    return count, sorted(draw(st.sets(st.tuples(node, node).filter(lambda edge: edge[0] != edge[1]), max_size=30)))


def numbers(path):
    return [(float(x), float(y)) for x, y in re.findall(r'(-?\d+) (-?\d+)', path)]


@given(graphs())
def test_boxes_do_not_touch_and_lines_lead_from_box_to_box(graph):
    """All is within the paper; a line begins at the right edge of one end and ends at the left edge of the other, whichever way round."""
    count, edges = graph
    found = drawing(count, edges)
    assert len(found.boxes) == count and len(found.lines) == len(edges)
    for number, (left, top) in enumerate(found.boxes):
        assert MARGIN <= left <= found.width - BOX_WIDTH - MARGIN and MARGIN <= top <= found.height - BOX_HEIGHT - MARGIN
        assert all(abs(left - x) >= BOX_WIDTH or abs(top - y) >= BOX_HEIGHT for x, y in found.boxes[:number])
    for (a, b), line in zip(edges, found.lines, strict=True):
        points = numbers(line)
        (left, upper), (right, lower) = min(points[0], points[-1]), max(points[0], points[-1])
        ends = {(left - BOX_WIDTH, upper - BOX_HEIGHT / 2), (right, lower - BOX_HEIGHT / 2)}
        assert ends == {(round(x), round(y)) for x, y in (found.boxes[a], found.boxes[b])}
        assert all(0 <= x <= found.width and 0 <= y <= found.height for x, y in points)


@given(graphs())
def test_what_is_depended_on_is_to_the_right(graph):
    """Where there is no circle."""
    count, edges = graph
    edges = [edge for edge in edges if edge[0] < edge[1]]
    boxes = drawing(count, edges).boxes
    assert all(boxes[dependency][0] >= boxes[dependant][0] + BOX_WIDTH + GAP_WIDTH for dependant, dependency in edges)


def test_an_edge_over_a_layer_passes_beside_the_boxes_in_it():
    """Its place is a row of its own."""
    found = drawing(3, [(0, 1), (1, 2), (0, 2)])
    middle = found.boxes[1]
    passing = [y for x, y in numbers(found.lines[2]) if middle[0] <= x <= middle[0] + BOX_WIDTH]
    assert passing and all(not middle[1] <= y <= middle[1] + BOX_HEIGHT for y in passing)


def test_lines_do_not_cross_where_they_need_not():
    """Two callers of two services, named the wrong way round."""
    boxes = drawing(4, [(0, 3), (1, 2)]).boxes
    assert (boxes[0][1] < boxes[1][1]) == (boxes[3][1] < boxes[2][1])


def test_an_edge_that_closes_a_circle_is_drawn_backwards():
    """It ends at the right edge of what it leads to."""
    found = drawing(2, [(0, 1), (1, 0)])
    there, back = numbers(found.lines[0]), numbers(found.lines[1])
    assert there[0] == back[-1] and there[-1] == back[0] and there[0][0] < there[-1][0]
