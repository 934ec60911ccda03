"""States of matrices that run in chunks against the same cycles as loops: linear attention and delta rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.build import prefill
from archsearch.build.model import build
from archsearch.graph.architecture import Architecture
from archsearch.graph.recurrence import recurrences
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import graph
from tests.build.test_decode import check
from tests.build.test_recurrence import both, loops_of, moved
from tests.graph.test_recurrence import MIN_GRU

STATE = (2, 3, 5)  # heads, rows, columns
WRITE = ("outer", {"heads": 2}, "k", "v")
BEFORE = {
    "q": ("linear", {"width": 6}, "in"),
    "raw": ("linear", {"width": 6}, "in"),
    "k": ("norm", {"heads": 2}, "raw"),
    "v": ("linear", {"width": 10}, "in"),
    "wide": ("linear", {"width": 10}, "in"),
    "long": ("norm", {"heads": 2}, "wide"),
    "b": ("linear", {"width": 1}, "in"),
    "beta": ("sigmoid", {}, "b"),
    "h": ("linear", {"width": 2}, "in"),
    "heads": ("tanh", {}, "h"),
    "r": ("linear", {"width": 6}, "in"),
    "rows": ("sigmoid", {}, "r"),
}
PLAIN = {"o": WRITE, "S": ("add", {}, ("S[t-1]", "o"))}
DELTA = {
    "read": ("matmul", {}, "S[t-1]", "k"),
    "error": ("subtract", {}, "v", "read"),
    "some": ("multiply", {}, ("beta", "error")),
    "o": ("outer", {"heads": 2}, "k", "some"),
    "S": ("add", {}, ("S[t-1]", "o")),
}

IN_CHUNKS: dict[str, tuple[str, dict[str, Any]]] = {
    "sum": ("linear attention", {**PLAIN, "out": ("matmul", {}, "S", "q")}),
    "sum, read by columns": ("linear attention", {**PLAIN, "out": ("matmul", {"transpose": False}, "S", "wide")}),
    "decay a head, two readers": (
        "linear attention",
        {
            "o": WRITE,
            "d": ("multiply", {}, ("heads", "S[t-1]")),
            "S": ("subtract", {}, "o", "d"),
            "y": ("matmul", {}, "S", "q"),
            "z": ("matmul", {"transpose": False}, "k", "S"),
            "out": ("add", {}, ("y", "z")),
        },
    ),
    "decay a row": (
        "linear attention",
        {
            "o": WRITE,
            "d": ("multiply", {}, ("S[t-1]", "rows", "beta")),
            "S": ("add", {}, ("o", "d")),
            "out": ("matmul", {}, "S", "q"),
        },
    ),
    "two states of one product": (
        "linear attention",
        {
            **PLAIN,
            "half": ("scale", {"by": 0.5}, "R[t-1]"),
            "R": ("add", {}, ("half", "o")),
            "y": ("matmul", {}, "S", "q"),
            "z": ("matmul", {}, "R", "q"),
            "now": ("matmul", {}, "o", "q"),
            "out": ("add", {}, ("y", "z", "now")),
        },
    ),
    "delta rule": ("delta rule", {**DELTA, "out": ("matmul", {}, "S", "q")}),
    "gated delta rule": (
        "delta rule",
        {
            "d": ("multiply", {}, ("heads", "S[t-1]")),
            "read": ("matmul", {}, "d", "k"),
            "error": ("subtract", {}, "read", "v"),
            "some": ("multiply", {}, ("beta", "error")),
            "o": ("outer", {"heads": 2}, "k", "some"),
            "S": ("subtract", {}, "d", "o"),
            "out": ("matmul", {}, "S", "q"),
        },
    ),
    "delta rule by columns": (
        "delta rule",
        {
            "read": ("matmul", {"transpose": False}, "S[t-1]", "long"),
            "error": ("subtract", {}, "k", "read"),
            "some": ("multiply", {}, ("beta", "error")),
            "o": ("outer", {"heads": 2}, "some", "long"),
            "S": ("add", {}, ("S[t-1]", "o")),
            "out": ("matmul", {"transpose": False}, "S", "wide"),
        },
    ),
}

NOT_IN_CHUNKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "read by rows and by columns": (
        "scan",
        "",
        {**PLAIN, "y": ("matmul", {}, "S", "q"), "out": ("matmul", {"transpose": False}, "S", "y")},
    ),
    "read by more than matmul": (
        "scan",
        "",
        {**PLAIN, "t": ("neg", {}, "S"), "out": ("matmul", {}, "t", "q")},
    ),
    "a rate of writing for each column": (
        "loop",
        "matmul mixes the features of `S`, and `some` fits neither linear attention nor a delta rule",
        {**DELTA, "some": ("multiply", {}, ("wide", "error")), "out": ("matmul", {}, "S", "q")},
    ),
    "a delta rule with decay a row": (
        "loop",
        "matmul mixes the features of `S`, and no kernel here takes a decay a row in a delta rule, or along the values",
        {
            "d": ("multiply", {}, ("rows", "S[t-1]")),
            **DELTA,
            "S": ("add", {}, ("d", "o")),
            "out": ("matmul", {}, "S", "q"),
        },
    ),
}


def matrices(nodes: dict[str, Any], start: str = "zero") -> Architecture:
    return graph(8, {**BEFORE, **nodes}, known={"S": STATE, "R": STATE}, initial={"S": start, "R": start})


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("name", IN_CHUNKS)
def test_chunks_equal_the_loop(name: str, start: str) -> None:
    kind, nodes = IN_CHUNKS[name]
    a = matrices(nodes, start)
    assert {r.kind for r in recurrences(a, registry())} == {kind}
    assert loops_of(a) == 0
    for time in (1, 3, 40):
        both(a, time)
    both(a, 40, torch.float32)


def fail(*args: Any) -> None:
    raise AssertionError("a prompt was stepped through")


@pytest.mark.parametrize("start", ["zero", "learned"])
@pytest.mark.parametrize("name", [*IN_CHUNKS, "gate"])
def test_a_prompt_is_not_stepped_through(name: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = graph(8, MIN_GRU, known={"h": 8}, initial={"h": start}, out="h")
    a = gate if name == "gate" else matrices(IN_CHUNKS[name][1], start)
    model = moved(a, torch.float64, loops=False).eval()
    monkeypatch.setattr(prefill._Prompt, "_loop", fail)
    check(model, torch.randint(0, 3, (2, 40), generator=torch.Generator().manual_seed(0)), 1e-10)


@pytest.mark.parametrize("name", NOT_IN_CHUNKS)
def test_what_has_no_kernel_still_equals_the_loop(name: str) -> None:
    kind, reason, nodes = NOT_IN_CHUNKS[name]
    a = matrices(nodes)
    (found,) = recurrences(a, registry())
    assert (found.kind, found.reason) == (kind, reason)
    both(a, 9)


@pytest.mark.parametrize("name", IN_CHUNKS)
def test_under_autocast_what_accumulates_stays_in_single_precision(name: str) -> None:
    kinds, x = (InputKind("tokens", 3), OutputKind("steps", 3)), torch.randint(0, 3, (2, 40))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, loop = (build(matrices(IN_CHUNKS[name][1]), *kinds, seeds=[1], loops=loops)(x) for loops in (False, True))
    ours.float().sum().backward()
    assert ours.dtype == loop.dtype == torch.bfloat16
    assert (ours - loop).abs().max() <= 0.03 * loop.abs().max()  # eight bits of mantissa, several roundings
