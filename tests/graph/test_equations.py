"""Equations and nodes are two spellings of one body; what is no equation is refused at its line and column."""

from __future__ import annotations

import random
from textwrap import dedent, indent

import pytest

from archsearch.content import block_files
from archsearch.errors import FileError
from archsearch.graph.architecture import Architecture
from archsearch.graph.equations import Signature
from archsearch.graph.normal import normal_form
from archsearch.graph.reader import Table, load, parse
from archsearch.graph.space import SearchSpace
from archsearch.graph.spelling import to_equations, to_nodes
from archsearch.ops.registry import registry


def built(text: str) -> Architecture:
    return SearchSpace.parse(dedent(text), registry(), path="space.yaml").sample(random.Random(0)).architecture


def form(text: str) -> str:
    return normal_form(built(text), registry())


def cell(equations: str, more: str = "", graph: str = "{op: cell}", width: int = 8) -> str:
    """A space whose one definition, `cell`, has these equations in lines 5 and after."""
    lines = indent(dedent(equations).strip("\n"), "      ")
    more = indent(dedent(more), "    ") if more else ""
    return f"scale: {{width: {width}}}\ndefine:\n  cell:\n    equations: |\n{lines}\n{more}\ngraph: {graph}\n"


def nodes(text: str, more: str = "") -> str:
    lines = indent(dedent(text).strip("\n"), "      ")
    more = indent(dedent(more), "    ") if more else ""
    return f"scale: {{width: 8}}\ndefine:\n  cell:\n    nodes:\n{lines}\n{more}\ngraph: {{op: cell}}\n"


MIN_GRU = """
    z = sigmoid(linear(x))
    h = (1 - z) * h[t-1] + z * linear(x)
"""

