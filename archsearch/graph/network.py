"""Architectures as graphs of networkx, and back: for its algorithms, its drawings and its file formats.

graph = to_networkx(sample.architecture)
nx.dag_longest_path(nx.DiGraph(graph))  # whatever networkx knows
from_networkx(graph, space.registry) == sample.architecture

A vertex is an input (`kind: input`, `type`) or a node (`kind: op`, `op`, `settings`, and where they say something
`weights`, `initial`, `types`). An edge carries `port`, `place` in the port, `output` of its source, and `delay`; what
is left out is the first port, the order of writing, 0 and 0. The graph carries what else an architecture has: `output`,
which must be there, `name`, `scale`, `causal`, `outline`, `sources`. All of it is plain data, so that
`nx.node_link_data` makes JSON of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import networkx as nx

from archsearch.errors import RuleError, nearest
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.opspec import OpSpec, Registry
from archsearch.graph.types import ValueType

__all__ = ["from_networkx", "to_networkx"]

Network: TypeAlias = "nx.MultiDiGraph[str] | nx.DiGraph[str]"
_ELSEWHERE = ("format", "inputs", "nodes")
"""What of an architecture is not an attribute of its graph."""
Types = dict[str, Sequence[ValueType]]


def to_networkx(architecture: Architecture) -> nx.MultiDiGraph[str]:
    """The graph of `architecture`: its inputs, then its nodes in their order, and one edge for each source."""
    data = architecture.to_dict()
    kept = ("name", "output", "scale", "causal", "outline", "sources", "stem", "readout", "fit")
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(**{k: data[k] for k in kept if k in data})
    for name, value_type in data["inputs"].items():
        graph.add_node(name, kind="input", type=value_type)
    for node in data["nodes"]:
        own = {k: v for k, v in node.items() if k not in ("name", "inputs")}
        graph.add_node(node["name"], kind="op", **own)
    for node in data["nodes"]:
        for port, sources in enumerate(node["inputs"]):
            for place, (source, output, delay) in enumerate(sources):
                graph.add_edge(source, node["name"], port=port, place=place, output=output, delay=delay)
    return graph


def from_networkx(graph: Network, registry: Registry) -> Architecture:
    """The architecture that a directed graph describes; nodes may be changed, added or renamed since `to_networkx`.

    Settings are completed and types inferred anew. The order of the nodes is kept where the edges allow it.

    Args:
        graph: see the head of this file. A port may be named or numbered.

    Raises:
        UnknownNameError: an op that `registry` does not have.
        RuleError: a vertex without an op, an edge into no port, a cycle without a delay, an output that is not there,
            settings or types that an op refuses.
    """
    inputs = {str(v): _type(d.get("type")) for v, d in graph.nodes(data=True) if d.get("kind") == "input"}
    specs = {v: _spec(v, d, registry) for v, d in graph.nodes(data=True) if v not in inputs}
    reading = {v: _ports(v, spec, graph) for v, spec in specs.items()}
    draft = [_draft(v, specs[v], graph.nodes[v], reading[v]) for v in _order(specs, reading)]
    output = _output(graph.graph.get("output"), {*inputs, *specs})
    types = _types(draft, specs, inputs, graph)
    nodes = [Node(n.name, n.op, n.settings, n.inputs, tuple(types[n.name]), n.weights, n.initial) for n in draft]
    frame = Architecture(graph.graph.get("name", "graph"), inputs, tuple(nodes), output).to_dict()
    kept = ("scale", "causal", "outline", "sources", "stem", "readout", "fit")
    more = {k: graph.graph[k] for k in kept if k in graph.graph}
    return Architecture.from_dict(frame | more)


def _type(data: Sequence[Any] | None) -> ValueType:
    if not data:
        raise RuleError("an input must have its `type`, as [64]", value=repr(data))
    return ValueType.from_list(data)


def _spec(name: str, data: Mapping[str, Any], registry: Registry) -> OpSpec:
    if not isinstance(data.get("op"), str):
        raise RuleError("a vertex must be an input or name its `op`", value=f"{dict(data)}", node=str(name))
    return registry[data["op"]]


def _ports(name: str, spec: OpSpec, graph: Network) -> tuple[tuple[Source, ...], ...]:
    """The sources of each port, in their places."""
    found: list[list[tuple[int, Source]]] = [[] for _ in spec.ports]
    for at, (source, _, data) in enumerate(graph.in_edges(name, data=True)):
        number = _port(data.get("port", 0), name, spec)
        edge = Source(source, data.get("output", 0), data.get("delay", 0))
        if edge.delay < 0:
            raise RuleError("a delay must be at least 0", value=f"{edge.delay}", node=name)
        found[number].append((data.get("place", at), edge))
    for port, edges in zip(spec.ports, found, strict=True):
        if not edges and not port.optional:
            raise RuleError(f"op `{spec.name}` needs its input `{port.name}`", value="no edge", node=name)
        if len(edges) > 1 and not port.many:
            rule = f"several edges into one port: `{port.name}` of op `{spec.name}` takes one"
            raise RuleError(rule, value=f"{len(edges)}", node=name)
        edges.sort(key=lambda e: e[0])
    return tuple(tuple(s for _, s in edges) for edges in found)


def _port(port: int | str, name: str, spec: OpSpec) -> int:
    names = [p.name for p in spec.ports]
    if isinstance(port, str) and port in names:
        return names.index(port)
    if isinstance(port, int) and 0 <= port < len(names):
        return port
    rule = f"op `{spec.name}` has the ports {', '.join(names) or 'none'}"
    raise RuleError(rule, value=f"{port!r}", near=nearest(str(port), names), node=name)


def _order(specs: Mapping[str, OpSpec], reading: Mapping[str, tuple[tuple[Source, ...], ...]]) -> list[str]:
    """The nodes so that every undelayed edge points forward, else as the graph has them."""
    now: nx.DiGraph[str] = nx.DiGraph()
    now.add_nodes_from(specs)
    for name, ports in reading.items():
        now.add_edges_from((s.node, name) for port in ports for s in port if not s.delay and s.node in specs)
    place = {name: i for i, name in enumerate(specs)}
    try:
        return list(nx.lexicographical_topological_sort(now, key=place.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [u for u, _ in nx.find_cycle(now)]
        text = " → ".join([*cycle, cycle[0]])
        raise RuleError("every cycle must carry a delay", value=f"`{text}`", node=cycle[0]) from None


def _draft(name: str, spec: OpSpec, data: Mapping[str, Any], inputs: tuple[tuple[Source, ...], ...]) -> Node:
    """The node without its types."""
    try:
        settings = spec.complete(data.get("settings", {}))
    except RuleError as error:
        raise _at(name, error) from None
    return Node(name, spec.name, settings, inputs, (), data.get("weights"), data.get("initial", "zero"))


def _output(output: Sequence[Any] | None, known: set[str]) -> Source:
    if not output or output[0] not in known:
        near = nearest(str(output[0]), known) if output else ()
        rule = "the graph must name its `output`, as ['out', 0, 0]"
        raise RuleError(rule, value=repr(output), near=near)
    return Source(*output)


def _types(draft: Sequence[Node], specs: Mapping[str, OpSpec], inputs: Mapping[str, ValueType], graph: Any) -> Types:
    """The types of all outputs.

    A delayed edge may come from a node whose type is not known yet. It starts as the type that the graph states, else
    as that of an input; then the inference is repeated until nothing changes.
    """
    types: Types = {name: (t,) for name, t in inputs.items()}
    guess = next(iter(inputs.values()), None)
    stated = {n.name: [_type(t) for t in graph.nodes[n.name].get("types", ())] for n in draft}
    late: Types = {n.name: stated[n.name] or [guess] * 64 for n in draft if guess is not None}
    rules = {n.name: specs[n.name].bind(n.settings) for n in draft}
    for _ in range(len(draft) + 2):
        before = dict(late)
        for node in draft:
            try:
                found = rules[node.name].infer(*_inputs(node, specs[node.name], types, late))
            except RuleError as error:
                raise _at(node.name, error) from None
            types[node.name] = late[node.name] = found if isinstance(found, tuple) else (found,)
        if all(tuple(before[name]) == tuple(late[name]) for name in before):
            return types
    raise RuleError("the types around each cycle must settle", value="types that change with every turn")


def _inputs(node: Node, spec: OpSpec, types: Types, late: Types) -> list[ValueType | None]:
    found: list[ValueType | None] = []
    for port, sources in zip(spec.ports, node.inputs, strict=True):
        here: list[ValueType | None] = []
        for s in sources:
            outputs = types[s.node] if s.node in types else late[s.node]
            if not 0 <= s.output < len(outputs):
                rule = f"`{s.node}` has {len(outputs)} outputs, numbered from 0"
                raise RuleError(rule, value=f"{s.output}", node=node.name)
            here.append(outputs[s.output])
        found += here if port.many else here or [None]
    return found


def _at(name: str, error: RuleError) -> RuleError:
    return RuleError(error.rule, value=error.value, near=error.near, setting=error.setting, node=name, hint=error.hint)
