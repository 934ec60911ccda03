"""Every construct of the language, walked with toy ops."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.errors import FileError, RuleError
from archsearch.graph.architecture import Architecture, Source
from archsearch.graph.domain import Categorical, Domain, Integer, Subset
from archsearch.graph.space import Sample, SearchSpace
from tests.graph.language_toys import BLOCKS, REGISTRY, nodes, read

HYBRID = """
name: hybrid
define:
  mixer:
    choose:
      attention: {op: attention, heads: {choose: [2, 4]}}
      gru: {op: gru}
      pair: {nodes: {a: {op: tanh, from: in}, out: {op: linear, from: a}}}
  layer:
    nodes:
      norm: {op: rms_norm, from: in}
      mix: {op: mixer, from: norm}
      join: {op: add, from: [in, mix]}
      mlp: {op: mlp, expand: {int: [1, 4]}, from: join}
      out: {op: add, from: [join, mlp]}
graph:
  nodes:
    body: {repeat: layer, times: {int: [2, 6]}, from: in}
    out: {op: rms_norm, from: body}
"""


def edges(architecture: Architecture, node: str) -> list[list[str]]:
    """The edges into each port of a node, as text."""
    return [[str(s) for s in port] for port in architecture.node(node).inputs]


def only(space: SearchSpace) -> Architecture:
    """The architecture of a space without choices."""
    sample = space.walk(refuse)
    assert sample.decisions == {}
    return sample.architecture


def refuse(path: str, domain: Domain) -> Any:
    raise AssertionError(f"nothing is open, but {path} was asked")


def take(**decisions: Any) -> Any:
    """A chooser that gives these decisions, dots written as two underscores."""
    wanted = {k.replace("__", "."): v for k, v in decisions.items()}
    return lambda path, domain: wanted[path]


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    path = tmp_path / "blocks.yaml"
    path.write_text(BLOCKS)
    return path


@pytest.fixture
def hybrid(blocks: Path) -> SearchSpace:
    return SearchSpace.parse(HYBRID, REGISTRY, path="hybrid.yaml", definitions=[blocks])


# ---- nodes and edges -------------------------------------------------------------------------------------------------


def test_a_graph_of_one_op() -> None:
    a = only(read("graph: {op: linear, width: 32}"))
    assert [(n.name, n.op, dict(n.settings)) for n in a.nodes] == [("out", "linear", {"width": 32})]
    assert edges(a, "out") == [["in"]]
    assert a.output == Source("out")
    assert a.type_of(a.output).shape == (32,)
    assert dict(a.scale) == {"width": 64}


def test_edges_by_name_by_port_and_into_many() -> None:
    a = only(
        nodes(
            """
            s: {op: split, parts: 2, into: [k, v], from: in}
            q: {op: linear, width: 32, from: in}
            mix: {op: softmax_attention, heads: 4, from: {q: q, k: s.k, v: s.v}}
            out: {op: multiply, from: [mix, q, mix]}
            """
        )
    )
    assert edges(a, "mix") == [["q"], ["s"], ["s#1"]]
    assert edges(a, "out") == [["mix", "q", "mix"]]
    assert [t.shape for t in a.node("s").types] == [(32,), (32,)]


def test_split_counts_its_parts_in_into() -> None:
    a = only(nodes("s: {op: split, into: [a, b, c, d], from: in}\nout: {op: concat, from: [s.a, s.d]}"))
    assert a.node("s").settings == {"parts": 4}
    assert a.type_of(a.output).shape == (32,)


def test_an_optional_port_may_stay_open() -> None:
    assert edges(only(nodes("out: {op: gated, from: in}")), "out") == [["in"], []]
    assert edges(only(nodes("out: {op: gated, from: {x: in, gate: in}}")), "out") == [["in"], ["in"]]


def test_nodes_written_in_any_order_come_out_in_order() -> None:
    a = only(nodes("out: {op: tanh, from: b}\nb: {op: linear, from: a}\na: {op: mlp, from: in}"))
    assert [n.name for n in a.nodes] == ["a", "b", "out"]
    assert [g.path for g in a.outline] == ["a", "b", "out"]


@pytest.mark.parametrize(("merge", "width"), [("add", 64), ("concat", 128)])
def test_merge_makes_a_node_of_its_own(merge: str, width: int) -> None:
    a = only(nodes(f"x: {{op: tanh, from: in}}\nout: {{op: linear, merge: {merge}, from: [in, x]}}"))
    assert [n.name for n in a.nodes] == ["x", "out.in", "out"]
    assert a.node("out.in").op == merge
    assert edges(a, "out") == [["out.in"]]
    assert a.type_of(a.output).shape == (width,)


def test_merge_at_a_port_and_at_a_definition() -> None:
    space = read(
        """
        define: {twice: {nodes: {out: {op: add, from: [in, in]}}}}
        graph:
          nodes:
            x: {op: tanh, from: in}
            y: {op: twice, merge: add, from: [in, x]}
            out: {op: gated, merge: add, from: {x: x, gate: [in, y]}}
        """
    )
    a = only(space)
    assert edges(a, "y.out") == [["y.in", "y.in"]]
    assert edges(a, "out") == [["x"], ["out.in.gate"]]


def test_init_and_weights() -> None:
    a = only(
        nodes(
            """
            h: {op: tanh, init: learned, from: x}
            x: {op: add, from: [in, "h[t-1]"]}
            a: {op: linear, weights: w, from: h}
            b: {op: linear, weights: w, from: a}
            c: {op: linear, weights: alone, from: b}
            out: {op: tanh, weights: w, from: c}
            """
        )
    )
    assert a.node("h").initial == "learned"
    assert [a.node(n).weights for n in ("a", "b", "c", "out")] == ["w", "w", None, None]


# ---- delays ----------------------------------------------------------------------------------------------------------


def test_a_delay_makes_recurrence() -> None:
    a = only(
        nodes('h: {op: tanh, from: x}\nx: {op: add, from: [in, "h[t-1]", "in[ t - 3 ]"]}\nout: {op: linear, from: h}')
    )
    assert edges(a, "x") == [["in", "h[t-1]", "in[t-3]"]]
    assert [n.name for n in a.nodes] == ["x", "h", "out"]


def test_delays_add_up_through_definitions() -> None:
    space = read(
        """
        define:
          cell: {in: [x, h], nodes: {s: {op: add, from: [x, "h[t-2]"]}, y: {op: tanh, from: s}}, out: "y[t-1]"}
        graph:
          nodes:
            c: {op: cell, from: {x: in, h: "c[t-4]"}}
            out: {op: tanh, from: c}
        """
    )
    a = only(space)
    assert edges(a, "c.s") == [["in", "c.y[t-7]"]]
    assert edges(a, "out") == [["c.y[t-1]"]]


def test_a_cycle_may_be_delayed_inside_a_definition() -> None:
    space = read(
        """
        define: {past: {nodes: {p: {op: tanh, from: "in[t-1]"}}, out: p}}
        graph: {nodes: {p: {op: past, from: h}, h: {op: add, from: [in, p]}, out: {op: tanh, from: h}}}
        """
    )
    a = only(space)
    assert edges(a, "p.p") == [["h[t-1]"]]


def test_the_type_of_a_past_is_found() -> None:
    a = only(
        nodes(
            """
            z: {op: linear, width: 16, from: in}
            h: {op: add, from: [z, "g[t-1]"]}
            g: {op: tanh, from: h}
            wide: {op: linear, width: "=2*width", from: "late[t-1]"}
            late: {op: linear, width: 8, from: wide}
            out: {op: concat, from: [g, late]}
            """
        )
    )
    assert a.node("h").types[0].shape == (16,)
    assert a.type_of(a.output).shape == (24,)


# ---- definitions -----------------------------------------------------------------------------------------------------


def test_parameters_arithmetic_and_widths() -> None:
    space = read(
        """
        define:
          block:
            params: {expand: 2, inner: "=expand*width", half: "=inner // 4"}
            nodes:
              up: {op: linear, width: $inner, from: in}
              mid: {op: linear, width: "=max($half, 3) + 1.0", from: up}
              out: {op: linear, width: "=width", from: mid}
        graph:
          nodes:
            a: {op: block, from: in}
            small: {op: linear, width: 10, from: a}
            b: {op: block, expand: "=2 + length / 128", from: small}
            c: {op: block, inner: "=width - 4", from: b}
            out: {op: linear, width: "=width", from: c}
        scale: {width: 32, length: 256}
        """
    )
    a = only(space)
    widths = [n.types[0].width for n in a.nodes]
    assert widths == [64, 17, 32, 10, 40, 11, 10, 28, 8, 10, 32]
    assert dict(only(space.rescaled(width=48)).scale) == {"width": 48, "length": 256}
    assert only(space.rescaled(width=48)).node("a.up").types[0].width == 96
    with pytest.raises(RuleError, match=r"sizes width, length, but got `widht`"):
        space.rescaled(widht=3)


def test_widths_of_bodies_that_hold_no_node_themselves() -> None:
    space = read(
        """
        define:
          inner: {params: {w: 1}, op: linear, width: $w}
          outer: {nodes: {out: {op: inner, w: "=2*width", from: in}}}
        graph:
          nodes:
            c: {op: outer, from: late}
            late: {op: linear, width: 16, from: in}
            loop: {op: outer, from: "half[t-1]"}
            half: {op: linear, width: 5, from: loop}
            out: {op: concat, from: [c, loop]}
        """
    )
    a = only(space)
    assert {n.name: n.types[0].width for n in a.nodes} == {
        "late": 16,
        "c.out": 32,
        "loop.out": 10,
        "half": 5,
        "out": 42,
    }


def test_several_inputs_and_outputs() -> None:
    space = read(
        """
        define:
          pair:
            in: [x, y]
            nodes: {s: {op: add, from: [x, y]}, p: {op: multiply, from: [x, y]}}
            out: {s: s, p: p, y: y}
        graph:
          nodes:
            t: {op: tanh, from: in}
            d: {op: pair, from: {x: in, y: t}}
            out: {op: add, from: [d.s, d.p, d.y]}
        """
    )
    assert edges(only(space), "out") == [["d.s", "d.p", "t"]]


def test_a_definition_sees_its_own_and_shipped_definitions(blocks: Path) -> None:
    shadow = """
