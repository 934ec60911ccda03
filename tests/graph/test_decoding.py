"""How an architecture decodes, in figures and in words."""

from __future__ import annotations

from archsearch.graph.analysis import facts
from archsearch.graph.architecture import Architecture
from archsearch.graph.decoding import Decoding, decoding
from archsearch.ops.registry import registry
from tests.build.graphs import graph, transformer


def said(a: Architecture, time: int = 100) -> Decoding:
    found = decoding(a, registry(), time)
    assert found.state_bytes == facts(a, registry(), time).state_bytes
    assert found.time == time
    return found


def test_constant_state() -> None:
    a = graph(8, {"core": ("gru_core", {}, "in"), "out": ("add", {}, ("core", "core[t-3]"))})
    found = said(a)
    assert found.is_constant
    assert str(found) == "128 bytes of state a stream, constant in time"  # 4 bytes for 8 of the core and 24 late ones


def test_growing_state() -> None:
    found = said(transformer(8, 1, heads=2), 1000)
    assert found.grows == ("body.0.mix.core",)
    assert str(found) == "64,000 bytes of state a stream at 1,000 steps, growing: `body.0.mix.core` keeps every step"
    many = said(transformer(8, 3, heads=2))
    assert str(many).endswith("`body.0.mix.core`, `body.1.mix.core` and 1 more keep every step")
    assert not many.is_constant


def test_no_state() -> None:
    found = said(graph(8, {"out": ("mlp", {}, "in")}))
    assert found.is_constant
    assert str(found) == "without state: no step depends on another"


def test_later_steps() -> None:
    settings = {"heads": 2, "causal": False}
    found = said(graph(8, {"out": ("softmax_attention", settings, "in", "in", "in")}))
    assert not found.is_constant
    assert str(found) == "not step by step: `out` sees later steps"
    two = {"a": ("reverse", {}, "in"), "out": ("reverse", {}, "a")}
    assert str(said(graph(8, two))) == "not step by step: `a` and `out` see later steps"


def test_dead_nodes_keep_nothing() -> None:
    assert not said(graph(8, {"dead": ("cumsum", {}, "in"), "out": ("tanh", {}, "in")})).state_bytes
