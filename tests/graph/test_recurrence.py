"""How cycles are seen to run, and the words for why one does not scan."""

from __future__ import annotations

import pytest

from archsearch.graph.recurrence import Level, Recurrence, recurrences
from archsearch.ops.registry import registry
from tests.build.graphs import graph

MIN_GRU = {
    "gate": ("linear", {}, "in"),
    "z": ("sigmoid", {}, "gate"),
    "new": ("linear", {}, "in"),
    "open": ("one_minus", {}, "z"),
    "keep": ("multiply", {}, ("open", "h[t-1]")),
    "take": ("multiply", {}, ("z", "new")),
    "h": ("add", {}, ("keep", "take")),
}


def one(nodes: dict, late: str = "h", out: str | None = None, width: int = 4) -> Recurrence:
    """The only cycle of a graph."""
    (found,) = recurrences(
        graph(width, nodes, known=dict.fromkeys(late.split(), width), out=out or late.split()[0]), registry()
    )
    return found


def ring(n: int) -> dict:
    """n states, each reading the one before."""
    return {f"s{i}": ("add", {}, ("in", f"s{(i - 1) % n}[t-1]")) for i in range(n)}


def test_a_gated_state_scans() -> None:
    found = one(MIN_GRU)
    assert (found.kind, found.level, found.nodes) == ("scan", Level.DIAGONAL, ("keep", "h"))
    assert found.states == ((("h", 0), (1,)),)
    assert (found.span(1024), found.span(1)) == (10, 1)


def test_a_longer_delay_interleaves() -> None:
    found = one({"keep": ("scale", {"by": 0.5}, "h[t-3]"), "h": ("add", {}, ("in", "keep"))})
    assert (str(found), found.span(1024)) == ("3 interleaved scans", 9)


def test_delays_of_two_and_four_are_one_and_two_of_every_other_step() -> None:
    found = one({"h": ("add", {}, ("in", "h[t-2]", "h[t-4]"))})
    assert (found.stride, found.block, str(found)) == (2, 2, "2 interleaved scans in 2×2 blocks")


def test_states_that_read_each_other_go_in_blocks() -> None:
    a = ("add", {}, ("in", "a[t-1]", "b[t-1]"))
    b = ("subtract", {}, "a[t-1]", "b[t-1]")
    found = one({"a": a, "b": b}, "a b")
    assert (str(found), found.eliminated) == ("scan in 2×2 blocks", ())


@pytest.mark.parametrize("n", [2, 3, 9])
def test_a_ring_is_one_state_with_the_sum_of_the_delays(n: int) -> None:
    found = one(ring(n), f"s0 s{n - 1}")
    assert (found.kind, found.stride, found.block, len(found.eliminated)) == ("interleaved scan", n, 1, n - 1)


def test_more_than_four_coupled_values_loop() -> None:
    names = [f"s{i}" for i in range(5)]
    nodes = {s: ("add", {}, ("in", *(f"{r}[t-1]" for r in names))) for s in names}
    found = one(nodes, " ".join(names))
    assert found.reason == "5 values feed each other feature by feature, more than the 4 that a block scan carries"
    assert found.level is Level.DIAGONAL


@pytest.mark.parametrize(
    ("op", "settings", "reason", "level"),
    [
        ("tanh", {}, "tanh makes `h` nonlinear in its past", Level.NONLINEAR),
        ("linear", {}, "linear mixes the features of `h`", Level.AFFINE),
        ("rms_norm", {}, "rms_norm makes `h` nonlinear in its past", Level.NONLINEAR),
        ("softmax", {}, "softmax makes `h` nonlinear in its past", Level.NONLINEAR),
    ],
)
def test_words_for_a_loop(op: str, settings: dict, reason: str, level: Level) -> None:
    found = one({"u": (op, settings, "h[t-1]"), "h": ("add", {}, ("in", "u"))})
    assert (found.kind, found.reason, found.level, found.span(64)) == ("loop", reason, level, 64)
    assert str(found) == f"loop: {reason}"


def test_a_swap_of_halves_is_no_diagonal() -> None:
    nodes = {
        "parts": ("split", {"parts": 2}, "h[t-1]"),
        "swap": ("concat", {}, ("parts#1", "parts#0")),
        "h": ("add", {}, ("in", "swap")),
    }
    assert (one(nodes).level, one(nodes).reason) == (Level.AFFINE, "split mixes the features of `h`")


