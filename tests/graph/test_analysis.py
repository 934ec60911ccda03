"""Components in order, and the facts of an architecture."""

from __future__ import annotations

import random

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.errors import UnknownNameError
from archsearch.graph.analysis import Component, components, facts, live_nodes, params
from archsearch.graph.opspec import Registry
from tests.graph.toy import REGISTRY, Pen, random_graph


@given(st.integers(0, 10**9))
def test_components_are_those_of_networkx_in_order(seed: int) -> None:
    architecture = random_graph(random.Random(seed), most=14)
    nodes = live_nodes(architecture)
    names = {n.name for n in nodes}
    graph = nx.MultiDiGraph([(s.node, n.name) for n in nodes for s in n.sources if s.node in names])
    graph.add_nodes_from(names)
    found = components(architecture)
    assert {frozenset(c.nodes) for c in found} == set(map(frozenset, nx.strongly_connected_components(graph)))
    place = {name: i for i, c in enumerate(found) for name in c.nodes}
    assert all(place[u] <= place[v] for u, v in graph.edges())
    for c in found:
        assert c.cyclic == (len(c.nodes) > 1 or graph.has_edge(c.nodes[0], c.nodes[0]))
        inner = {name: i for i, name in enumerate(c.nodes)}
        undelayed = [(s.node, n.name) for n in nodes for s in n.sources if not s.delay]
        assert all(inner[u] < inner[v] for u, v in undelayed if u in inner and v in inner)


def test_live_are_those_that_the_output_depends_on() -> None:
    pen = Pen()
    pen("dead", "tanh", "in")
    pen("a", "tanh", "in")
    pen("b", "add", ["a", "late[t-1]"])
    pen("late", "linear", "in")
    assert [n.name for n in live_nodes(pen.done("b"))] == ["a", "b", "late"]


def test_components_without_cycles_keep_the_order() -> None:
    pen = Pen()
    for i in range(5):
        pen(f"n{i}", "tanh", f"n{i - 1}" if i else "in")
    assert components(pen.done("n4")) == tuple(Component((f"n{i}",), False) for i in range(5))


def test_components_of_a_deep_graph_need_no_recursion() -> None:
    pen = Pen()
    for i in range(5000):
        pen(f"n{i}", "add", [f"n{i - 1}", "n4999[t-1]"] if i else ["in"])
    first, ring = components(pen.done("n4999"))
    assert (first.nodes, first.cyclic) == (("n0",), False)
    assert (len(ring.nodes), ring.cyclic) == (4999, True)


def cell() -> Pen:
    """`h = tanh(W x + U h[t-1])`."""
    pen = Pen(8)
    pen("x", "linear", "in")
    pen("u", "linear", "h[t-1]", bias=False)
    pen("s", "add", ["x", "u"])
    pen("h", "tanh", "s")
    return pen


def test_a_delayed_cycle_is_serial() -> None:
    f = facts(cell().done("h"), REGISTRY, 32)
    assert f.params == 72 + 64
    assert f.flops_per_token == 2 * 2 * 64
    assert f.state_bytes == 4 * 8
    assert f.span == 32
    assert (f.nodes, f.depth, f.families) == (4, 3, ("perceptron",))
    assert not f.parallel_in_time
    assert f.serial == ((("u", "s", "h"), "tanh makes `h` nonlinear in its past"),)


def test_a_shift_is_not_serial_but_is_state() -> None:
    pen = Pen(8)
    pen("h", "linear", "in")
    pen("s", "add", ["h", "h[t-3]", "h[t-1]"])
    f = facts(pen.done("s"), REGISTRY, 32)
    assert (f.parallel_in_time, f.span, f.state_bytes, f.serial) == (True, 1, 3 * 4 * 8, ())


def test_spans_add_up_along_the_worst_path() -> None:
    pen = Pen(8)
    pen("g1", "gru_core", "in")
    pen("g2", "gru_core", "g1")
    pen("scan", "s4d_core", "in")
    pen("sum", "add", ["g2", "scan"])
    f = facts(pen.done("sum"), REGISTRY, 64)
    assert f.span == 2 * 64 - 1
    assert f.serial == ((("g1",), "gru_core is nonlinear in its past"), (("g2",), "gru_core is nonlinear in its past"))
    assert f.families == ("recurrence", "state_space")
    assert facts(pen.done("scan"), REGISTRY, 64).span == 12


@pytest.mark.parametrize("time", [1, 2, 4, 64])
def test_a_scan_is_parallel_at_every_length(time: int) -> None:
    pen = Pen(8)
    pen("scan", "s4d_core", "in")
    assert facts(pen.done("scan"), REGISTRY, time).parallel_in_time
    pen("g", "gru_core", "scan")
    assert not facts(pen.done("g"), REGISTRY, time).parallel_in_time


def test_shared_weights_count_once_and_states_twice() -> None:
    pen = Pen(8)
    pen("g1", "gru_core", "in", weights="g")
    pen("g2", "gru_core", "g1", weights="g")
    pen("g3", "gru_core", "g2")
    f = facts(pen.done("g3"), REGISTRY, 4)
    assert (f.params, f.state_bytes) == (2 * 6 * 64, 3 * 4 * 8)


def test_a_learned_start_counts_where_it_is_read() -> None:
    pen = Pen(8)
    pen("h", "tanh", "in", initial="learned")
    assert params(pen.done("h"), REGISTRY) == 0
    assert params(pen.done("h[t-1]"), REGISTRY) == 8


def test_dead_nodes_do_not_count() -> None:
    pen = cell()
    pen("dead", "gru_core", "h")
    assert facts(pen.done("h"), REGISTRY, 32) == facts(cell().done("h"), REGISTRY, 32)


def test_an_optional_port_may_stay_open() -> None:
    pen = Pen(8)
    pen("a", "softmax_attention", "in", "in", "in")
    assert facts(pen.done("a"), REGISTRY, 4).families == ("attention",)


def test_unknown_op() -> None:
    with pytest.raises(UnknownNameError, match="Unknown op `tanh`"):
        facts(cell().done("h"), Registry([s for s in REGISTRY.values() if s.name != "tanh"]), 4)
