"""The drawing of an architecture for terminals."""

from __future__ import annotations

from archsearch.graph.architecture import Architecture, Group
from archsearch.graph.picture import WIDTH, draw
from tests.graph.toy import REGISTRY, Pen


def layers(biases: list[bool]) -> Architecture:
    pen, x, turns = Pen(), "in", []
    for i, bias in enumerate(biases):
        at = f"body.{i}"
        pen(f"{at}.mix.core", "gru_core", x)
        pen(f"{at}.mix.out", "linear", f"{at}.mix.core", bias=bias)
        sum_ = pen(f"{at}.join", "add", [x, f"{at}.mix.out"])
        parts = Group(f"{at}.mix.core", "op", "gru_core"), Group(f"{at}.mix.out", "op", "linear")
        mix = Group(f"{at}.mix", "definition", "gru", (("expand", 1),), parts)
        turns.append(Group(at, "definition", "layer", (), (mix, Group(sum_, "op", "add"))))
        x = sum_
    pen("out", "rms_norm", x)
    return pen.done("out", (Group("body", "repeat", "layer", (), tuple(turns)), Group("out", "op", "rms_norm")))


def test_a_repeat_is_folded() -> None:
    assert draw(layers([True, True, True]), REGISTRY).splitlines() == [
        "toy: width 8, causal",
        "in          input     8",
        "body: 3 × layer",
        "  0 … 2: layer",
        "    mix: gru expand=1",
        "      core  gru_core  8  384  ← in",
        "      out   linear    8   72  ← core",
        "    join    add       8       ← in, mix.out",
        "out         rms_norm  8    8  ← body.2.join",
        "output  ← out",
    ]


def test_turns_that_differ_are_drawn_apart() -> None:
    text = draw(layers([True, True, False, True]), REGISTRY)
    assert [line.strip() for line in text.splitlines() if line.endswith(": layer")] == [
        "0 … 1: layer",
        "2: layer",
        "3: layer",
    ]
    assert text.count("linear no bias") == 1


def test_without_folding_every_node_has_a_line() -> None:
    text = draw(layers([True] * 3), fold=False)
    assert text.count("gru_core") == 3
    assert "← body.1.join, mix.out" in text


def test_delays_ports_outputs_and_starts_are_marked() -> None:
    pen = Pen()
    pen("s", "split", "in", parts=2)
    pen("h", "subtract", "in", "h[t-1]", initial="learned")
    pen("a", "linear", "s#1", weights="w")
    pen("b", "linear", "s", weights="w")
    pen("out", "concat", ["a", "b", "h[t-2]"])
    lines = draw(pen.done("out"), REGISTRY).splitlines()[2:]
    assert [" ".join(line.split()) for line in lines] == [
        "s split parts=2 2 of 4 ← in",
        "h subtract from a learned start 8 ← x: in, y: h[t-1]",
        "a linear 4 20 ← s#1",
        "b linear 4 shared ← s",
        "out concat 16 ← a, b, h[t-2]",
        "output ← out",
    ]


def test_nodes_that_the_outline_forgets_are_drawn() -> None:
    pen = Pen()
    pen("lost", "tanh", "in")
    pen("mix.in", "add", ["in", "lost"])
    pen("mix.core", "tanh", "mix.in")
    outline = (Group("mix", "definition", "block", (), (Group("mix.core", "op", "tanh"),)),)
    names = ["toy:", "in", "lost", "mix:", "mix.in", "core", "output"]
    assert [line.split()[0] for line in draw(pen.done("mix.core", outline)).splitlines()] == names


def test_no_line_is_wider_than_the_page() -> None:
    pen = Pen()
    many = [pen(f"a_node_with_a_long_name_{i}", "linear", "in") for i in range(30)]
    pen("sum", "add", many)
    lines = draw(pen.done("sum"), REGISTRY).splitlines()
    assert max(map(len, lines)) == WIDTH
    assert lines[-2].endswith("…")
