"""Types of values on cycles that only the other terms of a sum tell: states of matrices."""

from __future__ import annotations

import random

import pytest

from archsearch.errors import FileError
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

DECAY = """scale: {width: 8}
graph:
  nodes:
    q: {op: linear, from: in}
    k: {op: linear, from: in}
    v: {op: linear, from: in, width: 12}
    d: {op: linear, width: 1, from: in}
    g: {op: sigmoid, from: d}
    kv: {op: outer, heads: 2, from: {x: k, y: v}}
    old: {op: multiply, from: [g, "S[t-1]"]}
    S: {op: add, from: [old, kv]}
    out: {op: matmul, from: {state: S, x: q}}
"""

DELTA = """scale: {width: 8}
graph:
  nodes:
    q: {op: linear, from: in}
    k: {op: linear, from: in}
    v: {op: linear, from: in, width: 12}
    d: {op: linear, width: 1, from: in}
    b: {op: sigmoid, from: d}
    r: {op: matmul, from: {state: "S[t-1]", x: k}}
    e: {op: subtract, from: {x: v, y: r}}
    be: {op: multiply, from: [b, e]}
    kv: {op: outer, heads: 2, from: {x: k, y: be}}
    S: {op: add, from: ["S[t-1]", kv]}
    out: {op: matmul, from: {state: S, x: q}}
"""


@pytest.mark.parametrize(("text", "nodes"), [(DECAY, ("old", "S")), (DELTA, ("kv", "S"))])
def test_a_state_of_matrices_is_inferred(text: str, nodes: tuple[str, ...]) -> None:
    a = SearchSpace.parse(text, registry()).sample(random.Random(0)).architecture
    assert [a.node(n).types[0].shape for n in (*nodes, "out")] == [(2, 4, 6), (2, 4, 6), (12,)]


def test_what_never_fits_is_refused_at_its_node() -> None:
    text = DELTA.replace("op: outer, heads: 2", "op: outer, heads: 3")
    with pytest.raises(FileError, match="`heads` must divide the width, but got heads=3, width=8") as caught:
        SearchSpace.parse(text, registry()).sample(random.Random(0))
    assert caught.value.node == "kv"


def test_a_state_of_vectors_cannot_be_read_as_matrices() -> None:
    text = DECAY.replace("[old, kv]", "[k, 'S[t-1]']")
    with pytest.raises(FileError, match="must be matrices, \\(heads, rows, columns\\), but got 8") as caught:
        SearchSpace.parse(text, registry()).sample(random.Random(0))
    assert caught.value.node == "out"


def test_a_matrix_state_into_an_op_of_vectors_is_refused() -> None:
    text = DECAY.replace("out: {op: matmul, from: {state: S, x: q}}", "out: {op: gru_core, from: S}")
    with pytest.raises(FileError, match="`x` of `gru_core` must be a vector, but got 2×4×6") as caught:
        SearchSpace.parse(text, registry()).sample(random.Random(0))
    assert caught.value.node == "out"