def test_a_sum_that_spreads_again_is_no_diagonal() -> None:
    nodes = {
        "all": ("sum", {}, "h[t-1]"),
        "spread": ("multiply", {}, ("in", "all")),
        "h": ("add", {}, ("in", "spread")),
    }
    assert one(nodes).level is Level.AFFINE


def test_one_feature_that_multiplies_others_is_no_diagonal() -> None:
    nodes = {
        "first": ("split", {"sizes": "1,3"}, "in"),
        "n": ("add", {}, ("first#0", "n[t-1]")),
        "wide": ("multiply", {}, ("in", "n[t-1]", "h[t-1]")),
        "h": ("add", {}, ("in", "wide")),
    }
    found = recurrences(graph(4, nodes, known={"n": 1, "h": 4}, out="h"), registry())
    assert [r.kind for r in found] == ["scan", "scan"], "n stands still for h"


def test_a_square_is_nonlinear() -> None:
    found = one({"s": ("multiply", {}, ("h[t-1]", "h[t-1]")), "h": ("add", {}, ("in", "s"))})
    assert found.reason == "multiply multiplies what depends on `h` by itself"
    assert found.level is Level.NONLINEAR


GATES: dict[str, tuple[str, dict]] = {
    "sigmoid": ("positive diagonal", {"g": ("sigmoid", {}, "in")}),
    "one minus sigmoid": ("positive diagonal", {"s": ("sigmoid", {}, "in"), "g": ("one_minus", {}, "s")}),
    "exp of minus softplus": (
        "positive diagonal",
        {"p": ("softplus", {}, "in"), "n": ("neg", {}, "p"), "g": ("exp", {}, "n")},
    ),
    "one minus exp of minus relu": (
        "positive diagonal",
        {"p": ("relu", {}, "in"), "n": ("neg", {}, "p"), "e": ("exp", {}, "n"), "g": ("one_minus", {}, "e")},
    ),
    "tanh": ("signed diagonal", {"g": ("tanh", {}, "in")}),
    "anything": ("signed diagonal", {"g": ("linear", {}, "in")}),
    "one minus twice a sigmoid": (
        "signed diagonal",
        {"s": ("sigmoid", {}, "in"), "d": ("scale", {"by": 2.0}, "s"), "g": ("one_minus", {}, "d")},
    ),
    "a sigmoid less a sigmoid": (
        "signed diagonal",
        {
            "s": ("sigmoid", {}, "in"),
            "l": ("linear", {}, "in"),
            "r": ("sigmoid", {}, "l"),
            "g": ("subtract", {}, "s", "r"),
        },
    ),
    "the past of a sigmoid": ("positive diagonal", {"s": ("sigmoid", {}, "in"), "g": ("identity", {}, "s[t-1]")}),
}


@pytest.mark.parametrize("name", GATES)
def test_the_sign_of_a_gate_is_known(name: str) -> None:
    kind, nodes = GATES[name]
    found = one({**nodes, "keep": ("multiply", {}, ("g", "h[t-1]")), "h": ("add", {}, ("in", "keep"))})
    assert found.transition.kind == kind
    turned = one({**nodes, "keep": ("multiply", {}, ("g", "h[t-1]")), "h": ("subtract", {}, "in", "keep")})
    assert turned.transition.kind == "signed diagonal"


def test_other_transitions() -> None:
    assert one({"h": ("add", {}, ("in", "h[t-1]", "h[t-2]"))}).transition.kind == "blocks"
    dense = one({"u": ("linear", {}, "h[t-1]"), "h": ("add", {}, ("in", "u"))}).transition
    assert dense.kind == "dense"
    assert str(dense).endswith("(Merrill et al. 2024, arXiv:2404.08819)")
    assert one({"u": ("tanh", {}, "h[t-1]"), "h": ("add", {}, ("in", "u"))}).transition.kind == "nonlinear"


def test_very_many_states_are_taken_for_one() -> None:
    names = [f"s{i}" for i in range(300)]
    nodes = {s: ("add", {}, ("in", f"{names[i - 1]}[t-1]", f"{names[i - 2]}[t-1]")) for i, s in enumerate(names)}
    found = one(nodes, " ".join(names))
    assert found.reason.startswith("300 values feed each other feature by feature")
