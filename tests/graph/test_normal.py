"""The normal form: equal for the same graph, different for different ones."""

from __future__ import annotations

import dataclasses
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.graph import canonical
from archsearch.graph.analysis import live_nodes
from archsearch.graph.architecture import Architecture, Node
from archsearch.graph.normal import digest, normal_form
from archsearch.graph.opspec import Registry
from archsearch.graph.types import ValueType
from tests.graph.toy import REGISTRY, Pen, random_graph, shuffled

SEEDS = st.integers(0, 10**9)
PLAIN = "linear add multiply subtract tanh"


def form(architecture: Architecture) -> str:
    return normal_form(architecture, REGISTRY)


def as_networkx(architecture: Architecture) -> nx.DiGraph:
    """Nodes and weight groups as vertices, edges with all that they carry; for graphs without identities."""
    nodes = live_nodes(architecture)
    late = {s.node for n in nodes for s in n.sources if s.delay}
    graph = nx.DiGraph()
    for name in architecture.inputs:
        graph.add_node(name, label=("input", name))
    sizes = Counter(n.weights for n in nodes if n.weights)
    for n in nodes:
        learned = n.initial == "learned" and n.name in late
        label = (n.op, tuple(n.settings.items()), learned, n.name == architecture.output.node)
        graph.add_node(n.name, label=label)
        if sizes[n.weights] > 1:
            graph.add_node(("weights", n.weights), label="weights")
            graph.add_edge(("weights", n.weights), n.name, label="weights")
    for n in nodes:
        ordered = n.op not in ("add", "multiply")
        edges: dict[str, list[Any]] = {}
        for p, port in enumerate(n.inputs):
            for k, s in enumerate(port):
                edges.setdefault(s.node, []).append((p, k * ordered, s.output, s.delay))
        for name, found in edges.items():
            graph.add_edge(name, n.name, label=sorted(found))
    return graph


def isomorphic(a: Architecture, b: Architecture) -> bool:
    same = nx.algorithms.isomorphism.categorical_node_match("label", None)
    edges = nx.algorithms.isomorphism.categorical_edge_match("label", None)
    return bool(nx.is_isomorphic(as_networkx(a), as_networkx(b), node_match=same, edge_match=edges))


# ---- the same graph --------------------------------------------------------------------------------------------------


@settings(max_examples=2000)
@given(SEEDS, st.integers(1, 25))
def test_names_and_orders_do_not_matter(seed: int, most: int) -> None:
    rng = random.Random(seed)
    architecture = random_graph(rng, most)
    assert form(architecture) == form(shuffled(architecture, rng))


@settings(max_examples=400)
@given(SEEDS)
def test_symmetric_graphs_have_one_form(seed: int) -> None:
    rng = random.Random(seed)
    architecture = random_graph(rng, 14, "tanh add")
    assert form(architecture) == form(shuffled(architecture, rng))


@settings(max_examples=400)
@given(SEEDS, st.sampled_from(["tanh add", "linear add", PLAIN]))
def test_equal_forms_are_isomorphic_and_the_reverse(seed: int, ops: str) -> None:
    rng = random.Random(seed)
    first = random_graph(rng, 4, ops)
    for second in (random_graph(rng, 4, ops), mutated(shuffled(first, rng), rng)):
        assert (form(first) == form(second)) == isomorphic(first, second)


def mutated(architecture: Architecture, rng: random.Random) -> Architecture:
    """One change somewhere: an edge, a delay, a setting, a start, or who shares weights."""
    nodes = list(architecture.nodes)
    i = rng.randrange(len(nodes))
    node = nodes[i]
    ports = [list(p) for p in node.inputs]
    change = rng.choice(["edge", "delay", "bias", "initial", "weights"])
    if change == "edge":
        ports[0][0] = dataclasses.replace(
            ports[0][0], node=rng.choice([*architecture.inputs, *(n.name for n in nodes[:i])])
        )
    if change == "delay":
        ports[0][0] = dataclasses.replace(ports[0][0], delay=ports[0][0].delay + 1)
    more: dict[str, Any] = {}
    if change == "bias" and node.op == "linear":
        more["settings"] = {**node.settings, "bias": not node.settings["bias"]}
        more["weights"] = None
    if change == "initial":
        more["initial"] = "zero" if node.initial == "learned" else "learned"
    if change == "weights":
        more["weights"] = None
    nodes[i] = dataclasses.replace(node, inputs=tuple(map(tuple, ports)), **more)
    return dataclasses.replace(architecture, nodes=tuple(nodes))