PAIRS = {
    "min_gru": (
        MIN_GRU,
        """
        a: {op: linear, from: in}
        z: {op: sigmoid, from: a}
        keep: {op: one_minus, from: z}
        old: {op: multiply, from: [keep, "h[t-1]"]}
        b: {op: linear, from: in}
        new: {op: multiply, from: [z, b]}
        h: {op: add, from: [old, new]}
        """,
        "out: h",
    ),
    "several outputs": (
        """
        q, k, v = split(linear(x, width=3*width, bias=false), parts=3)
        y = (q - k[t-2]) * v
        """,
        """
        a: {op: linear, width: "=3*width", bias: false, from: in}
        s: {op: split, into: [q, k, v], from: a}
        d: {op: subtract, from: {x: s.q, y: "s.k[t-2]"}}
        y: {op: multiply, from: [d, s.v]}
        """,
        "out: y",
    ),
    "numbers": (
        "y = 0.5 * x * tanh(x) * 2 + 1 - x / 4",
        """
        a: {op: tanh, from: in}
        b: {op: multiply, from: [in, a]}
        c: {op: scale, by: 1.0, from: b}
        d: {op: offset, by: 1, from: c}
        e: {op: scale, by: 0.25, from: in}
        y: {op: subtract, from: {x: d, y: e}}
        """,
        "out: y",
    ),
    "number minus value": (
        "y = 2 - -x",
        """
        a: {op: neg, from: in}
        b: {op: neg, from: a}
        y: {op: offset, by: 2, from: b}
        """,
        "out: y",
    ),
    "products of matrices": (
        """
        S = outer(x, tanh(x), heads=2)
        y = x @ S + S @ x + matmul(S, x) + matmul(x=x, state=S)
        """,
        """
        v: {op: tanh, from: in}
        S: {op: outer, heads: 2, from: {x: in, y: v}}
        a: {op: matmul, transpose: false, from: {state: in, x: S}}
        b: {op: matmul, transpose: false, from: {state: S, x: in}}
        c: {op: matmul, from: {state: S, x: in}}
        d: {op: matmul, from: {state: S, x: in}}
        y: {op: add, from: [a, b, c, d]}
        """,
        "out: y",
    ),
    "words of a node": (
        """
        a = tanh(linear(x, weights=w))
        h = linear(a + h[t-1], weights="w", init=learned)
        """,
        """
        p: {op: linear, weights: w, from: in}
        a: {op: tanh, from: p}
        s: {op: add, from: [a, "h[t-1]"]}
        h: {op: linear, weights: w, init: learned, from: s}
        """,
        "out: h",
    ),
    "in any order": (
        """
        h = tanh(z) + h[t-1]
        out = relu(h)
        z = linear(x)
        """,
        """
        z: {op: linear, from: in}
        a: {op: tanh, from: z}
        h: {op: add, from: [a, "h[t-1]"]}
        out: {op: relu, from: h}
        """,
        "",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equations_are_the_nodes_that_they_stand_for(name: str) -> None:
    equations, plain, out = PAIRS[name]
    assert form(cell(equations)) == form(nodes(plain, out))


def test_inner_nodes_are_called_after_their_equation() -> None:
    names = [n.name for n in built(cell(MIN_GRU)).nodes]
    assert names == ["z_linear", "z", "h_one_minus", "h_multiply", "h_linear", "h_multiply2", "h"]


def test_each_linear_has_weights_of_its_own() -> None:
    a = built(cell("y = linear(x) + linear(x)"))
    assert [(n.op, n.weights) for n in a.nodes] == [("linear", None), ("linear", None), ("add", None)]
    assert form(cell("y = linear(x) + linear(x)")) != form(cell("z = linear(x)\ny = z + z"))


def test_parameters_are_numbers_with_or_without_a_dollar() -> None:
    for spelled in ("a * x + b", "$a * x + $b"):
        found = built(cell(f"y = {spelled}", "params: {a: 0.25, b: '=2*width'}"))
        assert [(n.op, n.settings["by"]) for n in found.nodes] == [("scale", 0.25), ("offset", 16.0)]
    text = cell("y = linear(linear(x, width=n), width=width)", "params: {n: {choose: [3]}}")
    assert [n.types[0].width for n in built(text).nodes] == [3, 8]
    assert built(cell("y = mlp(x, activation=tanh)")).nodes[0].settings["activation"] == "tanh"


def test_an_input_hides_a_size_of_its_name() -> None:
    a = built(
        cell("y = n * x", "in: [x, n]", "{nodes: {out: {op: cell, from: {x: in, n: in}}}}").replace("8}", "8, n: 2}")
    )
    assert [n.op for n in a.nodes] == ["multiply"]


def test_definitions_are_functions() -> None:
    text = """
        scale: {width: 8}
        define:
          gate:
            params: {by: 1}
            in: [x, g]
            equations: y = x * sigmoid(by * g)
          two:
            equations: |
              a = tanh(x)
              b = relu(x)
            out: [a, b]
        graph:
          equations: |
            p, q = two(x)
            s = two(q)
            out = gate(p, g=s.b, by=3)
        """
    plain = """
        scale: {width: 8}
        graph:
          nodes:
            p: {op: tanh, from: in}
            q: {op: relu, from: in}
            b: {op: relu, from: q}
            c: {op: scale, by: 3, from: b}
            g: {op: sigmoid, from: c}
            out: {op: multiply, from: [p, g]}
        """
    assert form(text) == form(plain)


@pytest.mark.parametrize(
    ("out", "ops"),
    [
        ("out: k", {"split"}),
        ("out: {a: k}", {"split"}),
        ("out: [k]", {"split"}),
        ('out: "k[t-1]"', {"split"}),
    ],
)
def test_an_output_may_be_one_of_several_names(out: str, ops: set[str]) -> None:
    found = built(cell("q, k = split(x, parts=2)", out))
    assert {n.op for n in found.nodes} == ops
    assert found.output.output == 1
    assert found.output.delay == (1 if "t-1" in out else 0)


def test_equations_stand_where_a_body_may_stand() -> None:
    text = """
        scale: {width: 8}
        graph:
          nodes:
            a: {equations: "y = tanh(x)", from: in}
            b: {choose: {one: {equations: "h = x + h[t-1]"}, two: {op: relu}}, from: a}
            c: {repeat: {equations: "y = linear(x)"}, times: 2, from: b}
            out: {equations: "y = p * q", from: {p: b, q: c}}
        """
    space = SearchSpace.parse(dedent(text), registry())
    found = space.decide({"b": "one"}).architecture
    assert [n.op for n in found.nodes] == ["tanh", "add", "linear", "linear", "multiply"]
    assert found.node("b.h").inputs[0][1].delay == 1


BAD = {
    "an unknown function": ("h = sigmod(x)", 5, 11, ("`sigmod`", "Did you mean `sigmoid`")),
    "an unknown function of the block": ("h = tanh(x)\ny = cel(h)", 6, 11, ("`cel`", "Did you mean `cell`")),
    "a comparison": ("h = x > 3", 5, 11, ("do not compare", "`x > 3`")),
    "an import": ("import os\nh = tanh(x)", 5, 7, ("import nothing", "`import os`")),
    "an import from": ("h = tanh(x)\nfrom os import path", 6, 7, ("import nothing",)),
    "too many inputs": ("h = tanh(x, x)", 5, 11, ("`tanh` takes 1 input", "got 2")),
    "too few inputs": ("h = 2 * subtract(x)", 5, 15, ("`subtract` takes the inputs x, y", "no `y`")),
    "no input": ("h = add()", 5, 11, ("`add` takes the inputs x", "no `x`")),
    "an input twice": ("h = tanh(x, x=x)", 5, 19, ("given once", "`x` twice")),
    "an unknown setting": ("h = linear(x, widht=3)", 5, 21, ("`widht`", "Did you mean `width`")),
    "a setting of the wrong kind": ("h = linear(x, width=foo)", 5, 27, ("`width` must be a whole number",)),
    "arithmetic on an unknown name": ("h = linear(x, width=2*widht)", 5, 27, ("`widht`", "`width`")),
    "an unused name": ("z = tanh(x)\nh = relu(x)", 5, 7, ("lead to the output", "`z`")),
    "a name that only itself reads": ("z = x + z[t-1]\nh = relu(x)", 5, 7, ("lead to the output", "`z`")),
    "an unused part": ("h = relu(x)\nq, k = split(x, parts=2)\nout = h + x", 6, 7, ("lead to the output", "`q, k`")),
    "a reassigned name": ("h = tanh(x)\nh = relu(h)", 6, 7, ("assigned once", "first in line 5", "h[t-1]")),
    "a reassigned input": ("x = tanh(x)", 5, 7, ("a new name", "`x`, which is an input")),
    "a name of a size": ("width = tanh(x)", 5, 7, ("a new name", "a parameter or size")),
    "the time assigned": ("t = tanh(x)", 5, 7, ("a new name", "the time")),
    "an undefined name": ("h = tanh(x) + zz", 5, 21, ("assigned in these equations", "`zz`")),
    "an undefined name, nearly": ("hidden = tanh(x)\ny = hiden", 6, 11, ("`hiden`", "Did you mean `hidden`")),
    "a function that is not called": ("h = tanh", 5, 11, ("is called", "Write tanh(...)")),
    "a quotient": ("h = x / tanh(x)", 5, 11, ("divide by numbers only", "`x / tanh(x)`")),
    "a power": ("h = x ** 2", 5, 11, ("no powers", "Write x * x")),
    "a delay of 0": ("h = x + h[t-0]", 5, 15, ("[t-k] with k at least 1", "`h[t - 0]`")),
    "a look ahead": ("h = x + h[t+1]", 5, 15, ("[t-k] with k at least 1",)),
    "a delay below 0": ("h = x + h[t - -1]", 5, 15, ("[t-k] with k at least 1",)),
    "a delay without time": ("h = x + h[1]", 5, 15, ("[t-k] with k at least 1",)),
    "a delayed sum": ("h = (x + x)[t-1]", 5, 11, ("a delay stands at a name",)),
    "a constant alone": ("h = 3", 5, 11, ("must compute from an input", "constant(x, value=0.5)")),
    "a condition": ("h = x if x else x", 5, 11, ("no `if`",)),
    "a loop": ("for i in x:\n  h = x", 5, 7, ("no loops", "h[t-1]")),
    "a function defined": ("def f(x):\n  return x", 5, 7, ("define no functions",)),
    "an anonymous function": ("h = lambda: x", 5, 11, ("define no functions",)),
    "a sum in place": ("h += x", 5, 7, ("assigned once",)),
    "no assignment": ("tanh(x)", 5, 7, ("assigns to a name",)),
    "a list": ("h = [x, x]", 5, 11, ("+ - * @",)),
    "a string": ("h = 'x'", 5, 11, ("+ - * @",)),
    "inputs unpacked": ("h = tanh(*x)", 5, 16, ("one by one",)),
    "a method": ("h = a.b(x)", 5, 11, ("an op or a definition by name", "`a.b`")),
    "several names for no call": ("q, k = x", 5, 7, ("the outputs of one call",)),
    "several names at the end": ("q, k = split(x, parts=2)", 5, 7, ("must say `out:`",)),
    "a bracket left open": ("y = tanh(x)\nh = tanh(y", 6, 15, ("was never closed",)),
    "the word in": ("h = tanh(in)", 5, 16, ("The input is called `x`",)),
    "a letter beyond ASCII": ("hé = tanh(x)", 5, 7, ("assigns to a name", "`hé`")),
    "letters beyond ASCII before": ("h = tanh(x, 'é', y)", 5, 11, ("takes 1 input",)),
    "deep brackets": (f"h = {'tanh(' * 80}x{')' * 80}", 5, 311, ("at most 60 deep",)),
    "a sum of thousands": (f"h = {'x + ' * 3000}x", 5, None, ("nest",)),
    "signs without end": (f"h = {'-' * 5000}x", 5, None, ("nest",)),
    "a cycle without a delay": ("h = a + x\na = tanh(h)", 5, 11, ("every cycle must carry a delay",)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_equation_is_refused_at_its_place(name: str) -> None:
    equations, line, column, words = BAD[name]
    with pytest.raises(FileError) as caught:
        SearchSpace.parse(cell(equations), registry(), path="space.yaml")
    error = caught.value
    assert error.line == line
    assert column is None or error.column == column
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("graph: {equations: 'h = tnah(x)'}", 1, 25, "`tnah`"),
        ("graph: {equations: h = tnah(x)}", 1, 24, "`tnah`"),
        ("graph:\n  equations: |1\n    h = tanh(x)", 3, None, "unexpected indent"),
        ("graph:\n  equations: | # why\n\n\n    h = tnah(x)", 5, 9, "`tnah`"),
        ("graph:\n  equations: >\n    h = tanh(x)\n    y = relu(h)", 2, None, "Write `equations: |`"),
        ("graph:\n  equations: [h]", 2, 14, "must be text"),
        ("graph:\n  equations: ''", 2, 15, "at least one equation"),
        ("graph:\n  equations: h = tanh(x)\n  nodse: {}", 3, 3, "`nodse`"),
    ],
)
def test_places_are_those_of_the_file(text: str, line: int, column: int | None, word: str) -> None:
    with pytest.raises(FileError) as caught:
        SearchSpace.parse(text, registry(), path="space.yaml")
    assert (caught.value.line, word in str(caught.value)) == (line, True)
    assert column is None or caught.value.column == column


def test_equations_are_never_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    proof = tmp_path / "ran"
    for attack in (f"h = open({str(proof)!r}, 'w')", f"h = linear(x, width=open({str(proof)!r}, 'w'))"):
        with pytest.raises(FileError):
            SearchSpace.parse(cell(attack), registry())
    assert not proof.exists()


# ---- the other way round ------------------------------------------------------------------------------------------


def found(name: str) -> Signature | None:
    return Signature.of(registry()[name]) if name in registry() else None


def body_of(text: str) -> Table:
    body = parse(dedent(text)).root
    for key in ("define", "cell"):
        assert isinstance(body, Table)
        body = body.entries[key]
    assert isinstance(body, Table)
    return body


def defined(body: str) -> str:
    return f"scale: {{width: 8}}\ndefine:\n  cell:\n{indent(body, '    ')}\ngraph: {{op: cell}}\n"


@pytest.mark.parametrize("name", PAIRS)
def test_there_and_back(name: str) -> None:
    equations, plain, out = PAIRS[name]
    wanted = form(nodes(plain, out))
    spelled = to_equations(body_of(nodes(plain, out)), found)
    assert spelled is not None and form(defined(spelled)) == wanted
    unfolded = to_nodes(body_of(cell(equations)), found)
    assert "equations" not in unfolded and form(defined(unfolded)) == wanted
    again = to_equations(body_of(defined(unfolded)), found)
    assert again is not None and form(defined(again)) == wanted


def test_equations_come_back_as_they_were_written() -> None:
    unfolded = to_nodes(body_of(cell(MIN_GRU)), found)
    again = to_equations(body_of(defined(unfolded)), found)
    assert again is not None
    assert again == f"equations: |{indent(dedent(MIN_GRU), '  ')}out: h\n"


@pytest.mark.parametrize(
    "body",
    [
        "nodes: {out: {op: {choose: [tanh, relu]}, from: in}}",
        "nodes: {out: {repeat: {op: tanh}, times: 2, from: in}}",
        "nodes: {out: {op: linear, width: {choose: [3, 4]}, from: in}}",
        "nodes: {out: {op: add, from: {any_of: [in]}}}",
        "nodes: {dead: {op: tanh, from: in}, out: {op: relu, from: in}}",
        "nodes: {width: {op: tanh, from: in}, out: {op: relu, from: width}}",
        "nodes: {lambda: {op: tanh, from: in}, out: {op: relu, from: lambda}}",
        "nodes: {t: {op: tanh, from: in}, out: {op: relu, from: t}}",
        "nodes: {a: {op: tanh, from: [in, in], merge: add}, out: {op: relu, from: a}}",
        "{op: tanh}",
    ],
)
def test_what_equations_cannot_say_has_none(body: str) -> None:
    form(defined(body))
    assert to_equations(body_of(defined(body)), found) is None


def test_shipped_definitions_read_as_equations() -> None:
    """Most shipped blocks are plain, and say the same as equations; others use blocks, or take bodies."""
    plain = []
    for path in block_files():
        root = load(path).root
        assert isinstance(root, Table) and isinstance(root.entries["define"], Table)
        for name, body in root.entries["define"].entries.items():
            assert isinstance(body, Table)
            spelled = to_equations(body, found)
            if spelled is None:
                continue
            plain.append(name)
            theirs = SearchSpace.parse(f"graph: {{op: {name}}}", registry(), definitions=[path])
            ours = SearchSpace.parse(f"define:\n  mine:\n{indent(spelled, '    ')}\ngraph: {{op: mine}}", registry())
            rng = random.Random(0)
            assert normal_form(ours.sample(rng).architecture, registry()) == normal_form(
                theirs.sample(rng).architecture, registry()
            )
    assert {"attention", "gru", "lstm", "conv", "mamba"} <= {*plain}
