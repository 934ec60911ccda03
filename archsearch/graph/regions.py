"""Fixed points in a graph: which nodes lie between the start and the end of each, and so are applied many times.

    start ──▶ body ──▶ end          z* = body(z*, x): the nodes that depend on the start and lead to the end
    x ───────▶──┘

What does not depend on the start is computed once, before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archsearch.errors import RuleError
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.components import live_nodes

__all__ = ["END", "START", "Region", "applications", "regions"]

START, END = "fixed_point_start", "fixed_point_end"


@dataclass(frozen=True, slots=True)
class Region:
    """One fixed point.

    Args:
        start, end: its ends.
        body: the nodes between, in order.
        reads: what they read from outside.
        next: what the end reads: the value that the start should have had.
    """

    start: Node
    end: Node
    body: tuple[Node, ...]
    reads: tuple[Source, ...]
    next: Source


def regions(architecture: Architecture) -> tuple[Region, ...]:
    """The fixed points among the live nodes, each after those inside of it.

    Raises:
        RuleError: ends that are no pair, a body that its start does not reach, that delays a value or changes its rate,
            or a value of it that something outside reads; the node is named.
    """
    if not any(n.op in (START, END) for n in architecture.nodes):
        return ()
    nodes = live_nodes(architecture)
    by_name = {n.name: n for n in nodes}
    readers: dict[str, list[Node]] = {n.name: [] for n in nodes}
    for node in nodes:
        for s in node.sources:
            readers.setdefault(s.node, []).append(node)
    found = [_region(n, by_name, readers, architecture) for n in nodes if n.op == END]
    paired = {r.start.name for r in found}
    for node in nodes:
        if node.op == START and node.name not in paired:
            raise RuleError(f"`{START}` must lead to a `{END}`", value=f"`{node.name}`", node=node.name)
    if len(paired) < len(found):
        raise RuleError(f"a `{START}` must belong to one `{END}`", value="two", node=found[-1].end.name)
    return tuple(sorted(found, key=lambda r: len(r.body)))


def applications(architecture: Architecture) -> dict[str, int]:
    """How often each node inside of fixed points is applied at most, by name."""
    found: dict[str, int] = {}
    for region in regions(architecture):
        steps = int(region.end.settings["steps"])
        for node in region.body:
            found[node.name] = found.get(node.name, 1) * steps
    return found


def _region(
    end: Node, by_name: Mapping[str, Node], readers: Mapping[str, Iterable[Node]], architecture: Architecture
) -> Region:
    (after_all,), (origin,) = end.inputs
    start = by_name.get(origin.node)
    if start is None or start.op != START or origin.delay:
        raise RuleError(f"`start` of `{END}` must be a `{START}`", value=f"`{origin}`", node=end.name)
    after, todo = {start.name}, [start.name]
    while todo:
        for node in readers[todo.pop()]:
            if node.name not in after and node.name != end.name:
                after.add(node.name)
                todo.append(node.name)
    inside, todo = set[str](), [after_all.node]
    while todo:
        name = todo.pop()
        if name in after and name not in inside and name != start.name:
            inside.add(name)
            todo += [s.node for s in by_name[name].sources]
    body = tuple(n for n in by_name.values() if n.name in inside)
    if not body:
        rule = "the body of a fixed point must depend on its guess"
        raise RuleError(rule, value=f"`{after_all}`, which does not", node=end.name)
    _closed({start.name, *inside}, end, by_name, architecture)
    own = {start.name, *inside}
    reads = tuple(dict.fromkeys(s for n in body for s in n.sources if s.node not in own))
    return Region(start, end, body, reads, after_all)


def _closed(inside: set[str], end: Node, by_name: Mapping[str, Node], architecture: Architecture) -> None:
    """Refuses edges that no iteration can serve."""
    rates = {t.rate for name in inside for t in by_name[name].types}
    if len(rates) > 1:
        rule = "all values inside of a fixed point must have one rate"
        raise RuleError(rule, value=", ".join(map(str, sorted(rates))), node=end.name)
    for node in by_name.values():
        for s in node.sources:
            if s.node not in inside:
                continue
            if s.delay:
                rule = "no value inside of a fixed point is read late: only ops may remember there"
                raise RuleError(rule, value=f"`{s}`", node=node.name)
            if node.name not in inside and node.name != end.name:
                rule = "a value inside of a fixed point must be read inside of it alone"
                raise RuleError(rule, value=f"`{s}`, read by `{node.name}`", node=end.name)
    if architecture.output.node in inside:
        rule = "a value inside of a fixed point must be read inside of it alone"
        raise RuleError(rule, value=f"`{architecture.output}`, the output", node=end.name)
