"""Nodes that no alternative of a space ever reads: they are dropped from every sample, which is seldom meant."""

from __future__ import annotations

from collections.abc import Iterator

from archsearch.graph.reader import Mark
from archsearch.graph.template import Apply, Choose, EdgeChoice, Graph, Input, Member, Ref, Repeat, Use

__all__ = ["unread"]


def unread(graph: Graph) -> list[tuple[str, Mark]]:
    """Name and place of each node of the graph's own file that lies on no way to the outputs of its body."""
    found = {}
    for body in _bodies(graph):
        for slot, member in enumerate(body.members):
            if member.name and member.mark.file == graph.mark.file and slot not in _read(body):
                found[member.mark.line, member.mark.column] = (member.name, member.mark)
    return [found[place] for place in sorted(found)]


def _bodies(graph: Graph) -> list[Graph]:
    """A graph and all graphs within it, each once."""
    seen: dict[int, Graph] = {}
    waiting = [graph]
    while waiting:
        g = waiting.pop()
        if id(g) not in seen:
            seen[id(g)] = g
            waiting += [inner for m in g.members for inner in _inside(m.apply)]
    return list(seen.values())


def _inside(apply: Apply) -> Iterator[Graph]:
    match apply:
        case Use(graph=graph):
            yield graph
        case Choose(options=options):
            for option in options.values():
                yield from _inside(option.apply)
        case Repeat(patterns=patterns):
            for pattern in patterns.values():
                yield from pattern


def _read(body: Graph) -> set[int]:
    """The members from which some way leads to an output, over any alternative."""
    waiting = [ref.target for _, ref in body.outputs]
    seen: set[int] = set()
    while waiting:
        slot = waiting.pop()
        if slot >= 0 and slot not in seen:
            seen.add(slot)
            waiting += [ref.target for ref in _refs(body.members[slot])]
    return seen


def _refs(member: Member) -> Iterator[Ref]:
    """All origins of the edges into a node, those of every alternative included."""
    wired: list[Input] = list(member.inputs)
    if isinstance(member.apply, Choose):
        wired += [i for option in member.apply.options.values() for i in option.inputs]
    for edge in (e for i in wired for e in i.edges):
        if isinstance(edge, EdgeChoice):
            yield from edge.refs.values()
        else:
            yield edge
