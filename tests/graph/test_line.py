"""One readable line per architecture."""

from __future__ import annotations

import pytest

from archsearch.content import block_files
from archsearch.graph.architecture import Group
from archsearch.graph.line import MAX_LENGTH, QUIET, one_line
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry
from tests.graph.toy import Pen


class Writer:
    """Layers of a block and a perceptron, each with its norm and its sum, and the outline of a repeat."""

    def __init__(self) -> None:
        self.pen, self.turns, self.x = Pen(), [], "in"

    def layer(self, mixer: str, shown: object = None, expand: int = 2, tie: str | None = None) -> Writer:
        at = f"body.{len(self.turns)}"
        norm = self.pen(f"{at}.norm", "rms_norm", self.x)
        core = self.pen(f"{at}.mix.core", "gru_core", norm, weights=tie)
        back = self.pen(f"{at}.mix.out", "linear", core)
        join = self.pen(f"{at}.join", "add", [self.x, back])
        mlp = self.pen(f"{at}.mlp", "linear", join)
        self.x = self.pen(f"{at}.out", "add", [join, mlp])
        mix = definition(
            f"{at}.mix", mixer, op(core, "gru_core"), op(back, "linear"), shown=(("n", shown),) if shown else ()
        )
        ends = op(mlp, "mlp", ("expand", expand)), op(self.x, "add")
        self.turns.append(definition(at, "layer", op(norm, "rms_norm"), mix, op(join, "add"), *ends))
        return self

    def line(self) -> str:
        last = self.pen("out", "rms_norm", self.x)
        outline = (Group("body", "repeat", "layer", (), tuple(self.turns)), op(last, "rms_norm"))
        return one_line(self.pen.done(last, outline))


def op(path: str, label: str, *shown: tuple[str, object]) -> Group:
    return Group(path, "op", label, shown)


def definition(path: str, label: str, *children: Group, shown: tuple[tuple[str, object], ...] = ()) -> Group:
    return Group(path, "definition", label, shown, children)


def test_equal_layers_are_folded() -> None:
    writer = Writer()
    for _ in range(4):
        writer.layer("attention", 4)
    assert writer.line() == "4×[attention(4) → mlp(2)]"


def test_different_layers_stand_in_a_row() -> None:
    assert Writer().layer("attention", 4).layer("gru", expand=1).line() == "attention(4) → mlp(2) → gru → mlp(1)"


def test_patterns_are_folded() -> None:
    writer = Writer().layer("attention", 8)
    for _ in range(3):
        writer.layer("ssm").layer("gru")
    assert writer.line() == "attention(8) → mlp(2) → 3×[ssm → mlp(2) → gru → mlp(2)]"


def test_tied_turns_say_so() -> None:
    assert Writer().layer("gru", tie="w").layer("gru", tie="w").line() == "2×tied[gru → mlp(2)]"


def test_long_lines_end_after_a_whole_part() -> None:
    writer = Writer()
    for i in range(20):
        writer.layer("attention", i + 1, expand=i + 1)
    line = writer.line()
    assert line.startswith("attention(1) → mlp(1) → attention(2)")
    assert line.endswith(" → …")
    assert MAX_LENGTH - 30 < len(line) <= MAX_LENGTH


def test_long_patterns_close_their_brackets() -> None:
    writer = Writer()
    for _ in range(2):
        for i in range(8):
            writer.layer("attention", i + 1, expand=i + 1)
    line = writer.line()
    assert line.startswith("2×[attention(1)")
    assert line.endswith(" → …]")
    assert len(line) <= MAX_LENGTH


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ((), "attention"),
        ((("heads", 4),), "attention(4)"),
        ((("rate", 0.25),), "attention(0.25)"),
        ((("heads", 4), ("state", 8)), "attention(heads 4, state 8)"),
        ((("heads", 4), ("causal", False)), "attention(4, no causal)"),
        ((("qk_norm", True),), "attention(qk_norm)"),
        ((("heads", 4), ("kind", "soft"), ("width", None)), "attention(4, soft)"),
    ],
)
def test_settings(shown: tuple[tuple[str, object], ...], text: str) -> None:
    pen = Pen()
    pen("a", "softmax_attention", "in", "in", "in")
    assert one_line(pen.done("a", (op("a", "attention", *shown),))) == text


def test_side_by_side_is_not_one_after_the_other() -> None:
    pen = Pen()
    pen("a", "gru_core", "in")
    pen("b", "s4d_core", "in")
    pen("sum", "add", ["a", "b"])
    pen("c", "linear", "sum")
    assert one_line(pen.done("c")) == "(gru_core | s4d_core) → linear"


def test_plumbing_shows_if_nothing_else_is_there() -> None:
    pen = Pen()
    pen("a", "rms_norm", "in")
    pen("b", "tanh", "a")
    assert one_line(pen.done("b")) == "rms_norm → tanh"
    assert one_line(Pen().done("in")) == "nothing"


def test_a_fixed_point_holds_what_it_solves_for() -> None:
    nodes = "nodes: {both: {op: add, from: [z, x]}, mix: {op: gru_core, from: both}, out: {op: linear, from: mix}}"
    solver = "solver: {choose: [anderson, iterate]}"
    space = SearchSpace.parse(
        f"graph: {{op: fixed_point, {solver}, body: {{in: [z, x], {nodes}}}}}", registry(), definitions=block_files()
    )
    lines = {one_line(sample.architecture) for sample in space.enumerate(limit=9)}
    assert lines == {"fixed_point(anderson)[body]", "fixed_point(iterate)[body]"}


@pytest.mark.parametrize(
    ("core", "lines"),
    [
        ("{choose: {a: {op: s4d_core}, b: {op: gru_core}}}", {"shell(s4d_core)", "shell(gru_core)"}),
        ("s4d_core, expand: {choose: [1, 2]}", {"shell(1, s4d_core)", "shell(2, s4d_core)"}),
        ("{nodes: {a: {op: tanh, from: in}, out: {op: gru_core, from: a}}}", {"linear → core → linear"}),
    ],
)
def test_the_body_that_a_definition_was_given_is_told(core: str, lines: set[str]) -> None:
    space = SearchSpace.parse(
        f"""
define:
  shell:
    params: {{expand: 1, core: {{op: rnn_core}}}}
    nodes:
      up: {{op: linear, width: "=expand*width", from: in}}
      mix: {{op: $core, from: up}}
      out: {{op: linear, width: "=width", from: mix}}
graph: {{nodes: {{out: {{op: shell, core: {core}, from: in}}}}}}
""",
        registry(),
    )
    assert {one_line(sample.architecture) for sample in space.enumerate(limit=9)} == lines


def test_thousands_of_nodes() -> None:
    pen, x = Pen(), "in"
    for i in range(3000):
        x = pen(f"n{i}", "linear" if i % 7 else "gru_core", x)
    assert one_line(pen.done(x)) == f"428×[{' → '.join(['gru_core', *['linear'] * 6])}] → gru_core → 3×linear"


def test_quiet_ops_are_the_shipped_norms_and_plumbing() -> None:
    assert {s.name for s in registry().values() if s.family in ("norm", "plumbing")} == QUIET
