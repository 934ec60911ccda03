"""How cycles run, as `spaces draw` says it."""

from __future__ import annotations

import random

from archsearch.graph.cycles import cycles
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

TWO = """
graph:
  nodes:
    a: {op: linear, from: in}
    z: {op: sigmoid, from: a}
    kept: {op: multiply, from: [z, "h[t-1]"]}
    h: {op: add, from: [kept, in]}
    sum: {op: add, from: [h, "out[t-1]"]}
    out: {op: tanh, from: sum}
"""


def words(text: str) -> list[str]:
    architecture = SearchSpace.parse(text, registry()).sample(random.Random(0)).architecture
    return cycles(architecture, registry()).splitlines()


def test_each_cycle_and_each_kind_of_step_has_a_line() -> None:
    head, scan, loop, positive, nonlinear = words(TWO)
    assert head == "cycles"
    assert scan == "  h    scan"
    assert loop == "  out  loop: tanh makes `out` nonlinear in its past"
    assert positive.startswith("  positive diagonal: can ") and "; cannot solve parity" in positive
    assert nonlinear.startswith("  nonlinear: can ") and nonlinear.endswith("arXiv:2404.08819)")


def test_without_cycles_there_is_nothing_to_say() -> None:
    assert words("graph: {op: tanh}") == []
