"""A body as a parameter of a definition: which names it sees, its decisions, counts, and mistakes."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from archsearch.errors import FileError
from archsearch.graph.enumeration import every_point
from archsearch.graph.space import SearchSpace
from tests.graph.language_toys import read

SHELL = """define:
  shell:
    params: {expand: 2, core: {op: tanh}}
    nodes:
      up: {op: linear, width: "=expand*width", from: in}
      mix: {op: $core, from: up}
      out: {op: linear, width: "=width", from: mix}
"""


def space(text: str, shell: str = SHELL) -> SearchSpace:
    return read(shell + text)


def ops(found: SearchSpace, **decisions: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Each node's op and settings, at the given decisions."""
    point = found.decide({k.replace("__", "."): v for k, v in decisions.items()})
    return {n.name: (n.op, dict(n.settings)) for n in point.architecture.nodes}


def test_every_kind_of_body_fits() -> None:
    found = space("""graph:
  nodes:
    a: {op: shell, core: sigmoid, from: in}
    b: {op: shell, core: {op: mlp, expand: 3}, from: a}
    c: {op: shell, core: {nodes: {x: {op: tanh, from: in}, out: {op: add, from: [in, x]}}}, from: b}
    d: {op: shell, core: {equations: "h = sigmoid(x)"}, from: c}
    e: {op: shell, core: {repeat: sigmoid, times: 2}, from: d}
    f: {op: shell, core: {op: shell, core: sigmoid}, from: e}
    out: {op: shell, from: f}
""")
    nodes = ops(found)
    assert nodes["a.mix"][0] == "sigmoid"
    assert nodes["b.mix"] == ("mlp", {"expand": 3, "activation": "gelu"})
    assert nodes["c.mix.out"][0] == "add"
    assert nodes["d.mix.h"][0] == "sigmoid"
    assert nodes["e.mix.1"][0] == "sigmoid"
    assert nodes["f.mix.up"] == ("linear", {"width": 256})  # twice the width of what goes in
    assert nodes["f.mix.mix"][0] == "sigmoid"
    assert nodes["out.mix"][0] == "tanh"


def test_decisions_stand_at_the_node_that_asks() -> None:
    found = space(
        "graph: {op: shell, core: {choose: {deep: {op: mlp, expand: {choose: [1, 2]}}, none: {op: identity}}}}"
    )
    assert found.size().count == 3
    assert ops(found, mix="deep", mix__deep__expand=2)["mix"] == ("mlp", {"expand": 2, "activation": "gelu"})
    assert [dict(p.decisions) for p in every_point(found, 10)] == [
        {"mix": "deep", "mix.deep.expand": 1},
        {"mix": "deep", "mix.deep.expand": 2},
        {"mix": "none"},
    ]


CAPTURED = """choices: {size: {choose: [1, 2]}}
define:
  shell:
    params: {expand: 7, size: 9, core: {op: tanh}}
    nodes:
      again: {op: $core, from: in}
      out: {op: inner, core: $core, from: again}
  inner:
    params: {h: 5, core: {op: sigmoid}}
    nodes: {out: {op: $core, from: in}}
  caller:
    params: {h: {choose: [3, 4]}, expand: 1}
    nodes:
      a: {op: shell, core: {op: mlp, expand: $h}, from: in}
      b: {op: shell, core: {op: inner, h: $expand, core: {op: mlp, expand: "=h+expand"}}, from: a}
      out: {op: shell, core: {op: mlp, expand: $size}, from: b}
graph: {op: caller}
"""


def test_a_body_sees_the_names_of_the_place_where_it_was_written() -> None:
    nodes = ops(read(CAPTURED), h=4, size=2)
    assert {n: s["expand"] for n, (_, s) in nodes.items()} == {
        "a.again": 4,
        "a.out.out": 4,
        "b.again.out": 5,
        "b.out.out.out": 5,
        "out.again": 2,  # that of the space, though `shell` has a parameter of this name
        "out.out.out": 2,
    }


