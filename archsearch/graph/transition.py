"""What the step of a recurrence does to its state, and which problems of tracking a state that leaves within reach.

The factors of a diagonal state are followed back to where they come from with interval arithmetic: what a sigmoid gives
lies in (0, 1), one minus it as well, a product of both too. A recurrence whose factors cannot be negative cannot solve
parity, and one whose steps commute cannot follow permutations that do not: that is known before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archsearch.graph.architecture import Architecture, Node, Source

__all__ = ["KINDS", "Bounds", "Transition", "bounds", "may_be_negative"]

MERRILL = "Merrill et al. 2024, arXiv:2404.08819"
SARROF = "Sarrof et al. 2024, arXiv:2405.17394"
GRAZZI = "Grazzi et al. 2024, arXiv:2411.12537"
SIEMS = "Siems et al. 2025, arXiv:2502.10297"

Interval = tuple[float, float]
Bounds = Mapping[tuple[str, int], Interval]
EVERYTHING: Interval = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Transition:
    """The structure of the step from one state to the next.

    Args:
        kind: its name.
        solves, fails: what one layer of such a recurrence can and cannot do at any length in finite precision.
        papers: where that is shown.
    """

    kind: str
    solves: str
    fails: str
    papers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}: can {self.solves}; cannot {self.fails} ({'; '.join(self.papers)})"


KINDS = {
    t.kind: t
    for t in (
        Transition(
            "positive diagonal",
            "remember, forget and count up, and so recognise star-free languages",
            "solve parity or anything else that comes back to where it was, at any length",
            (SARROF, GRAZZI),
        ),
        Transition(
            "signed diagonal",
            "flip a sign, and so solve parity",
            "count modulo three or more, or follow permutations that do not commute",
            (GRAZZI, MERRILL),
        ),
        Transition(
            "blocks",
            "rotate and permute the few values of a block, and so count modulo small numbers",
            "follow permutations of five things where the blocks are 2×2",
            (GRAZZI, MERRILL),
        ),
        Transition(
            "Householder product",
            "overwrite what a key holds and, where the rate of writing reaches two, swap two things a step",
            "follow any permutation of five things in one step, which takes a product of several reflections",
            (GRAZZI, SIEMS),
        ),
        Transition(
            "dense",
            "follow any finite automaton where the matrix depends on the input",
            "do so where the matrix is the same at every step, which is then a diagonal of complex numbers in disguise",
            (MERRILL,),
        ),
        Transition(
            "nonlinear",
            "follow any finite automaton, permutations of five things among them",
            "run in parallel over time, as far as is known",
            (MERRILL,),
        ),
    )
}


def bounds(architecture: Architecture) -> Bounds:
    """The interval that each value of the architecture lies in, as far as its op alone can tell.

    What is read late may also be what a state starts from, zero or learned.
    """
    found: dict[tuple[str, int], Interval] = dict.fromkeys(((name, 0) for name in architecture.inputs), EVERYTHING)
    for node in architecture.nodes:
        ins = [_late(found.get((s.node, s.output), EVERYTHING), s) for s in node.sources]
        for k in range(len(node.types)):
            found[node.name, k] = _through(node, ins)
    return found


def _late(x: Interval, s: Source) -> Interval:
    return (min(x[0], 0.0), max(x[1], 0.0)) if s.delay else x


_RANGES: dict[str, Interval] = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "norm": (-1.0, 1.0),
    "exp": (0.0, math.inf),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
}


def _through(node: Node, ins: Sequence[Interval]) -> Interval:
    """The interval of an output, given those of the inputs."""
    if node.op == "exp" and ins[0][1] <= 0.0:
        return (0.0, 1.0)
    if node.op in _RANGES:
        return _RANGES[node.op]
    if node.op in ("identity", "split", "shift", "concat"):
        return (min(x[0] for x in ins), max(x[1] for x in ins))
    if node.op == "neg":
        return (-ins[0][1], -ins[0][0])
    if node.op == "one_minus":
        return (1.0 - ins[0][1], 1.0 - ins[0][0])
    if node.op == "add":
        return (sum(x[0] for x in ins), sum(x[1] for x in ins))
    if node.op == "subtract":
        return (ins[0][0] - ins[1][1], ins[0][1] - ins[1][0])
    if node.op == "multiply":
        return product(ins)
    if node.op == "scale" and not node.settings.get("learned"):
        return product([ins[0], (float(node.settings["by"]),) * 2])
    if node.op == "constant" and not node.settings.get("learned"):
        return (float(node.settings["value"]),) * 2
    return EVERYTHING


def product(intervals: Sequence[Interval]) -> Interval:
    """All products of one number of each."""
    low, high = 1.0, 1.0
    for x in intervals:
        ends = [0.0 if 0.0 in (a, b) else a * b for a in (low, high) for b in x]
        low, high = min(ends), max(ends)
    return (low, high)


def may_be_negative(nodes: Sequence[Node], known: Bounds) -> bool:
    """Whether a factor of a state of a diagonal cycle may be below zero.

    Args:
        nodes: of the cycle, in an order in which every undelayed edge points forward.
        known: the intervals of all values; see `bounds`.
    """
    inside = {n.name for n in nodes}
    factors: dict[str, Interval] = {}
    for node in nodes:
        moving = [(1.0, 1.0) if s.delay else factors[s.node] for s in node.sources if s.node in inside]
        fixed = [_late(known[s.node, s.output], s) for s in node.sources if s.node not in inside]
        factors[node.name] = _factor(node, moving, fixed, node.sources[0].node in inside)
    return any(low < 0.0 for low, _ in factors.values())


def _factor(node: Node, moving: Sequence[Interval], fixed: Sequence[Interval], is_first: bool) -> Interval:
    """The interval of the factors in an output, given those in the inputs on the cycle and the inputs off it."""
    around = (min(low for low, _ in moving), max(high for _, high in moving))
    if node.op in ("add", "identity", "dropout"):
        return around
    if node.op == "multiply":
        return product([around, *fixed])
    if node.op == "subtract" and len(moving) == 1 and is_first:
        return around
    if node.op in ("neg", "one_minus") or (node.op == "subtract" and len(moving) == 1):
        return (-around[1], -around[0])
    if node.op == "scale" and not node.settings.get("learned"):
        return product([around, (float(node.settings["by"]),) * 2])
    return EVERYTHING