define: {gru: {op: tanh}, other: {op: gru}}
graph: {nodes: {a: {op: other, from: in}, out: {op: attention, from: a}}}
"""
    a = only(SearchSpace.parse(shadow, REGISTRY, definitions=[blocks]))
    assert [n.name for n in a.nodes] == ["a", "out.qkv", "out.s", "out.mix", "out.out"]
    assert a.node("a").op == "tanh"


def test_a_body_in_place_sees_what_is_around() -> None:
    space = read(
        """
        define:
          block:
            params: {k: 3}
            nodes:
              inner: {nodes: {out: {op: linear, width: "=k*width", from: in}}, from: in}
              named: {from: {a: in, b: inner}, nodes: {out: {op: concat, from: [a, b]}}}
              out: {choose: {only: {op: linear, width: $k}}, from: named}
        graph: {op: block, k: 2}
        """
    )
    a = space.walk(take(out="only")).architecture
    assert [(n.name, n.types[0].width) for n in a.nodes] == [("inner.out", 128), ("named.out", 192), ("out", 2)]


# ---- repeats ---------------------------------------------------------------------------------------------------------


def test_a_repeat_chains_its_turns() -> None:
    a = only(nodes("body: {repeat: tanh, times: 3, from: in}\nout: {op: linear, from: body}"))
    assert [(n.name, edges(a, n.name)) for n in a.nodes] == [
        ("body.0", [["in"]]),
        ("body.1", [["body.0"]]),
        ("body.2", [["body.1"]]),
        ("out", [["body.2"]]),
    ]
    (body, _) = a.outline
    assert (body.kind, body.label, len(body.children)) == ("repeat", "tanh", 3)


def test_a_repeat_carries_by_name() -> None:
    space = read(
        """
        define:
          layer:
            in: [x, v1, k]
            nodes: {m: {op: add, from: [x, v1, k]}, n: {op: tanh, from: m}}
            out: {v1: n, x: m}
        graph:
          nodes:
            body: {repeat: layer, times: 2, from: {x: in, v1: in, k: in}}
            out: {op: add, from: [body.x, body.v1]}
        """
    )
    a = only(space)
    assert edges(a, "body.1.m") == [["body.0.m", "body.0.n", "in"]]
    assert edges(a, "out") == [["body.1.m", "body.1.n"]]


def test_patterns_are_cycled_and_may_be_chosen() -> None:
    text = """
    define: {a: {op: tanh}, b: {op: sigmoid}}
    graph: {nodes: {body: {repeat: PATTERN, times: 5, from: in}, out: {op: tanh, from: body}}}
    """
    a = only(read(text.replace("PATTERN", "[a, a, b]")))
    assert [n.op for n in a.nodes] == ["tanh", "tanh", "sigmoid", "tanh", "tanh", "tanh"]
    space = read(
        text.replace("PATTERN", "{choose: {one: [b], two: [a, b], three: {op: linear, width: {choose: [8, 64]}}}}")
    )
    assert [n.op for n in space.decide({"body.repeat": "two"}).architecture.nodes][:3] == ["tanh", "sigmoid", "tanh"]
    paths = [c.path for c in space.choices()]
    assert paths == ["body.repeat", *(f"body.three.{i}.width" for i in range(5))]
    assert space.size().exact == 1 + 1 + 2**5


TIED = """
define:
  layer:
    nodes:
      mix: {op: linear, width: {choose: [64, 32]}, from: in}
      mlp: {op: mlp, weights: mine, from: mix}
      out: {op: linear, width: 64, from: mlp}
