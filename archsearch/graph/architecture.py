"""An architecture: a directed graph of named nodes, as plain, frozen, serialisable data.

The graph is flat: definitions, repeats and choices are gone, every node applies one primitive or core op. Names keep
the way it was written (`body.0.mix.q` is node `q` of the block `mix` in layer 0), and `outline` keeps the nesting for
whoever shows the architecture to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from archsearch.graph.types import ValueType

__all__ = ["Architecture", "Group", "Node", "Source"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where an edge comes from: `x` is `Source("x")`, `s.k` is output 1 of node `s`, `"h[t-1]"` has delay 1."""

    node: str
    output: int = 0
    delay: int = 0

    def __str__(self) -> str:
        text = self.node + (f"#{self.output}" if self.output else "")
        return text + (f"[t-{self.delay}]" if self.delay else "")


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an op.

    Args:
        name: the path, unique in the architecture; `a.b.c` lies in group `a.b`.
        op: the name of an op in the registry.
        settings: every setting of the op, complete and checked.
        inputs: one tuple of sources per port of the op, in the order of its ports; empty where an optional port is
            unconnected.
        types: the type of each output.
        weights: nodes with one name here share their weights (they have one op, equal settings, equal input types);
            `None` means weights of its own.
        initial: the value that a delayed edge out of this node reads before the start: `zero` or `learned`.
    """

    name: str
    op: str
    settings: Mapping[str, Any]
    inputs: tuple[tuple[Source, ...], ...]
    types: tuple[ValueType, ...]
    weights: str | None = None
    initial: str = "zero"

    @property
    def sources(self) -> tuple[Source, ...]:
        """All edges into the node, ports flattened."""
        return tuple(s for port in self.inputs for s in port)


@dataclass(frozen=True, slots=True)
class Group:
    """A piece of the outline: one node or definition or repeat as the person wrote it.

    Args:
        path: the path of the group; flat nodes named `path` or `path.*` belong to it.
        kind: `op`, `definition` or `repeat`.
        label: the name of the op, of the definition, or of what is repeated.
        shown: the settings worth showing (those that a choice decided), in order.
        children: the groups inside, in order. A repeat has one child per turn.
    """

    path: str
    kind: str
    label: str
    shown: tuple[tuple[str, Any], ...] = ()
    children: tuple[Group, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """A graph of nodes from named inputs to one output.

    Args:
        name: of the space that it comes from, or a person's.
        inputs: name and type of what the task's stem feeds in, normally `{"in": ValueType((width,))}`. Sources may
            name an input as they name a node.
        nodes: in an order in which every undelayed edge points forward.
        output: what the task's readout reads.
        scale: the named sizes of the space, after `match`: `{"width": 64}`.
        causal: whether the graph promises that output t sees inputs up to t only.
        outline: the nesting, for people.
        sources: name and text of each op in it that a person or a language model wrote.
        stem, readout: the ops that stand between the task and the graph in place of the usual ones, if any do.
        fit: how its weights are found; see `archsearch.graph.fits`.
    """

    name: str
    inputs: Mapping[str, ValueType]
    nodes: tuple[Node, ...]
    output: Source
    scale: Mapping[str, int | float] = field(default_factory=dict)
    causal: bool = True
    outline: tuple[Group, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    stem: str | None = None
    readout: str | None = None
    fit: str = "gradient"

    def __post_init__(self) -> None:
        for name in ("inputs", "scale", "sources"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(Architecture.from_dict(state).__dict__)

    def node(self, name: str) -> Node:
        """The node called `name`; raises `KeyError`."""
        return {n.name: n for n in self.nodes}[name]

    def type_of(self, source: Source) -> ValueType:
        """The type of what `source` stands for (a delay changes nothing)."""
        if source.node in self.inputs:
            return self.inputs[source.node]
        return self.node(source.node).types[source.output]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` gives an equal architecture back."""
        return {
            "format": FORMAT,
            "name": self.name,
            "inputs": {k: t.to_list() for k, t in self.inputs.items()},
            "nodes": [_node_out(n) for n in self.nodes],
            "output": _source_out(self.output),
            "scale": dict(self.scale),
            "causal": self.causal,
            "outline": [_group_out(g) for g in self.outline],
            "sources": dict(self.sources),
            **{end: op for end, op in (("stem", self.stem), ("readout", self.readout)) if op is not None},
            **({"fit": self.fit} if self.fit != "gradient" else {}),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_dict` wrote; raises `ValueError` on an unknown format."""
        if data.get("format") != FORMAT:
            raise ValueError(f"architecture format must be {FORMAT}, but got {data.get('format')!r}")
        return Architecture(
            name=data["name"],
            inputs={k: ValueType.from_list(t) for k, t in data["inputs"].items()},
            nodes=tuple(_node_in(n) for n in data["nodes"]),
            output=_source_in(data["output"]),
            scale=data["scale"],
            causal=data["causal"],
            outline=tuple(_group_in(g) for g in data["outline"]),
            sources=data["sources"],
            stem=data.get("stem"),
            readout=data.get("readout"),
            fit=data.get("fit", "gradient"),
        )


def _source_out(s: Source) -> list[Any]:
    return [s.node, s.output, s.delay]


def _source_in(data: list[Any]) -> Source:
    return Source(data[0], data[1], data[2])


def _node_out(n: Node) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": n.name,
        "op": n.op,
        "settings": dict(n.settings),
        "inputs": [[_source_out(s) for s in port] for port in n.inputs],
        "types": [t.to_list() for t in n.types],
    }
    if n.weights is not None:
        out["weights"] = n.weights
    if n.initial != "zero":
        out["initial"] = n.initial
    return out


def _node_in(data: Mapping[str, Any]) -> Node:
    return Node(
        name=data["name"],
        op=data["op"],
        settings=dict(data["settings"]),
        inputs=tuple(tuple(_source_in(s) for s in port) for port in data["inputs"]),
        types=tuple(ValueType.from_list(t) for t in data["types"]),
        weights=data.get("weights"),
        initial=data.get("initial", "zero"),
    )


def _group_out(g: Group) -> dict[str, Any]:
    return {
        "path": g.path,
        "kind": g.kind,
        "label": g.label,
        "shown": [list(p) for p in g.shown],
        "children": [_group_out(c) for c in g.children],
    }


def _group_in(data: Mapping[str, Any]) -> Group:
    return Group(
        path=data["path"],
        kind=data["kind"],
        label=data["label"],
        shown=tuple((k, v) for k, v in data["shown"]),
        children=tuple(_group_in(c) for c in data["children"]),
    )
