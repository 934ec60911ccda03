"""What of an architecture tells it from others: its live graph without names, identities and unsaid defaults."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archsearch.graph.analysis import input_types, output_types
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.opspec import OpRule, OpSpec, Registry
from archsearch.graph.types import ValueType

__all__ = ["Edge", "Skeleton", "skeleton"]

_SHARED = 0x452821E638D01377


Edge = tuple[int, int, int, int, int]


@dataclass(slots=True)
class Skeleton:
    """A graph of numbered vertices: first all inputs in the order of their names, then nodes, with gaps.

    Args:
        inputs: how many vertices are inputs.
        size: larger than every vertex.
        live: the inputs and what the output depends on, rising, so that undelayed edges come from earlier vertices.
        texts: of each vertex: op, complete settings, and whether its initial value is learned.
        numbers: of each vertex, made of what a vertex is by itself.
        edges: into each vertex: vertex that is read, tag, delay, output, port. The tag is a number made of port, place
            in the port (0 where the order is free), output and delay.
        free: of each vertex: for each port whether the order of its edges is free.
        late: the vertices with a delayed edge into them.
        output: vertex, tag, output and delay of what the readout reads.
        groups: vertices that share weights, at least two each.
        ops: names of the ops that occur.
    """

    inputs: int
    size: int
    live: list[int]
    texts: list[str]
    numbers: list[int]
    edges: list[Sequence[Edge]]
    free: list[tuple[bool, ...]]
    late: list[int]
    output: tuple[int, int, int, int]
    groups: list[list[int]] = field(default_factory=list)
    ops: set[str] = field(default_factory=set)


def skeleton(architecture: Architecture, registry: Registry) -> Skeleton:
    """The skeleton of `architecture`.

    Raises:
        UnknownNameError: an op that `registry` does not have.
        RuleError: settings that an op refuses.
    """
    return _Reading(architecture, registry).skeleton()


@dataclass(slots=True)
class _Kind:
    """What nodes of one op with equal settings have in common."""

    spec: OpSpec
    rule: OpRule
    text: str
    number: int
    free: tuple[bool, ...]


_KINDS: dict[tuple[Any, ...], _Kind] = {}
_MOST_KINDS = 10_000


def _kind(spec: OpSpec, settings: Mapping[str, Any]) -> _Kind:
    # By identity, since specs are large to compare. An entry holds its spec, so that no other can take its id.
    key = (id(spec), *settings.items())
    kind = _KINDS.get(key)
    if kind is None:
        if len(_KINDS) >= _MOST_KINDS:
            _KINDS.clear()
        full = spec.canonical(spec.complete(settings))
        text = " ".join([spec.name, *(f"{k}={json.dumps(v)}" for k, v in sorted(full.items()))])
        free = tuple(spec.commutative and port.many for port in spec.ports)
        kind = _KINDS[key] = _Kind(spec, spec.bind(full), text, _number(text), free)
    return kind


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


_TAGS: dict[tuple[int, int, int, int], int] = {}


def _tag(port: int, place: int, output: int, delay: int) -> int:
    key = (port, place, output, delay)
    if key not in _TAGS:
        _TAGS[key] = _number(repr(key)) if any(key) else 0
    return _TAGS[key]


class _Reading:
    """The work of `skeleton`."""

    def __init__(self, architecture: Architecture, registry: Registry) -> None:
        self.architecture = architecture
        self.registry = registry
        self.nodes = {n.name: n for n in architecture.nodes}
        self.kinds = [_kind(registry[n.op], n.settings) for n in architecture.nodes]
        self.types = output_types(architecture)
        names = sorted(architecture.inputs)
        self.inputs = len(names)
        self.vertex = {name: i for i, name in enumerate([*names, *self.nodes])}
        self.passing = self._identities()

    def skeleton(self) -> Skeleton:
        """Walks back from the output."""
        size = len(self.vertex)
        out = self._resolve(self.architecture.output)
        output = (self.vertex[out.node], _tag(0, 0, out.output, out.delay), out.output, out.delay)
        graph = Skeleton(self.inputs, size, [], [""] * size, [0] * size, [()] * size, [()] * size, [], output)
        for i, name in enumerate(sorted(self.architecture.inputs)):
            graph.numbers[i] = _number(f"input {name!r}")
        seen = {*range(self.inputs), output[0]}
        todo = [output[0]] if output[0] >= self.inputs else []
        while todo:
            v = todo.pop()
            self._read(v, graph)
            for u, *_ in graph.edges[v]:
                if u not in seen:
                    seen.add(u)
                    todo.append(u)
        graph.live = sorted(seen)
        self._mark_learned(graph)
        self._mark_groups(graph)
        return graph

    def _read(self, v: int, graph: Skeleton) -> None:
        """Notes vertex `v` and the edges into it."""
        node, kind = self.architecture.nodes[v - self.inputs], self.kinds[v - self.inputs]
        graph.texts[v], graph.numbers[v] = kind.text, kind.number
        graph.ops.add(node.op)
        graph.free[v] = kind.free
        edges: list[Edge] = []
        late = False
        for p, sources in enumerate(node.inputs):
            free = kind.free[p]
            for k, source in enumerate(sources):
                s = self._resolve(source) if source.node in self.passing else source
                tag = _tag(p, 0 if free else k, s.output, s.delay)
                edges.append((self.vertex[s.node], tag, s.delay, s.output, p))
                late = late or s.delay > 0
        graph.edges[v] = edges
        if late:
            graph.late.append(v)

    def _identities(self) -> dict[str, Source]:
        """What the nodes read that return their input unchanged."""
        passing = {}
        for node, kind in zip(self.architecture.nodes, self.kinds, strict=True):
            if len(node.types) == 1 and sum(map(len, node.inputs)) == 1:
                (source,) = node.sources
                if len(node.inputs) == 1:
                    same = kind.rule.is_identity(self.types[source.node][source.output])
                else:
                    same = kind.rule.is_identity(*input_types(node, self.registry, self.types))
                if same:
                    passing[node.name] = source
        return passing

    def _resolve(self, source: Source) -> Source:
        """`source` with identities passed through, each adding its delay.

        A delayed edge out of an identity reads that identity's initial value before the start, so it is passed through
        only where both it and what it returns start from zero.
        """
        seen = set()
        s = source
        while s.node in self.passing and s.node not in seen:
            seen.add(s.node)
            inner = self.passing[s.node]
            if s.delay and (self._learned(s.node) or self._learned(inner.node)):
                return s
            s = Source(inner.node, inner.output, inner.delay + s.delay)
        # A ring of nothing but identities has no end to resolve to.
        return source if s.node in seen else s

    def _learned(self, name: str) -> bool:
        return name in self.nodes and self.nodes[name].initial == "learned"

    def _mark_learned(self, graph: Skeleton) -> None:
        """An initial value counts only where somebody reads it."""
        read_late = {u for v in graph.late for u, _, delay, _, _ in graph.edges[v] if delay}
        if graph.output[3]:
            read_late.add(graph.output[0])
        for v in read_late:
            if v >= self.inputs and self.architecture.nodes[v - self.inputs].initial == "learned":
                graph.texts[v] += " from a learned start"
                graph.numbers[v] = _number(graph.texts[v])

    def _mark_groups(self, graph: Skeleton) -> None:
        """Shared weights count only where there are weights and somebody to share them with."""
        groups = defaultdict(list)
        for v in graph.live[self.inputs :]:
            node = self.architecture.nodes[v - self.inputs]
            if node.weights is not None and self._has_weights(node, v, graph):
                groups[node.weights].append(v)
        graph.groups = [members for members in groups.values() if len(members) > 1]
        for members in graph.groups:
            for v in members:
                graph.numbers[v] += _SHARED * len(members)

    def _has_weights(self, node: Node, v: int, graph: Skeleton) -> bool:
        kind = self.kinds[v - self.inputs]
        if graph.texts[v] != kind.text:
            return True  # the learned start is a weight
        types: Sequence[ValueType | None] = input_types(node, self.registry, self.types)
        return bool(kind.rule.weight_shapes(*types))