graph: {nodes: {body: {repeat: layer, times: {int: [1, 3]}, tie: TIE, from: in}, out: {op: tanh, from: body}}}
"""


def test_untied_turns_decide_for_themselves() -> None:
    space = read(TIED.replace("TIE", "none"))
    decisions = {"body.times": 2, "body.0.mix.width": 64, "body.1.mix.width": 32}
    a = space.decide(decisions).architecture
    assert {n.weights for n in a.nodes} == {None}
    assert space.size().exact == 2 + 4 + 8


@pytest.mark.parametrize("tie", ["choices", "weights"])
def test_tied_turns_decide_once(tie: str) -> None:
    space = read(TIED.replace("TIE", tie))
    a = space.decide({"body.times": 3, "body.each.mix.width": 32}).architecture
    assert [a.node(f"body.{i}.mix").settings["width"] for i in range(3)] == [32, 32, 32]
    groups = [[a.node(f"body.{i}.{n}").weights for i in range(3)] for n in ("mix", "mlp", "out")]
    expected: list[Any] = ["body.each.mix", "body.each:mine", "body.each.out"] if tie == "weights" else [None] * 3
    assert groups == [[g] * 3 for g in expected]
    assert space.size().exact == 6
    assert [c.path for c in space.choices()] == ["body.times", "body.each.mix.width"]


def test_shared_weights_of_definitions() -> None:
    space = read(
        """
        define: {block: {nodes: {a: {op: linear, from: in}, out: {op: linear, from: a}}}}
        graph:
          nodes:
            x: {op: block, weights: w, from: in}
            y: {op: block, weights: w, from: x}
            out: {op: block, from: y}
        """
    )
    a = only(space)
    assert [n.weights for n in a.nodes] == ["w.a", "w.out", "w.a", "w.out", None, None]


def test_tied_turns_share_their_first_values_too() -> None:
    space = read(
        """
        define:
          cell: {nodes: {s: {op: add, from: [in, "out[t-1]"]}, out: {op: tanh, init: learned, from: s}}}
        graph: {nodes: {x: {repeat: cell, times: 2, tie: weights, from: in}, out: {op: cell, from: x}}}
        require: [params == 128]
        """
    )
    a = only(space)
    assert [a.node(n).weights for n in ("x.0.out", "x.1.out", "out.out", "x.0.s")] == [
        "x.each.out",
        "x.each.out",
        None,
        None,
    ]


# ---- choices ---------------------------------------------------------------------------------------------------------


def test_only_choices_that_matter_are_asked(hybrid: SearchSpace) -> None:
    asked: list[tuple[str, Domain]] = []

    def choose(path: str, domain: Domain) -> Any:
        asked.append((path, domain))
        return {"body.times": 2, "body.0.mix": "attention", "body.0.mix.attention.heads": 4, "body.1.mix": "pair"}.get(
            path, 2
        )

    sample = hybrid.walk(choose)
    assert (
        [p for p, _ in asked]
        == list(sample.decisions)
        == [
            "body.times",
            "body.0.mix",
            "body.0.mix.attention.heads",
            "body.0.mlp.expand",
            "body.1.mix",
            "body.1.mlp.expand",
        ]
    )
    assert asked[0][1] == Integer(2, 6)
    assert asked[1][1] == Categorical(("attention", "gru", "pair"))
    layer0, layer1 = sample.architecture.outline[0].children
    assert [(g.label, g.shown) for g in layer0.children] == [
        ("rms_norm", ()),
        ("attention", (("heads", 4),)),
        ("add", ()),
        ("mlp", (("expand", 2),)),
        ("add", ()),
    ]
    assert layer1.children[1].label == "pair"
    names = [n.name for n in sample.architecture.nodes]
    assert "body.0.mix.qkv" in names and "body.1.mix.a" in names


def test_a_choice_of_ops_with_its_settings() -> None:
    space = nodes("out: {op: {choose: [tanh, linear, gru_core]}, from: in}")
    assert {space.decide({"out.op": op}).architecture.node("out").op for op in ("tanh", "gru_core")} == {
        "tanh",
        "gru_core",
    }
    assert space.size().exact == 3


def test_a_choice_of_definitions_keeps_theirs_apart() -> None:
    space = read(
        """
        define:
          a: {nodes: {out: {op: linear, width: {choose: [1, 2]}, from: in}}}
          b: {nodes: {out: {op: linear, width: {int: [3, 5]}, from: in}}}
        graph: {nodes: {x: {op: {choose: [a, b]}, from: in}, out: {choose: [a, b], from: x}}}
        """
    )
    sample = space.decide({"x.op": "b", "x.b.out.width": 4, "out": "a", "out.a.out.width": 2})
    assert [n.name for n in sample.architecture.nodes] == ["x.out", "out.out"]
    assert space.size().exact == 25


def test_named_choices_for_all_and_for_each_instance() -> None:
    space = read(
        """
        choices: {k: {choose: [16, 32]}, unused: {choose: [1, 2, 3]}}
        define:
          block:
            choices: {own: {int: [1, 3]}}
            nodes:
              a: {op: linear, width: "=own*k", from: in}
              out: {choose: {plain: {op: tanh}, wide: {op: linear, width: $own}}, from: a}
        graph: {nodes: {x: {op: block, from: in}, y: {op: block, from: x}, out: {op: linear, width: $k, from: y}}}
        """
    )
    sample = space.decide({"x.own": 2, "k": 16, "x.out": "plain", "y.own": 3, "y.out": "wide"})
    assert [n.types[0].width for n in sample.architecture.nodes] == [32, 32, 48, 3, 16]
    assert sample.architecture.outline[-1].shown == (("width", 16),)
    assert space.size().exact == 2 * 6 * 6
    assert brute(space) == 72


def test_free_wiring() -> None:
    space = nodes(
        """
        a: {op: tanh, from: in}
        b: {op: tanh, from: {choose: [in, a]}}
        out: {op: add, from: {any_of: [in, a, b], at_least: 2}}
        """
    )
    sample = space.decide({"b.from": "a", "out.from": ["b", "in"]})
    assert edges(sample.architecture, "b") == [["a"]]
    assert edges(sample.architecture, "out") == [["in", "b"]]
    assert sample.decisions == {"b.from": "a", "out.from": ["in", "b"]}
    assert space.choices()[1].domain == Subset(("in", "a", "b"), 2)
    assert space.size().exact == 2 * 4 == brute(space)


def test_open_edges_at_ports() -> None:
    space = nodes("a: {op: tanh, from: in}\nout: {op: softmax_attention, from: {q: {choose: [in, a]}, k: in, v: a}}")
    assert edges(space.decide({"out.from.q": "a"}).architecture, "out") == [["a"], ["in"], ["a"]]


def test_ranges_and_scalars_are_yaml_1_2() -> None:
    space = nodes("out: {op: scaled, by: {float: [1e-4, 1e0], log: true}, from: in}")
    assert space.size().infinite
    assert str(space.size()) == "infinite (1 without its ranges of reals)"
    assert space.decide({"out.by": 1e-3}).architecture.node("out").settings == {"by": 1e-3}
    with pytest.raises(RuleError, match=r"from 0\.0001 to 1, but got 2"):
        space.decide({"out.by": 2})


# ---- decisions -------------------------------------------------------------------------------------------------------


def test_decisions_that_do_not_belong(hybrid: SearchSpace) -> None:
    good = hybrid.sample(random.Random(3)).decisions
    with pytest.raises(RuleError, match=r"`body.times` must be there"):
        hybrid.decide({k: v for k, v in good.items() if k != "body.times"})
    with pytest.raises(RuleError, match=r"must all belong .* `body.9.mix`"):
        hybrid.decide({**good, "body.9.mix": "gru"})
    with pytest.raises(RuleError, match=r"`body.0.mix` must be one of attention, gru, pair, but got 'lstm'"):
        hybrid.decide({**good, "body.0.mix": "lstm"})


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_decisions_lead_back_to_the_architecture(seed: int) -> None:
    space = read(ROUND)
    sample = space.sample(random.Random(seed))
    again = space.decide(sample.decisions)
    assert again == sample
    assert list(again.decisions) == list(sample.decisions)
    assert Architecture.from_dict(sample.architecture.to_dict()) == sample.architecture
    assert pickle.loads(pickle.dumps(sample.architecture)) == sample.architecture
    assert_sound(sample)


ROUND = """
choices: {wide: {choose: [8, 64]}}
define:
  cell:
    params: {k: {int: [1, 3]}}
    choices: {act: {choose: [tanh, relu]}}
    nodes:
      h: {op: add, from: [in, "m[t-1]"]}
      m: {op: mlp, expand: $k, activation: $act, from: {choose: [h, in]}}
      out: {op: multiply, from: {any_of: [in, h, m]}}
  mix: {choose: {a: {op: linear}, c: {op: cell}, d: {op: {choose: [tanh, identity]}}}}
