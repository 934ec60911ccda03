"""Cycles that scan against the same cycles as loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from archsearch.build.model import Model, build
from archsearch.build.plan import Linears, Loop
from archsearch.build.scans import Scan
from archsearch.graph.architecture import Architecture
from archsearch.ops.base import Context
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import graph
from tests.build.random_graphs import graphs
from tests.graph.test_recurrence import MIN_GRU, ring
from tests.ops.contract import close

KINDS = InputKind("tokens", 3), OutputKind("steps", 3)
SCALED = {
    "keep": ("scale", {"by": 0.8, "learned": True}, "h[t-1]"),
    "flip": ("neg", {}, "keep"),
    "drop": ("dropout", {"rate": 0.3}, "flip"),
    "same": ("identity", {}, "drop"),
    "h": ("subtract", {}, "in", "same"),
    "out": ("add", {}, ("h", "keep")),
}
BLOCKS = {
    "g": ("sigmoid", {}, "in"),
    "ga": ("multiply", {}, ("g", "a[t-1]")),
    "gb": ("multiply", {}, ("in", "b[t-2]")),
    "a": ("subtract", {}, "ga", "gb"),
    "half": ("scale", {"by": 0.5}, "a[t-1]"),
    "b": ("add", {}, ("in", "half")),
    "out": ("add", {}, ("a", "b")),
}


def both(a: Architecture, time: int, dtype: torch.dtype = torch.float64, train: bool = False) -> None:
    """Outputs and gradients of the compiled form and of the loop, within 1e-10 or 1e-5 of the largest value."""
    (wanted, got), tolerance = (results(a, time, dtype, train, loops) for loops in (True, False)), 1e-5
    for i, (p, q) in enumerate(zip(got, wanted, strict=True)):
        error, scale = (p - q).abs().max().item(), q.abs().max().item()
        assert error <= (tolerance if dtype == torch.float32 else 1e-10) * max(scale, 1.0), f"value {i}: {error:.1e}"


def results(a: Architecture, time: int, dtype: torch.dtype, train: bool, loops: bool) -> list[Tensor]:
    model, g = moved(a, dtype, loops), torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, time, a.inputs["in"].width, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    y = model._plan.run({"in": x}, Context(train, model.generators if train else None))
    weights = torch.randn(y.shape, generator=g, dtype=torch.float64).to(dtype)
    of = [x, *model.graph.parameters()]
    found = torch.autograd.grad(y, of, weights, allow_unused=True)
    return [y, *(torch.zeros_like(p) if d is None else d for p, d in zip(of, found, strict=True))]


def moved(a: Architecture, dtype: torch.dtype, loops: bool) -> Model:
    """A model with two copies, every parameter moved off its first value."""
    model, g = build(a, *KINDS, seeds=[1, 2], loops=loops).to(dtype), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=g, dtype=torch.float64).to(dtype))
    return model


def loops_of(a: Architecture) -> int:
    return sum(isinstance(c, Loop) for c in build(a, *KINDS, seeds=[1])._plan.calls)


CYCLES: dict[str, dict[str, Any]] = {
    "min_gru": {"nodes": MIN_GRU, "out": "h"},
    "every plain op": {"nodes": SCALED},
    "blocks": {"nodes": BLOCKS},
    "ring": {"nodes": ring(5), "out": "s2"},
    "delay 3": {"nodes": {"k": ("multiply", {}, ("in", "h[t-3]")), "h": ("add", {}, ("in", "k"))}, "out": "h"},
    "delays 2, 4": {"nodes": {"h": ("add", {}, ("in", "h[t-2]", "h[t-4]"))}, "out": "h[t-1]"},
}


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("time", [1, 2, 5, 32])
@pytest.mark.parametrize("name", CYCLES)
def test_a_cycle_that_scans_equals_its_loop(name: str, time: int, start: str) -> None:
    cycle = CYCLES[name]
    states = ("h", "a", "b", *(f"s{i}" for i in range(5)))
    nodes = cycle["nodes"]
    a = graph(
        6, nodes, known=dict.fromkeys(states, 6), initial=dict.fromkeys(states, start), out=cycle.get("out", "out")
    )
    assert loops_of(a) == 0
    both(a, time)
    both(a, time, torch.float32)
    both(a, time, train=True)


GATES: dict[str, tuple[dict[str, Any], bool, set[str]]] = {
    "min_gru": ({}, True, {"open", "take"}),
    "the other way round": (
        {"keep": ("multiply", {}, ("h[t-1]", "z")), "take": ("multiply", {}, ("new", "open"))},
        True,
        {"take"},
    ),
    "two steps back": ({"keep": ("multiply", {}, ("open", "h[t-2]"))}, True, {"open", "take"}),
    "1 - z is read twice": ({"out": ("add", {}, ("h", "open"))}, True, {"take"}),
    "what is kept comes late": ({"h": ("add", {}, ("keep[t-1]", "take"))}, False, set()),
    "another gate": ({"take": ("multiply", {}, ("open", "new"))}, False, set()),
    "a late gate": ({"keep": ("multiply", {}, ("open[t-1]", "h[t-1]"))}, False, set()),
    "what is kept is read too": ({"out": ("add", {}, ("h", "keep"))}, False, set()),
}


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("name", GATES)
def test_a_gated_state_scans_without_its_products(name: str, start: str) -> None:
    changed, gated, folded = GATES[name]
    a = graph(6, MIN_GRU | {"out": ("identity", {}, "h")} | changed, known={"h": 6}, initial={"h": start})
    plan = build(a, *KINDS, seeds=[1])._plan
    (scan,) = (c for c in plan.calls if isinstance(c, Scan))
    assert (scan.gate is not None) == gated
    assert {"open", "take"} - {s.node for s in plan.places} == folded
    for time in (1, 2, 40):
        both(a, time)


@pytest.mark.parametrize("late", ["", "[t-1]"])
def test_linear_maps_of_one_value_are_one_call(late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archsearch.kernels.dispatch._LINEARS_SIZE", 1)
    x = f"in{late}"
    nodes = {
        "a": ("linear", {}, x),
        "n": ("tanh", {}, "a"),
        "b": ("linear", {"bias": False, "width": 3}, x),
        "c": ("linear", {"width": 3}, x),
        "other": ("linear", {"width": 3}, "n"),
        "out": ("add", {}, ("b", "c", "other")),
    }
    a = graph(6, nodes, weights={"b": "one", "a": "two"})
    plan = build(a, *KINDS, seeds=[1])._plan
    assert [len(c.writes) for c in plan.calls if isinstance(c, Linears)] == [3, 1]
    got = results(a, 5, torch.float64, False, False)
    monkeypatch.setattr("archsearch.kernels.dispatch._LINEARS_SIZE", 1 << 40)
    wanted = results(a, 5, torch.float64, False, False)
    for p, q in zip(got, wanted, strict=True):
        close(p, q, "value", 1e-12)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs() | graphs(mixers=True, matrices=True, rates=True), st.sampled_from([1, 2, 3, 7, 12]))
def test_random_graphs_equal_their_loops(a: Architecture, time: int) -> None:
    both(a, time)


def test_linear_maps_of_one_value_are_one_product_in_a_loop() -> None:
    nodes = {
        "u": ("linear", {"bias": False}, "h[t-1]"),
        "v": ("linear", {"bias": False, "width": 3}, "h[t-1]"),
        "w": ("linear", {}, "h[t-1]"),
        "wide": ("concat", {}, ("v", "w")),
        "back": ("linear", {"width": 6}, "wide"),
        "all": ("add", {}, ("in", "u", "back")),
        "h": ("tanh", {}, "all"),
    }
    model = moved(graph(6, nodes, known={"h": 6}, out="h"), torch.float64, loops=False)
    x, p = torch.randn(2, 3, 7, 6, dtype=torch.float64), dict(model.graph.named_parameters())
    h, states = torch.zeros(2, 3, 6, dtype=torch.float64), []
    for x_t in x.unbind(2):
        v, w = h @ p["v.weight"].mT, h @ p["w.weight"].mT + p["w.bias"][:, None]
        back = torch.cat([v, w], -1) @ p["back.weight"].mT + p["back.bias"][:, None]
        h = torch.tanh(x_t + h @ p["u.weight"].mT + back)
        states.append(h)
    close(model._plan.run({"in": x}, Context()), torch.stack(states, 2), "states", 1e-12)