def test_a_default_sees_the_names_of_its_own_definition() -> None:
    text = """define:
  shell:
    params: {expand: 2, core: {op: mlp, expand: "=2*expand"}}
    choices: {act: {choose: [gelu, relu]}}
    nodes: {mix: {op: $core, from: in}, out: {op: mlp, activation: $act, from: mix}}
graph: {op: shell, expand: 3}
"""
    assert ops(read(text), act="relu")["mix"][1]["expand"] == 6


OPEN = """define:
  shell: {params: {core: {op: tanh}}, nodes: {mix: {op: $core, from: in}, out: {op: add, from: [in, mix]}}}
  caller:
    params: {n: {choose: [1, 2]}}
    choices: {k: {int: [2, 4]}}
    nodes:
      b:
        op: shell
        core:
          choose:
            wide: {op: mlp, expand: $k}
            none: {op: identity}
            deep: {repeat: {op: shell, core: {op: mlp, expand: {choose: [1, 2]}}}, times: $n}
        from: in
      out: {repeat: {op: shell, core: {choose: [tanh, sigmoid]}}, times: 2, tie: choices, from: b}
graph: {op: caller, n: {choose: [2, 3]}}
"""


def test_counts_points_and_choices_agree() -> None:
    found = read(OPEN)
    points = list(every_point(found, 1000))
    # k, by what b holds (3 at two turns, 4, of two), by the tied turns
    assert found.size().count == len(points) == 3 * ((2 + 4) + (2 + 8)) * 2
    assert len({tuple(p.decisions.items()) for p in points}) == len(points)
    asked = {path for p in points for path in p.decisions}
    assert asked == {c.path for c in found.choices()}
    assert all(found.decide(p.decisions).architecture == p.architecture for p in points)
    report = found.check(samples=5)
    assert report.ok
    assert report.covered == report.alternatives
    rng = random.Random(0)
    drawn = Counter(str(found.sample(rng, uniform="architectures").decisions) for _ in range(960))
    assert len(drawn) > 0.9 * len(points)
    assert max(drawn.values()) < 20  # 5 of each are expected


def test_weights_are_shared_through_a_body() -> None:
    found = space("""graph:
  nodes:
    a: {op: shell, core: {op: mlp}, weights: w, from: in}
    b: {op: shell, core: {op: mlp}, weights: w, from: a}
    out: {repeat: {op: shell, core: mlp}, times: 2, tie: weights, from: b}
""")
    nodes = {n.name: n for n in found.sample(random.Random(0)).architecture.nodes}
    assert nodes["a.mix"].weights == nodes["b.mix"].weights == "w.mix"
    assert nodes["out.0.mix"].weights == nodes["out.1.mix"].weights is not None


def test_several_inputs_come_by_name() -> None:
    text = """define:
  reader:
    params: {core: {op: softmax_attention}}
    nodes: {out: {op: $core, from: {q: in, k: in, v: in}}}
  mean: {in: [v, q, k], nodes: {out: {op: add, from: [q, k, v]}}}
graph: {nodes: {a: {op: reader, from: in}, out: {op: reader, core: mean, from: a}}}
"""
    assert [op for op, _ in ops(read(text)).values()] == ["softmax_attention", "add"]


def test_equations_call_a_body() -> None:
    text = """define:
  shell:
    params: {core: {op: tanh}}
    equations: |
      h = x + core(x)
      y = h + $core(h)
graph: {nodes: {a: {op: shell, core: {equations: "h = sigmoid(x)"}, from: in}, out: {op: other, from: a}}}
"""
    text = text.replace("graph:", '  other: {equations: "y = shell(x, core=sigmoid)"}\ngraph:')
    found = [op for op, _ in ops(read(text)).values()]
    assert found == ["sigmoid", "add", "sigmoid", "add"] * 2


