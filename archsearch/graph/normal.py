"""The normal form of an architecture: the same text for the same graph, however it was written.

What is dropped on the way: nodes that the output does not depend on, nodes that return their input, the names of nodes,
the order of nodes and of edges into a commutative port, defaults left unsaid, the name, the scale and the outline. What
stays is a complete description, so equal forms never stand for different graphs: ops with all settings, edges with
outputs and delays, which nodes share their weights, learned initial values, the types of the inputs, causality, and the
text of ops that are not shipped. A node used twice is one line, two nodes that share weights are two.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from archsearch.graph.architecture import Architecture
from archsearch.graph.canonical import canonical_order
from archsearch.graph.opspec import Registry
from archsearch.graph.skeleton import Edge, Skeleton, skeleton
from archsearch.graph.types import ValueType

__all__ = ["digest", "normal_form"]

VERSION = 1

_MASK = (1 << 64) - 1
_A, _B, _C = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # odd, and of no pattern
_READ, _READ_LATE, _OUTPUT = 0x243F6A8885A308D3, 0x13198A2E03707345, 0xA4093822299F31D1


def normal_form(architecture: Architecture, registry: Registry) -> str:
    """The canonical text of `architecture`: a head, then one line a node, each after what it reads without delay.

    Isomorphic graphs get the same text, unless telling the symmetries of one apart takes more than
    `archsearch.graph.canonical.WORK_LIMIT` steps; the text is then still complete, and still the same for one input.
    Linear time (and a sort) where no two nodes look alike.

    Raises:
        UnknownNameError: an op that `registry` does not have.
        RuleError: settings that an op refuses.
    """
    graph = skeleton(architecture, registry)
    above, depth = _colours_from_above(graph)
    colours = _colours_from_below(graph, above)
    ranks = {v: (depth[v], colours[v]) for v in graph.live}
    order = sorted(graph.live, key=ranks.__getitem__)
    if len(set(ranks.values())) < len(order):
        order = _order_with_ties(graph, ranks)
        order.sort(key=depth.__getitem__)
    return "\n".join([*_head(architecture, registry, graph), *_lines(graph, order)])


def digest(architecture: Architecture, registry: Registry) -> str:
    """16 hex digits that stand for the normal form, the same in every process and on every machine."""
    return hashlib.blake2b(normal_form(architecture, registry).encode(), digest_size=8).hexdigest()


# ---- order --------------------------------------------------------------------------------------------------------
# A colour is a number that depends on the graph around a vertex and not on its name. Colours only order the vertices:
# two that collide by chance cost time and never correctness.


def _colours_from_above(graph: Skeleton) -> tuple[list[int], list[int]]:
    """A colour for all that a vertex depends on without delay, and the length of the longest path to it."""
    colours, depth = [0] * graph.size, [0] * graph.size
    for v in graph.live:
        h, deepest = graph.numbers[v], 0
        for u, tag, delay, _, _ in graph.edges[v]:
            x = tag
            if not delay:
                x += colours[u]
                if depth[u] >= deepest:
                    deepest = depth[u] + 1
            x = (x ^ (x >> 29)) * _A & _MASK
            h += x ^ (x >> 32)
        h = (h ^ (h >> 31)) * _B & _MASK
        colours[v] = h ^ (h >> 32)
        depth[v] = deepest
    return colours, depth


def _colours_from_below(graph: Skeleton, above: Sequence[int]) -> list[int]:
    """Colours that know also who reads the vertex, and through the nearest delay what is read late."""
    seen = [0] * graph.size
    for v in graph.late:
        for u, tag, delay, _, _ in graph.edges[v]:
            if delay:
                seen[u] += _mix(above[v] + tag + _READ_LATE)
                seen[v] += _mix(above[u] + tag)
    seen[graph.output[0]] += _mix(graph.output[1] + _OUTPUT)
    colours = list(above)
    for v in reversed(graph.live):
        h = above[v] + seen[v] * _C
        h = (h ^ (h >> 31)) * _B & _MASK
        colours[v] = h = h ^ (h >> 32)
        for u, tag, delay, _, _ in graph.edges[v]:
            if not delay:
                x = h + tag + _READ
                x = (x ^ (x >> 29)) * _A & _MASK
                seen[u] += x ^ (x >> 32)
    return colours


def _mix(x: int) -> int:
    x = (x ^ (x >> 29)) * _A & _MASK
    return x ^ (x >> 32)


def _order_with_ties(graph: Skeleton, ranks: dict[int, tuple[int, int]]) -> list[int]:
    """The live vertices in canonical order; each group of nodes that share weights takes part as one more vertex."""
    both_ways: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    edges = Counter((v, u, tag) for v in graph.live for u, tag, *_ in graph.edges[v])
    kinds = {kind: k for k, kind in enumerate(sorted({(tag, n) for (_, _, tag), n in edges.items()}), start=1)}
    for (v, u, tag), n in edges.items():
        label = kinds[tag, n]
        both_ways[v].append((2 * label, u))
        both_ways[u].append((2 * label + 1, v))
    keys = dict(ranks)
    for g, members in enumerate(graph.groups, start=graph.size):
        keys[g] = (-1, len(members))
        both_ways[g] = [(0, v) for v in members]
        for v in members:
            both_ways[v].append((1, g))
    place = {key: i for i, key in enumerate(sorted(set(keys.values())))}
    order = canonical_order({v: place[key] for v, key in keys.items()}, both_ways)
    return [v for v in order if v < graph.size]


# ---- text ---------------------------------------------------------------------------------------------------------


def _head(architecture: Architecture, registry: Registry, graph: Skeleton) -> list[str]:
    causal = "causal" if architecture.causal else "not causal"
    lines = [f"normal form {VERSION}, {causal}"]
    lines += [f"{name!r} {_type(t)}" for name, t in sorted(architecture.inputs.items())]
    ends = {end: op for end, op in (("stem", architecture.stem), ("readout", architecture.readout)) if op}
    lines += [f"{end} {op}" for end, op in ends.items()]
    lines += [f"fit {architecture.fit}"] if architecture.fit != "gradient" else []
    for op in sorted({*graph.ops, *ends.values()}):
        source = architecture.sources.get(op) or registry[op].source
        if source is not None:
            lines.append(f"source {op} {hashlib.blake2b(source.encode(), digest_size=16).hexdigest()}")
    return lines


def _type(t: ValueType) -> str:
    return f"{'×'.join(map(str, t.shape))} at {t.rate}"


def _lines(graph: Skeleton, order: Sequence[int]) -> list[str]:
    """One line a node and the output. Inputs are numbered first, in the order of their names; then nodes in `order`."""
    place = [0] * graph.size
    first = graph.inputs
    for i in range(first):
        place[i] = i
    nodes = [v for v in order if v >= first]
    for i, v in enumerate(nodes, start=first):
        place[v] = i
    group_of = {v: g for g, members in enumerate(graph.groups) for v in members}
    shared: dict[int, int] = {}
    lines = []
    for v in nodes:
        text = graph.texts[v]
        if v in group_of:
            text += f" weights {shared.setdefault(group_of[v], len(shared))}"
        ports = [_reads(graph.edges[v], p, place, free=free) for p, free in enumerate(graph.free[v])]
        lines.append(f"{place[v]} {text} ({'; '.join(ports)})")
    u, _, output, delay = graph.output
    return [*lines, f"out {_reference(place[u], output, delay)}"]


def _reads(edges: Sequence[Edge], port: int, place: Sequence[int], *, free: bool) -> str:
    refs = [(place[u], output, delay) for u, _, delay, output, p in edges if p == port]
    if free:
        refs.sort()
    return " ".join([_reference(*r) if r[1] or r[2] else str(r[0]) for r in refs])


def _reference(place: int, output: int, delay: int) -> str:
    return f"{place}" + (f".{output}" if output else "") + (f"[t-{delay}]" if delay else "")
