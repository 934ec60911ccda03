"""Pareto layers of candidates by score and cost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["pareto_layers"]


def pareto_layers(scores: Sequence[float], costs: Sequence[float]) -> list[int]:
    """The layer of each candidate: 1 for those that no other beats, 2 for those that only layer 1 beats, and so on.

    One candidate beats another if its score is at least as high and its cost at most as large, and one of the two is
    strictly better. Equal candidates share a layer. Runs in O(n log n): in the order of falling score, a candidate is
    beaten by a layer exactly if the cheapest of that layer so far costs no more than it does.

    Args:
        scores: larger is better.
        costs: smaller is better, as many.
    """
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], costs[i]))
    layers = [0] * len(scores)
    cheapest: list[float] = []  # the smallest cost of each layer so far: rises with the layer
    previous: int | None = None
    for i in order:
        if previous is not None and (scores[i], costs[i]) == (scores[previous], costs[previous]):
            layers[i] = layers[previous]
            continue
        layer = bisect_right(cheapest, costs[i])
        if layer == len(cheapest):
            cheapest.append(costs[i])
        else:
            cheapest[layer] = costs[i]
        layers[i] = layer + 1
        previous = i
    return layers