MISTAKES = [
    ("graph: {op: shell, core: {op: tahn}}", "8:31", ("`op` must name", "`tahn`", "`tanh`", "node `core`")),
    ("graph: {op: shell, core: tahn}", "8:26", ("`op` must name", "`tahn`", "`tanh`")),
    ("graph: {op: shell, core: 3}", "8:26", ("`core` of `shell` takes a body", "`3`")),
    ("graph: {op: shell, core: '=2*3'}", "8:26", ("takes a body", "`=2*3`")),
    ("graph: {op: shell, core: {int: [1, 2]}}", "8:26", ("one of op, choose", "`int`")),
    ("graph: {op: shell, core: {choose: [8, 16]}}", "8:36", ("an alternative must be a name", "`8`")),
    ("graph: {op: shell, expand: {op: tanh}}", "8:28", ("`expand` must be a scalar", "`op`")),
    ("graph: {op: shell, cor: tanh}", "8:20", ("the settings expand, core", "`cor`", "`core`")),
    ("graph: {op: shell, core: softmax_attention}", "8:26", ("needs its inputs q, k, v",)),
    ("graph: {op: shell, core: {in: [a, b], op: add, from: [a, b]}}", "8:26", ("must have the inputs in", "a, b")),
    ("graph: {op: shell, core: {op: mlp, expand: $expnd}}", "8:44", ("the names here are", "`expnd`")),
    ("graph: {op: $cor}", "8:13", ("must name a parameter whose default is a body", "`$cor`")),
    ("  b: {params: {core: {op: b}}, op: $core}\ngraph: {op: shell}", "8:27", ("must not use itself", "b → b")),
    ("  b: {params: {core: {op: tanh}}, op: tanh}\ngraph: {op: b}", "8:16", ("used by a node", "`core`")),
    ("  b: {params: {core: {op: tanh}, w: 3}, op: $w}\ngraph: {op: b}", "8:45", ("`w` holds a scalar",)),
    ("  b: {params: {core: {op: tanh}}, op: linear, width: $core}\ngraph: {op: b}", "8:54", ("takes a scalar",)),
    ("  b: {params: {core: {op: tanh}}, op: $core, w: 3}\ngraph: {op: b}", "8:46", ("`w`",)),
]


@pytest.mark.parametrize(("text", "place", "says"), MISTAKES)
def test_mistakes_have_their_place(text: str, place: str, says: tuple[str, ...]) -> None:
    with pytest.raises(FileError) as caught:
        space(text)
    assert str(caught.value).startswith(f"space.yaml:{place}:"), caught.value
    for words in says:
        assert words in str(caught.value)


def test_a_mistake_of_types_in_an_alternative_is_found_by_the_check() -> None:
    body = "{nodes: {few: {op: linear, width: 3, from: in}, out: {op: add, from: [in, few]}}}"
    found = space(f"graph: {{op: shell, core: {{choose: {{a: tanh, b: {body}}}}}}}")
    (mistake,) = found.check(samples=0).mistakes
    assert "all inputs must have one type" in str(mistake)
    assert mistake.line == 8


def test_bodies_that_nest_or_multiply_are_refused() -> None:
    with pytest.raises(FileError, match="at most 24 deep"):
        space("graph: " + "{op: shell, core: " * 30 + "tanh" + "}" * 30)
    lines = ["  a0: {params: {core: {op: tanh}}, nodes: {a: {op: $core, from: in}, out: {op: $core, from: a}}}"]
    for i in range(1, 20):
        inner = f"{{op: a{i - 1}, core: $core, from: "
        lines.append(f"  a{i}: {{params: {{core: {{op: tanh}}}}, nodes: {{a: {inner}in}}, out: {inner}a}}}}}}")
    with pytest.raises(FileError, match="at most 2,000 uses"):
        read("define:\n" + "\n".join(lines) + "\ngraph: {op: a19, core: sigmoid}")
