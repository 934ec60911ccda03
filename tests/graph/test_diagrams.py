"""Drawings in SVG and Mermaid: what they show, and that nothing lies on top of something else."""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.content import block_files, names
from archsearch.graph.architecture import Architecture
from archsearch.graph.diagram import Box, Item, Vertex, diagram
from archsearch.graph.layered import _apart, layers, order
from archsearch.graph.mermaid import mermaid
from archsearch.graph.placing import Line, Panel, Plate, placed
from archsearch.graph.space import SearchSpace
from archsearch.graph.svg import svg
from archsearch.ops.registry import registry
from tests.graph.toy import REGISTRY, Pen, random_graph

SPACES = names("search_spaces")
SVG = "{http://www.w3.org/2000/svg}"

CELL = """
graph:
  nodes:
    x: {op: linear, from: in}
    h: {op: add, from: [x, "h[t-1]", "g[t-2]"]}
    g: {op: tanh, from: h}
    body:
      repeat: {nodes: {a: {op: linear, from: in}, c: {op: gru, from: a}, out: {op: add, from: [in, c]}}}
      times: 12
      from: g
    lost: {op: linear, from: x}
    out: {op: add, from: [body, "x[t-3]"]}
"""


@pytest.fixture(scope="module")
def cell() -> Architecture:
    return SearchSpace.parse(CELL, registry(), definitions=block_files()).sample(random.Random(0)).architecture


def vertices(items: tuple[Item, ...]) -> list[Vertex]:
    return [v for i in items for v in ([i] if isinstance(i, Vertex) else vertices(i.items))]


def boxes(items: tuple[Item, ...]) -> list[Box]:
    return [b for i in items if isinstance(i, Box) for b in [i, *boxes(i.items)]]


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_repeats_are_folded_and_cycles_marked(cell: Architecture) -> None:
    found = diagram(cell, registry())
    assert [b.title for b in boxes(found.items)] == ["body: 12 × body", "c: gru"]
    shown = {v.name: v for v in vertices(found.items)}
    assert [v.lines[0] for v in shown.values()] == [
        "in", "x", "h", "g", "a", "core", "out", "out", "lost", "out", "output",
    ]  # fmt: skip
    assert {v.name for v in shown.values() if v.serial} == {"h", "g", "body.0.c.core"}
    assert shown["lost"].family == "unused"
    late = {(a.source, a.target): (a.label, a.serial) for a in found.arrows if a.delay}
    assert late == {("h", "h"): ("t-1", True), ("g", "h"): ("t-2", True), ("x", "out"): ("t-3", False)}
    assert len(found.reasons) == 2, "one for the cycle, one for all turns of the GRU"
    assert ("body.0.out", "out") in {(a.source, a.target) for a in found.arrows}


def test_unfolded_every_turn_is_there(cell: Architecture) -> None:
    found = diagram(cell, registry(), fold=False)
    assert len(vertices(found.items)) == len(cell.nodes) + 2
    assert sum(b.title.startswith("c: gru") for b in boxes(found.items)) == 12


def test_ports_and_outputs_are_named() -> None:
    pen = Pen()
    pen("s", "split", "in", parts=2)
    pen("out", "softmax_attention", "s", "s#1", "s#1")
    found = diagram(pen.done("out"), REGISTRY)
    assert [a.label for a in found.arrows] == ["", "q, k #1, v #1", ""]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_every_edge_is_an_arrow(seed: int) -> None:
    architecture = random_graph(random.Random(seed), 12)
    found = diagram(architecture, REGISTRY)
    edges = {(s.node, n.name, s.delay) for n in architecture.nodes for s in n.sources}
    out = architecture.output
    assert {(a.source, a.target, a.delay) for a in found.arrows} == edges | {(out.node, "output ", out.delay)}
    assert_placed(found)


# ---- where it stands -------------------------------------------------------------------------------------------------


def assert_placed(found: object) -> None:
    """No vertex covers another, boxes nest or lie apart, everything is inside, each arrow ends on its vertex."""
    shapes, width, height = placed(found)  # type: ignore[arg-type]
    plates = [s for s in shapes if isinstance(s, Plate)]
    panels = [s for s in shapes if isinstance(s, Panel)]
    assert {p.vertex.name for p in plates} == {v.name for v in vertices(found.items)}  # type: ignore[attr-defined]
    for a, b in itertools.combinations(plates, 2):
        assert not overlap(a, b), f"{a.vertex.name} and {b.vertex.name}"
    for panel, other in itertools.product(panels, [*panels, *plates]):
        assert panel is other or not overlap(panel, other) or within(panel, other) or within(other, panel)
    for s in [*plates, *panels]:
        assert s.x >= -0.01 and s.x + s.width <= width + 0.01 and s.y >= -0.01 and s.y + s.height <= height + 0.01
    lines = [s for s in shapes if isinstance(s, Line)]
    assert all(-0.01 <= x <= width + 0.01 and -0.01 <= y <= height + 0.01 for s in lines for x, y in s.points)
    heads = [s.points[-1] for s in lines if s.head]
    assert len(heads) == len(found.arrows)  # type: ignore[attr-defined]
    for x, y in heads:
        assert any(p.x <= x <= p.x + p.width and abs(p.y - y) < 0.01 for p in plates)


