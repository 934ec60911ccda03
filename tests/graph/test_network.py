"""Architectures as graphs of networkx, and back."""

from __future__ import annotations

import json
import random
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.content import block_files, names
from archsearch.errors import RuleError, UnknownNameError
from archsearch.graph.network import from_networkx, to_networkx
from archsearch.graph.normal import digest
from archsearch.graph.space import SearchSpace
from archsearch.graph.types import ValueType
from archsearch.ops.registry import registry
from tests.graph.toy import REGISTRY, Pen, random_graph


@settings(max_examples=200)
@given(st.integers(0, 10**9))
def test_there_and_back(seed: int) -> None:
    architecture = random_graph(random.Random(seed), 15)
    graph = to_networkx(architecture)
    assert from_networkx(graph, REGISTRY) == architecture
    assert graph.number_of_nodes() == len(architecture.nodes) + 1
    assert graph.number_of_edges() == sum(len(n.sources) for n in architecture.nodes)


@pytest.mark.parametrize("name", names("search_spaces"))
def test_shipped_spaces_there_and_back_through_json(name: str) -> None:
    space = SearchSpace.read(names("search_spaces")[name], registry(), block_files())
    architecture = space.sample(random.Random(1)).architecture
    data = json.loads(json.dumps(nx.node_link_data(to_networkx(architecture), edges="edges")))
    assert from_networkx(nx.node_link_graph(data, edges="edges"), space.registry) == architecture


def test_types_are_inferred_anew_in_whatever_order() -> None:
    pen = Pen(8)
    pen("a", "linear", "in", width=4)
    pen("s", "split", "a", parts=2)
    pen("out", "concat", ["s#1", "s", "in"])
    graph = to_networkx(pen.done("out"))
    graph.nodes["a"]["settings"] = {"width": 6}
    for name in ("a", "s", "out"):
        del graph.nodes[name]["types"]
    turned: nx.MultiDiGraph[str] = nx.MultiDiGraph(**graph.graph)
    turned.add_nodes_from(reversed(list(graph.nodes(data=True))))
    turned.add_edges_from(graph.edges(data=True))
    found = from_networkx(turned, REGISTRY)
    assert [n.name for n in found.nodes] == ["a", "s", "out"]
    assert found.node("s").types == (ValueType((3,)), ValueType((3,)))
    assert found.node("out").types == (ValueType((14,)),)
    assert found.node("a").settings == {"width": 6, "bias": True}
    pen = Pen(8)
    pen("a", "linear", "in", width=6)
    pen("s", "split", "a", parts=2)
    assert digest(found, REGISTRY) == digest(
        from_networkx(to_networkx(Pen.done(_after(pen), "out")), REGISTRY), REGISTRY
    )


def _after(pen: Pen) -> Pen:
    pen("out", "concat", ["s#1", "s", "in"])
    return pen


def test_a_cycle_whose_type_nobody_stated() -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(output=["h", 0, 0])
    graph.add_node("in", kind="input", type=[8])
    graph.add_node("h", op="linear", settings={"width": 3})
    graph.add_node("both", op="concat")
    graph.add_edge("in", "both")
    graph.add_edge("h", "both", delay=1)
    graph.add_edge("both", "h")
    found = from_networkx(graph, REGISTRY)
    assert found.node("both").types == (ValueType((11,)),)
    assert found.name == "graph"
    assert found.causal


def test_a_type_that_never_settles() -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(output=["h", 0, 0])
    graph.add_node("in", kind="input", type=[8])
    graph.add_node("h", op="concat")
    graph.add_edge("in", "h")
    graph.add_edge("h", "h", delay=1)
    with pytest.raises(RuleError, match="must settle"):
        from_networkx(graph, REGISTRY)


def changed(what: str) -> Any:
    pen = Pen(8)
    pen("a", "linear", "in")
    pen("out", "subtract", "a", "in")
    graph = to_networkx(pen.done("out"))
    match what:
        case "op":
            graph.nodes["a"]["op"] = "liner"
        case "no op":
            graph.add_node("new")
        case "setting":
            graph.nodes["a"]["settings"] = {"widht": 3}
        case "type":
            graph.nodes["in"]["type"] = []
        case "port":
            graph.add_edge("in", "out", port="z")
        case "unconnected":
            graph.remove_edge("in", "out")
        case "twice":
            graph.add_edge("in", "a")
        case "cycle":
            graph.remove_edge("in", "a")
            graph.add_edge("out", "a")
        case "output":
            graph.graph["output"] = ["ot", 0, 0]
        case "which output":
            graph.add_edge("out", "new", output=1)
            graph.nodes["new"].update(op="tanh")
        case "delay":
            graph.add_edge("in", "new", delay=-1)
            graph.nodes["new"].update(op="tanh")
    return graph


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("op", "Unknown op `liner`. Did you mean `linear`"),
        ("no op", "node `new`: a vertex must be an input or name its `op`"),
        ("setting", "node `a`: op `linear` has the settings width, bias, but got `widht`. Did you mean `width`"),
        ("type", "an input must have its `type`"),
        ("port", "node `out`: op `subtract` has the ports x, y, but got 'z'"),
        ("unconnected", "node `out`: op `subtract` needs its input `y`, but got no edge"),
        ("twice", "node `a`: several edges into one port: `x` of op `linear` takes one, but got 2"),
        ("cycle", "every cycle must carry a delay, but got `"),
        ("output", "must name its `output`, .*but got .'ot', 0, 0.. Did you mean `out`"),
        ("which output", "node `new`: `out` has 1 outputs, numbered from 0, but got 1"),
        ("delay", "a delay must be at least 0, but got -1"),
    ],
)
def test_bad_graphs(what: str, message: str) -> None:
    with pytest.raises((RuleError, UnknownNameError), match=message):
        from_networkx(changed(what), REGISTRY)