def test_one_digest_in_every_process() -> None:
    code = (
        "import random; from archsearch.graph.normal import digest; from tests.graph.toy import REGISTRY, random_graph;"
        "print(digest(random_graph(random.Random(5), 20), REGISTRY))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert {r.stdout.strip() for r in runs} == {digest(random_graph(random.Random(5), 20), REGISTRY)}
    assert len(runs[0].stdout.strip()) == 16


def test_reads_well() -> None:
    pen = Pen()
    pen("x", "linear", "in", bias=False)
    pen("h", "add", ["x", "h[t-1]"], initial="learned")
    pen("out", "linear", "h", weights="w")
    pen("again", "linear", "out", weights="w")
    assert form(pen.done("again")).splitlines() == [
        "normal form 1, causal",
        "'in' 8 at 1",
        "1 linear bias=false width=null (0)",
        "2 add from a learned start (1 2[t-1])",
        "3 linear bias=true width=null weights 0 (2)",
        "4 linear bias=true width=null weights 0 (3)",
        "out 4",
    ]


# ---- what does not count ---------------------------------------------------------------------------------------------


def written(*write: Callable[[Pen], Any], output: str = "out", **fields: Any) -> Architecture:
    pen = Pen()
    for w in write:
        w(pen)
    return pen.done(output, **fields)


PAIRS_ALIKE = {
    "a dead node": (
        [lambda p: p("out", "tanh", "in")],
        [lambda p: p("out", "tanh", "in"), lambda p: p("dead", "gru_core", "out")],
    ),
    "an identity": (
        [lambda p: p("out", "tanh", "in")],
        [lambda p: p("i", "identity", "in"), lambda p: p("out", "tanh", "i")],
    ),
    "a sum of one and a dropout of none": (
        [lambda p: p("out", "tanh", "in")],
        [lambda p: p("a", "add", ["in"]), lambda p: p("d", "dropout", "a", rate=0), lambda p: p("out", "tanh", "d")],
    ),
    "an identity between delays": (
        [lambda p: p("h", "tanh", "in"), lambda p: p("out", "tanh", "h[t-3]")],
        [lambda p: p("h", "tanh", "in"), lambda p: p("i", "identity", "h[t-1]"), lambda p: p("out", "tanh", "i[t-2]")],
    ),
    "an identity on a cycle": (
        [lambda p: p("out", "add", ["in", "out[t-1]"])],
        [lambda p: p("i", "identity", "out[t-1]"), lambda p: p("out", "add", ["i", "in"])],
    ),
    "a weight group of one": (
        [lambda p: p("out", "linear", "in")],
        [lambda p: p("out", "linear", "in", weights="w"), lambda p: p("dead", "linear", "in", weights="w")],
    ),
    "a weight group of nodes without weights": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "tanh", "a")],
        [lambda p: p("a", "tanh", "in", weights="w"), lambda p: p("out", "tanh", "a", weights="w")],
    ),
    "a start that nobody reads": (
        [lambda p: p("out", "tanh", "in")],
        [lambda p: p("out", "tanh", "in", initial="learned")],
    ),
}


@pytest.mark.parametrize("name", PAIRS_ALIKE)
def test_does_not_count(name: str) -> None:
    a, b = (written(*side) for side in PAIRS_ALIKE[name])
    assert form(a) == form(b)


def test_defaults_left_unsaid_do_not_count() -> None:
    said = written(lambda p: p("out", "softmax_attention", "in", "in", "in"))
    unsaid = dataclasses.replace(said, nodes=(dataclasses.replace(said.nodes[0], settings={}),))
    assert form(said) == form(unsaid)


def test_name_and_scale_do_not_count() -> None:
    a = written(lambda p: p("out", "tanh", "in"))
    assert form(a) == form(dataclasses.replace(a, name="b", scale={"width": 8, "depth": 3}))


# ---- what counts -----------------------------------------------------------------------------------------------------