def overlap(a: Plate | Panel, b: Plate | Panel) -> bool:
    return (
        min(a.x + a.width, b.x + b.width) - max(a.x, b.x) > 0.01
        and min(a.y + a.height, b.y + b.height) - max(a.y, b.y) > 0.01
    )


def within(a: Plate | Panel, b: Plate | Panel) -> bool:
    """Whether `b` lies in `a`."""
    return a.x <= b.x and a.y <= b.y and a.x + a.width >= b.x + b.width and a.y + a.height >= b.y + b.height


@pytest.mark.parametrize("name", SPACES)
def test_shipped_spaces_are_drawn(name: str) -> None:
    space = SearchSpace.read(SPACES[name], registry(), block_files())
    architecture = space.sample(random.Random(1)).architecture
    found = diagram(architecture, space.registry)
    assert_placed(found)
    image = ElementTree.fromstring(svg(architecture, space.registry))
    assert image.tag == f"{SVG}svg"
    texts = [t.text for t in image.iter(f"{SVG}text")]
    assert all(line in texts for v in vertices(found.items) for line in v.lines)
    assert sum("marker-end" in p.attrib for p in image.iter(f"{SVG}path")) == len(found.arrows)
    chart = mermaid(architecture, space.registry)
    assert len(re.findall(r"^ +n\d+[\[(]", chart, re.MULTILINE)) == len(vertices(found.items))
    assert len(re.findall(r"^ +subgraph ", chart, re.MULTILINE)) == len(re.findall(r"^ +end$", chart, re.MULTILINE))
    assert len(re.findall(r"-->|-\.->", chart)) == len(found.arrows)


def test_delays_are_dashed_and_serial_is_red(cell: Architecture) -> None:
    image = ElementTree.fromstring(svg(cell, registry()))
    kinds = [set(p.attrib.get("class", "").split()) for p in image.iter(f"{SVG}path")]
    assert sum({"late", "serial"} <= k for k in kinds) == 2
    assert sum("late" in k and "serial" not in k for k in kinds) == 1
    assert sum(r.attrib.get("class") == "serial" for r in image.iter(f"{SVG}rect")) == 3
    why = [t.text or "" for t in image.iter(f"{SVG}text") if t.attrib.get("class") == "why"]
    assert len(why) == 2
    assert all(text.startswith("red: runs step by step, since ") for text in why)


def test_names_are_escaped_in_svg() -> None:
    pen = Pen()
    pen("out", "tanh", "in")
    text = svg(pen.done("out", name='a<b & "c"'), REGISTRY)
    assert "a&lt;b &amp; &quot;c&quot;: width 8" in text
    ElementTree.fromstring(text)


def test_a_mermaid_chart_reads_well() -> None:
    pen = Pen()
    pen("h", "add", ["in", "h[t-1]"])
    pen("out", "gru_core", "h")
    assert mermaid(pen.done("out"), REGISTRY).splitlines() == [
        "---",
        'title: "toy: width 8, causal"',
        "---",
        "flowchart TD",
        '  n0(["in<br>8"])',
        '  n1["h<br>add<br>8"]' + (":::serial" if is_serial(pen) else ""),
        '  n2["out<br>gru_core<br>8 · 384 params"]:::serial',
        '  n3(["output"])',
        "  n0 --> n1",
        '  n1 -.->|"t-1"| n1',
        "  n1 --> n2",
        "  n2 --> n3",
        *(["  linkStyle 1 stroke:#c0392b"] if is_serial(pen) else []),
        "  classDef serial stroke:#c0392b,stroke-width:2px",
        *(f"  %% serial: {reason}" for reason in diagram(pen.done("out"), REGISTRY).reasons),
    ]


def is_serial(pen: Pen) -> bool:
    return any(v.serial for v in vertices(diagram(pen.done("out"), REGISTRY).items) if v.name == "h")


# ---- the layout ------------------------------------------------------------------------------------------------------


def test_layers_are_longest_paths() -> None:
    assert layers(5, [(0, 1), (1, 2), (0, 2), (2, 4), (3, 4)]) == [0, 1, 2, 0, 3]


def test_sweeps_undo_crossings() -> None:
    rows = [[0, 1, 2], [3, 4, 5]]
    order(rows, [(0, 0, 5, 0), (1, 0, 4, 0), (2, 0, 3, 0)])
    place = {v: i for row in rows for i, v in enumerate(row)}
    assert [place[v] for v in (5, 4, 3)] == [place[v] for v in (0, 1, 2)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.5, 5), st.floats(1, 20)), min_size=1, max_size=6))
def test_things_stand_apart_as_near_as_can_be_to_their_wishes(things: list[tuple[float, float, float]]) -> None:
    wished, weights, steps = (list(column) for column in zip(*things, strict=True))
    found = _apart(wished, weights, steps)
    for i in range(len(found) - 1):
        assert found[i + 1] >= found[i] + steps[i] - 1e-6

    def cost(places: list[float]) -> float:
        return sum(w * (x - d) ** 2 for w, x, d in zip(weights, places, wished, strict=True))

    # No block of neighbours can move either way without a worse place or an overlap.
    for i, j in itertools.combinations(range(len(found) + 1), 2):
        for shift in (-1e-3, 1e-3):
            moved = [x + shift * (i <= k < j) for k, x in enumerate(found)]
            apart = all(moved[k + 1] >= moved[k] + steps[k] - 1e-9 for k in range(len(moved) - 1))
            assert not apart or cost(moved) >= cost(found) - 1e-6
