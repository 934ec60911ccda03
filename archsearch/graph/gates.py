"""Recognises a state that a gate fills, `h = (1 − z) h[t-d] + z c`: what minGRU and its kin are made of.

Such a scan needs neither `1 − z` nor `z c`, so that their nodes need not be computed where nothing else reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archsearch.graph.architecture import Node, Source
from archsearch.graph.fast_weights import Around
from archsearch.graph.types import ValueType

__all__ = ["Gate", "find_gate"]


@dataclass(frozen=True, slots=True)
class Gate:
    """A state that a gate fills.

    Args:
        gate, new: z and c.
        folded: the nodes off the cycle that nothing but the cycle reads: `1 − z` and `z c`.
    """

    gate: Source
    new: Source
    folded: tuple[str, ...]


def find_gate(nodes: Sequence[Node], around: Around) -> Gate | None:
    """The gate of a cycle of two nodes, a product that keeps and a sum that takes in; `None` where it is none."""
    if len(nodes) != 2 or (nodes[0].op, nodes[1].op) != ("multiply", "add"):
        return None
    keep, state = nodes
    if Source(keep.name) not in state.sources or Source(keep.name) in keep.sources:
        return None
    keeps = [s for s in keep.sources if s.node != state.name]
    takes = [s for s in state.sources if s.node != keep.name]
    if (len(keep.sources), len(state.sources), len(keeps), len(takes)) != (2, 2, 1, 1):
        return None
    (factor,), (take,) = keeps, takes
    product = around.nodes.get(take.node)
    if product is None or product.op != "multiply" or len(product.sources) != 2 or take.delay or factor.delay:
        return None
    if around.readers[keep.name] != [state] or around.output.node == keep.name:
        return None
    for gate, new in (product.sources, product.sources[::-1]):
        one_minus = _complement(factor, gate, around)
        same = {_type(s, around) for s in (factor, gate, new)} == {state.types[0]}
        if one_minus is not None and same:
            inner = {n for n in (product.name, one_minus) if around.output.node != n}
            folded = sorted(n for n in inner if all(r in nodes for r in around.readers[n]))
            return Gate(gate, new, tuple(folded))
    return None


def _complement(a: Source, b: Source, around: Around) -> str | None:
    """The node that says that two values sum to one."""
    for one, other in ((a, b), (b, a)):
        node = around.nodes.get(one.node)
        if node is not None and node.op == "one_minus" and not one.delay and node.sources[0] == other:
            return node.name
    return None


def _type(s: Source, around: Around) -> ValueType:
    return around.nodes[s.node].types[s.output] if s.node in around.nodes else around.types[s.node]