graph:
  nodes:
    body: {repeat: {choose: {one: [mix], two: [mix, cell]}}, times: {int: [1, 4]}, tie: choices, from: in}
    more: {repeat: cell, times: {choose: [1, 2]}, tie: weights, from: body}
    out: {op: linear, width: $wide, from: more}
"""


def assert_sound(sample: Sample) -> None:
    """Every undelayed edge points forward, names are unique, every source exists."""
    a = sample.architecture
    place = {"in": -1, **{n.name: i for i, n in enumerate(a.nodes)}}
    assert len(place) == len(a.nodes) + 1
    for i, n in enumerate(a.nodes):
        for s in n.sources:
            assert s.delay > 0 or place[s.node] < i
            assert s.output < (1 if s.node == "in" else len(a.node(s.node).types))


def brute(space: SearchSpace) -> int:
    """The number of different decisions, by walking them all."""
    seen: set[str] = set()
    stack: list[dict[str, Any]] = [{}]
    while stack:
        prefix = stack.pop()
        opened: list[tuple[str, list[Any]]] = []

        def choose(path: str, domain: Domain, prefix: dict[str, Any] = prefix, opened: Any = opened) -> Any:
            if path in prefix:
                return prefix[path]
            values = everything(domain)
            if not opened:
                opened.append((path, values))
            return values[0]

        sample = space.walk(choose)
        if opened:
            path, values = opened[0]
            stack.extend({**prefix, path: v} for v in values)
        else:
            seen.add(repr(sample.decisions))
    return len(seen)


def everything(domain: Domain) -> list[Any]:
    match domain:
        case Categorical(options):
            return list(options)
        case Integer(low, high, step):
            return list(range(low, high + 1, step))
        case Subset(options, at_least):
            masks = [[o for i, o in enumerate(options) if mask >> i & 1] for mask in range(2 ** len(options))]
            return [m for m in masks if len(m) >= at_least]
    raise AssertionError(domain)


SIZES = {
    "times for the whole space": """
        choices: {n: {int: [1, 3]}, w: {choose: [8, 64]}}
        graph:
          choose:
            a: {nodes: {b: {repeat: {op: linear, width: {choose: [1, 2]}}, times: $n, from: in}}, out: b}
            c: {op: linear, width: $w}
            d: {op: tanh}
        """,
    "times through parameters": """
        define:
          deep: {params: {n: 1}, nodes: {out: {repeat: {op: {choose: [tanh, sigmoid]}}, times: "=2*n", from: in}}}
        graph: {nodes: {a: {op: deep, n: {choose: [1, 2]}, from: in}, out: {op: deep, from: a}}}
        """,
    "tied patterns": """
        define: {a: {op: {choose: [tanh, sigmoid]}}, b: {op: linear, width: {int: [1, 3]}}}
        graph: {nodes: {x: {repeat: [a, a, b], times: {int: [1, 5]}, tie: weights, from: in}}, out: x}
        """,
    "choices of an instance in turns": """
        define: {a: {choices: {k: {choose: [1, 2]}}, choose: {p: {op: linear, width: $k}, q: {op: tanh}}}}
        graph: {nodes: {x: {repeat: a, times: {int: [1, 3]}, from: in}}, out: x}
        """,
    "choices seen from a body in place": """
        define:
          a:
            choices: {k: {int: [1, 2]}}
            nodes: {r: {repeat: {choose: {p: {op: linear, width: $k}, q: {op: tanh}}}, times: 2, from: in}}
            out: r
        graph: {nodes: {x: {op: a, from: in}, out: {op: a, from: x}}}
        """,
}


@pytest.mark.parametrize("text", SIZES.values(), ids=SIZES)
def test_sizes_are_exact(text: str) -> None:
    space = read(text)
    assert space.size().exact == brute(space)


def test_sizes_beyond_counting() -> None:
    space = nodes("out: {repeat: {op: mlp, expand: {int: [1, 10]}}, times: 1000, from: in}")
    assert space.size().exact == 10**1000
    assert str(space.size()) == "about 10^1000.0"


def test_listed_choices_are_those_that_walks_ask() -> None:
    space = read(ROUND)
    listed = {c.path: c.domain for c in space.choices()}
    asked: dict[str, Domain] = {}
    for seed in range(300):
        rng = random.Random(seed)

        def choose(path: str, domain: Domain, rng: random.Random = rng) -> Any:
            asked[path] = domain
            return rng.choice(everything(domain))

        space.walk(choose)
    assert asked == listed


def test_conditions_say_when_a_choice_is_asked(hybrid: SearchSpace) -> None:
    found = {c.path: dict(c.condition) for c in hybrid.choices()}
    assert found["body.5.mix.attention.heads"] == {"body.times": 6, "body.5.mix": "attention"}
    assert found["body.times"] == {}


# ---- require, match, check -------------------------------------------------------------------------------------------


def test_require_refuses_and_samples_go_on() -> None:
    space = read("require: [params <= 20_000, width < 100]\ngraph: {op: mlp, expand: {int: [1, 4]}}")
    assert {space.sample(random.Random(i)).decisions["expand"] for i in range(20)} == {1, 2}
    with pytest.raises(RuleError, match=r"`require` asks for `params <= 20_000`, but got params=24,576"):
        space.decide({"expand": 3})
    assert space.check().ok


def test_match_solves_for_the_width() -> None:
    space = read("match: {params: 100_000, by: width}\ngraph: {op: mlp, expand: {int: [1, 4]}}")
    for expand in range(1, 5):
        a = space.decide({"expand": expand}).architecture
        width = a.type_of(a.output).width
        assert a.scale == {"width": width}
        assert 2 * expand * width**2 == pytest.approx(100_000, rel=0.03)


def test_check_covers_everything(hybrid: SearchSpace) -> None:
    report = hybrid.check(samples=10)
    assert report.ok
    assert report.covered == report.alternatives == 3 + 6 * (3 + 2 + 3)
    assert report.walks < 40


def test_a_point(hybrid: SearchSpace) -> None:
    point = nodes("out: {op: tanh, from: in}")
    assert point.is_point and not hybrid.is_point
    assert point.size().exact == 1
    assert point.check().ok


def test_campaign_keeps_its_places() -> None:
    space = read("graph: {op: tanh}\ncampaign:\n  task: recall\n  set: {task.length: 1e2}\n")
    assert dict(space.campaign) == {"task": "recall", "set": {"task.length": 100.0}}
    assert space.place("campaign", "task") == ("space.yaml", 4 - 1, 3)
    assert isinstance(space.error(["campaign", "set", "task.length"], "so"), FileError)


def test_a_large_graph_in_near_linear_time() -> None:
    lines = ["    n0: {op: tanh, from: in}"]
    lines += [f'    n{i}: {{op: add, from: [n{i - 1}, "n{i}[t-1]"]}}' for i in range(1, 3000)]
    text = "graph:\n  nodes:\n" + "\n".join(reversed(lines)) + "\n    out: {op: tanh, from: n2999}"
    a = only(SearchSpace.parse(text, REGISTRY))
    assert [n.name for n in a.nodes[:3]] == ["n0", "n1", "n2"]