PAIRS_DIFFERENT = {
    "one node used twice and two nodes": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "add", ["a", "a"])],
        [lambda p: p("a", "tanh", "in"), lambda p: p("b", "tanh", "in"), lambda p: p("out", "add", ["a", "b"])],
    ),
    "one node and two that share weights": (
        [lambda p: p("a", "linear", "in"), lambda p: p("out", "add", ["a", "a"])],
        [*(lambda p, n=n: p(n, "linear", "in", weights="w") for n in "ab"), lambda p: p("out", "add", ["a", "b"])],
    ),
    "shared and separate weights": (
        [lambda p: p("a", "linear", "in", weights="w"), lambda p: p("out", "linear", "a", weights="w")],
        [lambda p: p("a", "linear", "in"), lambda p: p("out", "linear", "a")],
    ),
    "the order into a subtraction": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "subtract", "a", "in")],
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "subtract", "in", "a")],
    ),
    "the order into a concat": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "concat", ["a", "in"])],
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "concat", ["in", "a"])],
    ),
    "the port of an edge": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "softmax_attention", "a", "in", "in")],
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "softmax_attention", "in", "a", "in")],
    ),
    "an optional port": (
        [lambda p: p("out", "softmax_attention", "in", "in", "in")],
        [lambda p: p("out", "softmax_attention", "in", "in", "in", "in")],
    ),
    "which output": (
        [lambda p: p("s", "split", "in", parts=2), lambda p: p("out", "tanh", "s")],
        [lambda p: p("s", "split", "in", parts=2), lambda p: p("out", "tanh", "s#1")],
    ),
    "a delay": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "tanh", "a[t-1]")],
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "tanh", "a[t-2]")],
    ),
    "a learned start": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("out", "tanh", "a[t-1]")],
        [lambda p: p("a", "tanh", "in", initial="learned"), lambda p: p("out", "tanh", "a[t-1]")],
    ),
    "the learned start of an identity": (
        [lambda p: p("i", "identity", "in"), lambda p: p("out", "tanh", "i[t-1]")],
        [lambda p: p("i", "identity", "in", initial="learned"), lambda p: p("out", "tanh", "i[t-1]")],
    ),
    "a learned start in front of an identity": (
        [lambda p: p("a", "tanh", "in"), lambda p: p("i", "identity", "a[t-1]"), lambda p: p("out", "tanh", "i[t-1]")],
        [
            lambda p: p("a", "tanh", "in", initial="learned"),
            lambda p: p("i", "identity", "a[t-1]"),
            lambda p: p("out", "tanh", "i[t-1]"),
        ],
    ),
    "a setting": (
        [lambda p: p("out", "linear", "in")],
        [lambda p: p("out", "linear", "in", bias=False)],
    ),
}


@pytest.mark.parametrize("name", PAIRS_DIFFERENT)
def test_counts(name: str) -> None:
    a, b = (written(*side) for side in PAIRS_DIFFERENT[name])
    assert form(a) != form(b)


def test_which_pairs_share_weights_counts() -> None:
    def pairs(groups: str) -> Architecture:
        pen = Pen()
        for i, g in enumerate(groups):
            pen(f"n{i}", "linear", f"n{i - 1}" if i else "in", weights=g)
        return pen.done("n3")

    assert len({form(pairs(g)) for g in ("aabb", "abab", "abba", "aaaa")}) == 4
    assert form(pairs("aabb")) == form(pairs("bbaa"))


def test_causality_inputs_and_sources_count() -> None:
    a = written(lambda p: p("out", "tanh", "in"))
    written_op = Registry(
        [dataclasses.replace(s, source="x = 1" if s.name == "tanh" else None) for s in REGISTRY.values()]
    )
    forms = {
        form(a),
        form(dataclasses.replace(a, causal=False)),
        form(dataclasses.replace(a, inputs={"in": ValueType((9,))})),
        form(dataclasses.replace(a, output=dataclasses.replace(a.output, delay=1))),
        form(dataclasses.replace(a, sources={"tanh": "x = 2"})),
        normal_form(a, written_op),
    }
    assert len(forms) == 6
    assert form(a) == form(dataclasses.replace(a, sources={"elsewhere": "x = 3"}))
    assert normal_form(a, written_op) == form(dataclasses.replace(a, sources={"tanh": "x = 1"}))


def test_rings_of_identities_end() -> None:
    pen = Pen()
    pen("a", "identity", "b[t-1]")
    pen("b", "identity", "a")
    assert form(pen.done("b")).count("identity") >= 1


# ---- symmetries ------------------------------------------------------------------------------------------------------


def paired(edges: list[tuple[int, int]], op: str = "multiply") -> Architecture:
    """A linear per vertex, a product per edge, and the sum of all products."""
    pen = Pen()
    for v in sorted({v for e in edges for v in e}):
        pen(f"l{v}", "linear", "in")
    products = [pen(f"m{i}", op, [f"l{a}", f"l{b}"]) for i, (a, b) in enumerate(edges)]
    pen("sum", "add", products)
    return pen.done("sum")


