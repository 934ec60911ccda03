"""Every mistake that a person can make in a space: the message has file, line, rule, value and nearest names."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from archsearch.errors import FileError
from archsearch.graph.space import SearchSpace
from tests.graph.language_toys import BLOCKS, REGISTRY


class Bad(NamedTuple):
    """A space with one mistake: where it is, and what the message says of it."""

    name: str
    text: str
    line: int
    says: tuple[str, ...]


GRAPH = "graph:\n  nodes:\n"

READ = [
    Bad("unknown op", GRAPH + "    out: {op: linaer, from: in}", 3, ("`op` must name", "`linaer`", "`linear`")),
    Bad("misspelt from", GRAPH + "    out: {op: linear, form: in}", 3, ("`form`", "`from`", "node `out`")),
    Bad("misspelt setting", GRAPH + "    out: {op: mlp, expnad: 2, from: in}", 3, ("`expnad`", "`expand`")),
    Bad("misspelt repeat key", GRAPH + "    out: {repeat: tanh, tims: 2, from: in}", 3, ("`tims`", "`times`")),
    Bad("misspelt top-level key", "grpah: {op: tanh}", 1, ("`grpah`", "`graph`")),
    Bad(
        "misspelt kind",
        GRAPH + "    out: {po: tanh, from: in}",
        3,
        ("one of op, choose, repeat, nodes", "`po`", "`op`"),
    ),
    Bad(
        "misspelt port",
        GRAPH + "    out: {op: softmax_attention, from: {q: in, k: in, vv: in}}",
        3,
        ("the ports q, k, v", "`vv`", "`v`"),
    ),
    Bad(
        "missing input of many",
        GRAPH + "    out: {op: softmax_attention, from: {q: in, k: in}}",
        3,
        ("needs its inputs q, k, v", "no `v`"),
    ),
    Bad("missing input", GRAPH + "    out: {op: linear}", 3, ("needs `from`",)),
    Bad("wrong arity", GRAPH + "    out: {op: softmax_attention, from: in}", 3, ("needs its inputs", "one edge")),
    Bad(
        "input missing in a definition",
        "define:\n  cell: {in: [x, h], nodes: {out: {op: add, from: [x, h]}}}\n"
        + GRAPH
        + "    out: {op: cell, from: in}",
        5,
        ("needs its inputs x, h",),
    ),
    Bad(
        "several edges into one port",
        GRAPH + "    a: {op: tanh, from: in}\n    out: {op: linear, from: [in, a]}",
        4,
        ("several edges into one port", "`in`, `a`", "merge: add"),
    ),
    Bad(
        "any_of into one port",
        GRAPH + "    a: {op: tanh, from: in}\n    out: {op: linear, from: {any_of: [in, a]}}",
        4,
        ("several edges into one port", "any_of"),
    ),
    Bad(
        "unknown reference",
        GRAPH + "    nrom: {op: tanh, from: in}\n    out: {op: tanh, from: norm}",
        4,
        ("`norm`", "`nrom`"),
    ),
    Bad(
        "unknown output",
        GRAPH + "    s: {op: split, into: [a, b], from: in}\n    out: {op: tanh, from: s.c}",
        4,
        ("a, b", "`s.c`"),
    ),
    Bad(
        "no output named",
        GRAPH + "    s: {op: split, into: [a, b], from: in}\n    out: {op: tanh, from: s}",
        4,
        ("several outputs", "`s.a`"),
    ),
    Bad(
        "an inner node that reaches outside",
        "define:\n  block:\n    nodes:\n      out: {op: add, from: [in, norm]}\n"
        + GRAPH
        + "    norm: {op: rms_norm, from: in}\n    out: {op: block, from: norm}",
        4,
        ("nothing outside", "`norm`, which stands in the graph", "node `block.out`"),
    ),
    Bad(
        "an outer node that reaches inside",
        "define: {block: {nodes: {a: {op: tanh, from: in}, out: {op: tanh, from: a}}}}\n"
        + GRAPH
        + "    b: {op: block, from: in}\n    out: {op: tanh, from: b.a}",
        5,
        ("shows its outputs (out)", "`b.a`"),
    ),
    Bad(
        "a cycle without a delay",
        GRAPH + "    a: {op: tanh, from: b}\n    b: {op: tanh, from: a}\n    out: {op: tanh, from: b}",
        3,
        ("every cycle must carry a delay", "a → b → a", "[t-1]"),
    ),
    Bad("a delay of 0", GRAPH + '    out: {op: tanh, from: "in[t-0]"}', 3, ("k at least 1", "`[t-0]`")),
    Bad("a delay into the future", GRAPH + '    out: {op: tanh, from: "in[t+1]"}', 3, ("k at least 1", "`[t+1]`")),
    Bad(
        "an empty choice of a setting",
        GRAPH + "    out: {op: mlp, expand: {choose: []}, from: in}",
        3,
        ("at least one", "empty"),
    ),
    Bad(
        "an empty choice of nodes",
        GRAPH + "    out: {choose: {}, from: in}",
        3,
        ("at least one alternative", "node `out`"),
    ),
    Bad("an empty choice of ops", GRAPH + "    out: {op: {choose: []}, from: in}", 3, ("at least one op",)),
    Bad("an empty choice of edges", GRAPH + "    out: {op: add, from: {any_of: []}}", 3, ("at least one node",)),
    Bad(
        "lo > hi", GRAPH + "    out: {op: mlp, expand: {int: [4, 2]}, from: in}", 3, ("`low <= high`", "low=4, high=2")
    ),
    Bad(
        "log of 0", GRAPH + "    out: {op: scaled, by: {float: [0, 2], log: true}, from: in}", 3, ("`low > 0`", "low=0")
    ),
    Bad("half a range", GRAPH + "    out: {op: mlp, expand: {int: [4]}, from: in}", 3, ("[low, high]", "list of 1")),
    Bad(
        "a range out of bounds", GRAPH + "    out: {op: mlp, expand: {int: [1, 99]}, from: in}", 3, ("at most 16", "99")
    ),
    Bad(
        "an option out of bounds",
        GRAPH + "    out: {op: mlp, expand: {choose: [1, 0]}, from: in}",
        3,
        ("at least 1", "0"),
    ),
    Bad(
        "an option of the wrong kind",
        GRAPH + "    out: {op: mlp, expand: {choose: [1, x]}, from: in}",
        3,
        ("whole number", "'x'"),
    ),
    Bad(
        "a setting that is no option", GRAPH + "    out: {op: mlp, activation: gleu, from: in}", 3, ("'gleu'", "`gelu`")
    ),
    Bad("a required setting left out", GRAPH + "    out: {op: scaled, from: in}", 3, ("needs the setting `by`",)),
    Bad(
        "a range of an unknown kind",
        GRAPH + "    out: {op: mlp, expand: {itn: [1, 2]}, from: in}",
        3,
        ("choose, int, float", "`int`"),
    ),
    Bad(
        "at_least beyond its options",
        GRAPH + "    out: {op: add, from: {any_of: [in], at_least: 2}}",
        3,
        ("between 1 and", "`2`"),
    ),
    Bad(
        "a duplicate key",
        GRAPH + "    out: {op: tanh, from: in}\n    out: {op: tanh, from: in}",
        4,
        ("once", "`out`", "line 3"),
    ),
    Bad("an unquoted delay", GRAPH + "    h: {op: add, from: [in, h[t-1]]}", 3, ("quoted", '"h[t-1]"', "`h[t-1]`")),
    Bad("a repeat of 0", GRAPH + "    out: {repeat: tanh, times: 0, from: in}", 3, ("repeat of 0", "`times`", "0")),
    Bad(
        "a repeat that may be 0", GRAPH + "    out: {repeat: tanh, times: {int: [0, 3]}, from: in}", 3, ("repeat of 0",)
    ),
    Bad("a repeat without times", GRAPH + "    out: {repeat: tanh, from: in}", 3, ("needs `times`",)),
    Bad(
        "a repeat of a width", GRAPH + '    out: {repeat: tanh, times: "=2*wdith", from: in}', 3, ("`wdith`", "`width`")
    ),
    Bad(
        "an unknown tie",
        GRAPH + "    out: {repeat: tanh, times: 2, tie: choice, from: in}",
        3,
        ("`choice`", "`choices`"),
    ),
    Bad("an empty pattern", GRAPH + "    out: {repeat: [], times: 2, from: in}", 3, ("at least one definition",)),
    Bad(
        "a definition that uses itself",
        "define:\n  a: {op: b}\n  b: {op: a}\ngraph: {op: tanh}",
        3,
        ("must not use itself", "a → b → a"),
    ),
    Bad(
        "a definition with the name of an op",
        "define:\n  tanh: {op: sigmoid}\ngraph: {op: tanh}",
        2,
        ("no op has", "`tanh`"),
    ),
    Bad(
        "arithmetic on an unknown name",
        "define:\n  block:\n    params: {expand: 2}\n"
        '    nodes: {out: {op: linear, width: "=2*expnad", from: in}}\ngraph: {op: tanh}',
        4,
        ("`expnad`", "`expand`"),
    ),
    Bad(
        "arithmetic that is none",
        GRAPH + '    out: {op: linear, width: "=2*", from: in}',
        3,
        ("must be an expression", "`2*`"),
    ),
    Bad(
        "arithmetic that calls", GRAPH + '    out: {op: linear, width: "=open(1)", from: in}', 3, ("may call", "`open`")
    ),
    Bad(
        "arithmetic with attributes",
        GRAPH + '    out: {op: linear, width: "=width.real", from: in}',
        3,
        ("`width.real`",),
    ),
    Bad("an unknown $name", GRAPH + "    out: {op: mlp, expand: $expnd, from: in}", 3, ("`expnd`",)),
    Bad(
        "an unknown parameter",
        "define: {b: {params: {state: 1}, op: tanh}}\n" + GRAPH + "    out: {op: b, stat: 2, from: in}",
        4,
        ("`stat`", "`state`"),
    ),
    Bad("a node called in", GRAPH + "    in: {op: tanh, from: in}", 3, ("is not `in`",)),
    Bad("a node with a dot", GRAPH + "    a.b: {op: tanh, from: in}", 3, ("letters, digits and _", "`a.b`")),
    Bad("no output", GRAPH + "    ouut: {op: tanh, from: in}", 2, ("the node `out`", "`ouut`")),
    Bad(
        "an unknown merge",
        GRAPH + "    out: {op: tanh, merge: ad, from: [in, in]}",
        3,
        ("add, concat", "`ad`", "`add`"),
    ),
    Bad("an unknown init", GRAPH + "    out: {op: tanh, init: learnt, from: in}", 3, ("zero, learned", "`learned`")),
    Bad("two names of one output", GRAPH + "    s: {op: split, into: [a, a], from: in}", 3, ("different names",)),
    Bad("require of an unknown figure", "require: [parms <= 1e6]\ngraph: {op: tanh}", 1, ("`parms`", "`params`")),
    Bad("require without a comparison", "require: [params + 1]\ngraph: {op: tanh}", 1, ("compare",)),
    Bad("match by an unknown size", "match: {params: 100, by: widht}\ngraph: {op: tanh}", 1, ("`widht`", "`width`")),
    Bad("match without a size", "match: {params: 100}\ngraph: {op: tanh}", 1, ("no `by`",)),
    Bad(
        "match by what shapes the graph",
        "scale: {depth: 3}\nmatch: {params: 100, by: depth}\ngraph: {repeat: tanh, times: $depth}",
        2,
        ("must not decide how often", "`depth`"),
    ),
    Bad("a scale of 0", "scale: {width: 0}\ngraph: {op: tanh}", 1, ("above 0", "`0`")),
    Bad(
        "a scale that no tensor has",
        "scale: {width: 99999999999999999999}\ngraph: {op: tanh}",
        1,
        ("is at most", "99999"),
    ),
    Bad("another version", "version: 2\ngraph: {op: tanh}", 1, ("`version`", "1", "`2`")),
    Bad("no graph", "name: x", 1, ("needs a `graph`",)),
    Bad("an empty file", "", 0, ("YAML mapping", "empty file")),
    Bad("nothing but a comment", "# later\n", 0, ("empty file",)),
    Bad("not YAML", "graph: {op: tanh\nname: x: y", 2, ("must be YAML",)),
    Bad("a list", "- 1", 1, ("a YAML mapping", "a list")),
    Bad("two documents", "graph: {op: tanh}\n---\ngraph: {op: tanh}", 2, ("one YAML document",)),
    Bad("a tag", "graph: !!python/name:os.system {op: tanh}", 1, ("no YAML tags",)),
    Bad("an unknown alias", "graph: *g", 1, ("anchor", "`*g`")),
    Bad("a value that contains itself", "graph: &g {nodes: *g}", 1, ("contain itself",)),
    Bad("equations beside nodes", "graph:\n  equations: h = tanh(x)\n  nodes: {}", 2, ("`nodes` and `equations`",)),
    Bad("ops that are not there", "ops: [a.py]\ngraph: {op: tanh}", 1, ("`ops`", "`a.py`", "nothing is there")),
    Bad("ops that are no Python", "ops: [a.yaml]\ngraph: {op: tanh}", 1, ("Python files", "`a.yaml`")),
    Bad("ops that are no names", "ops: [[a.py]]\ngraph: {op: tanh}", 1, ("`ops`", "a list or a mapping")),
    Bad("a mistake in an unused definition", "define:\n  a: {op: tnah}\ngraph: {op: tanh}", 2, ("`tnah`", "`tanh`")),
]

WALK = [
    Bad(
        "unequal widths in add",
        GRAPH + "    a: {op: linear, width: 32, from: in}\n    out: {op: add, from: [in, a]}",
        4,
        ("one type", "64, 32", "node `out`"),
    ),
    Bad(
        "a width that does not divide into heads",
        GRAPH + "    out: {op: softmax_attention, heads: 3, from: {q: in, k: in, v: in}}",
        3,
        ("`heads` must divide the width", "heads=3, width=64"),
    ),
    Bad(
        "heads handed to a definition",
        "define:\n  att:\n    params: {heads: 4}\n    nodes:\n"
        "      out: {op: softmax_attention, heads: $heads, from: {q: in, k: in, v: in}}\n"
        + GRAPH
        + "    out: {op: att, heads: 5, from: in}",
        8,
        ("heads=5, width=64", "node `out.out`"),
    ),
    Bad(
        "an op that mixes time on a cycle",
        GRAPH + '    h: {op: add, from: [in, "g[t-1]"]}\n    g: {op: gru_core, from: h}\n    out: {op: tanh, from: g}',
        4,
        ("mixes time", "gru_core", "the cycle of h, g"),
    ),
    Bad(
        "a cycle through definitions",
        "define: {d: {nodes: {out: {op: tanh, from: in}}}}\n"
        + GRAPH
        + "    a: {op: d, from: b}\n    b: {op: d, from: a}\n    out: {op: tanh, from: b}",
        4,
        ("every cycle must carry a delay", "a.out → b.out → a.out"),
    ),
    Bad(
        "a non-causal op",
        GRAPH + "    out: {op: softmax_attention, causal: false, from: {q: in, k: in, v: in}}",
        3,
        ("causal: true", "causal: false"),
    ),
    Bad(
        "too few names of outputs",
        GRAPH + "    s: {op: split, parts: 4, into: [a, b], from: in}\n    out: {op: tanh, from: s.a}",
        3,
        ("gives 4 outputs", "2"),
    ),
    Bad(
        "shared weights of different ops",
        GRAPH + "    a: {op: linear, weights: w, from: in}\n    out: {op: mlp, weights: w, from: a}",
        4,
        ("share weights", "`out` beside `a`"),
    ),
    Bad(
        "a type that grows on a cycle",
        GRAPH + '    h: {op: concat, from: [in, "h[t-1]"]}\n    out: {op: tanh, from: h}',
        3,
        ("same from turn to turn", "width:"),
    ),
    Bad(
        "division by zero",
        GRAPH + '    out: {op: linear, width: "=width // (width - 64)", from: in}',
        3,
        ("divide by zero",),
    ),
    Bad(
        "a width that is no whole number",
        GRAPH + '    out: {op: linear, width: "=width / 3", from: in}',
        3,
        ("whole number",),
    ),
    Bad(
        "a value that is only its past",
        'graph:\n  nodes:\n    h: {nodes: {}, out: in, from: "h[t-1]"}\n    out: {op: add, from: [in, h]}',
        3,
        ("its own past",),
    ),
]

HIDDEN = [
    Bad(
        "an alternative that does not fit",
        "define:\n  mixer:\n    choose:\n      a: {op: gru_core}\n      b: {op: linear, width: 3}\n"
        + GRAPH
        + "    m: {repeat: mixer, times: 8, from: in}\n    out: {op: add, from: [in, m]}",
        9,
        ("one type", "64, 3"),
    ),
    Bad(
        "heads that do not divide, behind two choices",
        GRAPH + "    out:\n      from: {q: in, k: in, v: in}\n      choose:\n        a: {op: add, from: [q, k, v]}\n"
        "        b:\n          choose:\n            c: {op: tanh, from: q}\n"
        "            d: {op: softmax_attention, heads: {choose: [1, 2, 4, 8, 7]}}",
        10,
        ("heads=7, width=64",),
    ),
    Bad(
        "the middle of a range",
        GRAPH + "    a: {op: linear, width: {int: [2, 1000]}, from: in}\n"
        "    out: {op: softmax_attention, heads: {int: [1, 2]}, from: {q: a, k: a, v: a}}",
        4,
        ("heads=2, width=501",),
    ),
    Bad(
        "require that nothing meets",
        "require: [params <= 10]\n" + GRAPH + "    out: {op: mlp, expand: {int: [1, 4]}, from: in}",
        1,
        ("`require` must be met", "params="),
    ),
    Bad(
        "match that no width meets",
        "match: {params: 7, by: width}\n" + GRAPH + "    out: {op: mlp, expand: {int: [1, 4]}, from: in}",
        1,
        ("`match` must be met", "width"),
    ),
]


def expect(bad: Bad, error: FileError) -> None:
    assert error.path == "space.yaml"
    assert (error.line or 0) == bad.line, str(error)
    for words in bad.says:
        assert words in str(error), str(error)
    assert error.exit_code == 2


@pytest.mark.parametrize("bad", READ, ids=lambda b: b.name)
def test_refused_when_read(bad: Bad) -> None:
    with pytest.raises(FileError) as caught:
        SearchSpace.parse(bad.text, REGISTRY, path="space.yaml")
    expect(bad, caught.value)


@pytest.mark.parametrize("bad", WALK, ids=lambda b: b.name)
def test_refused_when_walked(bad: Bad) -> None:
    space = SearchSpace.parse(bad.text, REGISTRY, path="space.yaml")
    with pytest.raises(FileError) as caught:
        space.sample(random.Random(0))
    expect(bad, caught.value)
    report = space.check()
    assert not report.ok
    expect(bad, report.mistakes[0])


@pytest.mark.parametrize("bad", HIDDEN, ids=lambda b: b.name)
def test_found_by_check(bad: Bad) -> None:
    report = SearchSpace.parse(bad.text, REGISTRY, path="space.yaml").check(samples=0)
    assert report.mistakes
    expect(bad, report.mistakes[0])


def test_check_finds_every_mistake_at_once() -> None:
    text = (
        GRAPH
        + "    a: {op: linear, width: {choose: [64, 63]}, from: in}\n    b: {op: linear, width: {choose: [64, 62]}, from: in}\n"  # noqa: E501
    )
    text += "    c: {op: add, from: [in, a]}\n    out: {op: add, from: [c, b]}"
    report = SearchSpace.parse(text, REGISTRY, path="space.yaml").check(samples=0)
    assert [m.line for m in report.mistakes] == [5, 6]
    assert report.covered == report.alternatives == 4


def test_alias_bomb_is_refused_at_once() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for before, name in zip("abcdefghijklm", "bcdefghijklmn", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    with pytest.raises(FileError, match=r"space.yaml:5:.*100,000 values"):
        SearchSpace.parse("\n".join(lines), REGISTRY, path="space.yaml")


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(FileError, match=r"nest at most 100 deep"):
        SearchSpace.parse("graph: " + "[" * 100_000, REGISTRY, path="space.yaml")


def test_definitions_that_multiply_are_refused() -> None:
    lines = [f"  d{i}: {{nodes: {{a: {{op: d{i + 1}, from: in}}, out: {{op: d{i + 1}, from: a}}}}}}" for i in range(40)]
    text = "define:\n" + "\n".join(lines) + "\n  d40: {nodes: {}, out: in}\ngraph: {op: d0}"
    space = SearchSpace.parse(text, REGISTRY, path="space.yaml")
    with pytest.raises(FileError, match="at most 100,000 bodies"):
        space.sample(random.Random(0))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "UTF-8"),
        (b"graph: {op: tanh}\x00", "UTF-8"),
        (b"name: caf\xe9\ngraph: {op: tanh}", "byte 0xe9"),
        (b"", "empty file"),
    ],
)
def test_files_that_hold_no_yaml(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=says) as caught:
        SearchSpace.read(path, REGISTRY)
    assert caught.value.path == str(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(FileError, match="must be readable"):
            SearchSpace.read(path, REGISTRY)


def test_a_mistake_in_a_shipped_definition_is_placed_where_it_is_used(tmp_path: Path) -> None:
    blocks = tmp_path / "blocks.yaml"
    blocks.write_text(BLOCKS)
    text = "graph:\n  nodes:\n    m: {op: attention, heads: {choose: [2, 3]}, from: in}\n    out: {op: tanh, from: m}"
    space = SearchSpace.parse(text, REGISTRY, path="space.yaml", definitions=[blocks])
    (mistake,) = space.check(samples=0).mistakes
    assert (mistake.path, mistake.line, mistake.node) == ("space.yaml", 3, "m.mix")
    assert "heads=3, width=64" in str(mistake)
