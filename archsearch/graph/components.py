"""In which order the nodes of an architecture are computed, and which of them have to be computed together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archsearch.graph.architecture import Architecture, Node

__all__ = ["Component", "components", "live_nodes"]


@dataclass(frozen=True, slots=True)
class Component:
    """Nodes that have to be computed together: one node, or all nodes that lie on cycles with each other.

    Args:
        nodes: names, in an order in which every undelayed edge points forward.
        cyclic: whether there is a cycle, which then carries a delay and is computed step by step.
    """

    nodes: tuple[str, ...]
    cyclic: bool


def live_nodes(architecture: Architecture) -> tuple[Node, ...]:
    """The nodes that the output depends on, now or through a delay, in the order of the architecture."""
    by_name = {n.name: n for n in architecture.nodes}
    seen = {architecture.output.node}
    todo = [architecture.output.node]
    while todo:
        node = by_name.get(todo.pop())
        for source in node.sources if node else ():
            if source.node not in seen:
                seen.add(source.node)
                todo.append(source.node)
    return tuple(n for n in architecture.nodes if n.name in seen)


def components(architecture: Architecture) -> tuple[Component, ...]:
    """The strongly connected components of the live nodes, each after all that it reads from, now or through a delay.

    Without cycles and shifts that is one component a node, in the order of the architecture. Linear time: Tarjan 1972,
    along the edges backwards, so that components come out in the order of computation.
    """
    nodes = live_nodes(architecture)
    place = {n.name: i for i, n in enumerate(nodes)}
    reads = [[place[s.node] for s in n.sources if s.node in place] for n in nodes]
    found = []
    for members in strong_components(reads):
        members.sort()
        cyclic = len(members) > 1 or members[0] in reads[members[0]]
        found.append(Component(tuple(nodes[i].name for i in members), cyclic))
    return tuple(found)


def strong_components(successors: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected components of a directed graph of vertices 0, 1, ..., each after all that it points to."""
    found: list[list[int]] = []
    low = [0] * len(successors)  # number of the earliest open vertex that is reached; 0 before the first visit
    finished = len(successors) + 1  # later than every visit
    visits = itertools.count(1)
    open_: list[int] = []
    path: list[tuple[int, int, Iterator[int]]] = []

    def enter(v: int) -> None:
        low[v] = next(visits)
        open_.append(v)
        path.append((v, low[v], iter(successors[v])))

    for root in range(len(successors)):
        if not low[root]:
            enter(root)
        while path:
            v, visit, rest = path[-1]
            fresh = _first_unseen(v, rest, low)
            if fresh is not None:
                enter(fresh)
                continue
            path.pop()
            if low[v] == visit:
                found.append(_pop_to(open_, v))
                for w in found[-1]:
                    low[w] = finished
            elif path:
                parent = path[-1][0]
                low[parent] = min(low[parent], low[v])
    return found


def _first_unseen(v: int, rest: Iterator[int], low: list[int]) -> int | None:
    """Walks on along the edges of `v` to the first vertex that is new; notes what the seen ones reach."""
    for w in rest:
        if not low[w]:
            return w
        low[v] = min(low[v], low[w])
    return None


def _pop_to(stack: list[int], bottom: int) -> list[int]:
    taken = [stack.pop()]
    while taken[-1] != bottom:
        taken.append(stack.pop())
    return taken
