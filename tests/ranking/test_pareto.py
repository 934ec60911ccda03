from hypothesis import given
from hypothesis import strategies as st

from archsearch.ranking import pareto_layers

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


def by_definition(points):
    layers, left, layer = [0] * len(points), set(range(len(points))), 0
    while left:
        layer += 1
        front = {
            i
            for i in left
            if not any(
                points[j][0] >= points[i][0] and points[j][1] <= points[i][1] and points[j] != points[i] for j in left
            )
        }
        for i in front:
            layers[i] = layer
        left -= front
    return layers


@given(POINTS)
def test_layers_are_those_of_the_definition(points):
    assert pareto_layers([s for s, _ in points], [c for _, c in points]) == by_definition(points)


def test_equal_candidates_share_a_layer():
    assert pareto_layers([1.0, 1.0, 0.5], [2.0, 2.0, 2.0]) == [1, 1, 2]