def ring(n: int, start: int = 0) -> list[tuple[int, int]]:
    return [(start + i, start + (i + 1) % n) for i in range(n)]


def test_hexagon_and_two_triangles() -> None:
    hexagon, triangles = paired(ring(6)), paired(ring(3) + ring(3, 3))
    assert form(hexagon) != form(triangles)
    for seed in range(20):
        rng = random.Random(seed)
        assert form(shuffled(hexagon, rng)) == form(hexagon)
        assert form(shuffled(triangles, rng)) == form(triangles)


FOOLING_PAIRS = {
    "rings": (ring(12), ring(7) + ring(5, 7)),
    "Petersen and prism": (
        [*ring(5), *((i, i + 5) for i in range(5)), *((5 + i, 5 + (i + 2) % 5) for i in range(5))],
        [*ring(5), *((i, i + 5) for i in range(5)), *ring(5, 5)],
    ),
    "rook and Shrikhande": (
        [
            ((r, c), (s, d))
            for r in range(4)
            for c in range(4)
            for s in range(4)
            for d in range(4)
            if (r == s) != (c == d)
        ],
        [((r, c), ((r + a) % 4, (c + b) % 4)) for r in range(4) for c in range(4) for a, b in ((0, 1), (1, 0), (1, 1))],
    ),
}


def numbered(edges: list[Any]) -> list[tuple[int, int]]:
    number = {v: i for i, v in enumerate(sorted({v for e in edges for v in e}))}
    return sorted({(min(number[a], number[b]), max(number[a], number[b])) for a, b in edges})


@pytest.mark.parametrize("name", FOOLING_PAIRS)
def test_graphs_that_refinement_alone_cannot_tell_apart(name: str) -> None:
    a, b = (paired(numbered(edges)) for edges in FOOLING_PAIRS[name])
    assert len(a.nodes) == len(b.nodes)
    assert form(a) != form(b)
    for seed in range(3):
        assert form(shuffled(a, random.Random(seed))) == form(a)
        assert form(shuffled(b, random.Random(seed))) == form(b)


def parallel_heads(n: int, length: int = 4) -> Architecture:
    pen = Pen()
    ends = []
    for h in range(n):
        at = "in"
        for i in range(length):
            at = pen(f"h{h}_{i}", "linear", at)
        ends.append(at)
    pen("sum", "add", ends)
    return pen.done("sum")


@pytest.mark.parametrize("heads", [2, 16, 200])
def test_parallel_heads_need_no_branching(heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical._Search, "_branch", None)
    architecture = parallel_heads(heads)
    assert form(architecture) == form(shuffled(architecture, random.Random(1)))


def test_beyond_the_work_limit_the_form_is_still_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical._Search, "__init__", limited(canonical._Search.__init__))
    hexagon, triangles = paired(ring(6)), paired(ring(3) + ring(3, 3))
    assert form(hexagon) == form(hexagon)
    assert form(hexagon) != form(triangles)


def limited(init: Callable[..., None]) -> Callable[..., None]:
    return lambda self, work: init(self, 0)


# ---- work -----------------------------------------------------------------------------------------------------------


def stack(layers: int) -> Architecture:
    """Layers of seven nodes, as a transformer has them."""
    pen, x = Pen(), "in"
    for i in range(layers):
        norm = pen(f"{i}.norm", "rms_norm", x)
        q, k, v = (pen(f"{i}.{n}", "linear", norm) for n in "qkv")
        mix = pen(f"{i}.mix", "softmax_attention", q, k, v)
        y = pen(f"{i}.y", "linear", mix)
        x = pen(f"{i}.out", "add", [x, y])
    return pen.done(x)


def calls(architecture: Architecture) -> int:
    """Work that no other load on the machine changes: how many functions one digest calls."""
    count = 0

    def tally(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tally)
    try:
        digest(architecture, REGISTRY)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("make", [stack, lambda n: parallel_heads(n, 7), lambda n: shared_stack(n)])
def test_work_grows_about_as_the_size(make: Callable[[int], Architecture]) -> None:
    small, large = calls(make(70)), calls(make(1400))
    assert math.log(large / small) / math.log(20) < 1.1


def shared_stack(layers: int) -> Architecture:
    architecture = stack(layers)

    def share(node: Node) -> Node:
        return dataclasses.replace(node, weights=node.name.split(".")[1]) if node.op == "linear" else node

    return dataclasses.replace(architecture, nodes=tuple(map(share, architecture.nodes)))
