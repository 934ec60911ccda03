"""Nodes that nothing reads are named by a check, wherever they stand; a node that some alternative reads is not."""

from __future__ import annotations

import pytest

from archsearch import api, content
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

TEXT = """version: 1
name: unread
define:
  layer:
    nodes:
      norm: {op: rms_norm, from: in}
      lost: {op: linear, from: norm}
      out: {op: add, from: [in, norm]}
graph:
  nodes:
    a: {op: linear, from: in}
    b: {op: linear, from: in}
    c: {op: linear, from: b}
    maybe: {op: linear, from: in}
    body: {repeat: layer, times: 2, from: {choose: [a, maybe]}}
    out: {op: rms_norm, from: body}
"""


def test_only_nodes_without_a_way_to_an_output_are_named() -> None:
    space = SearchSpace.parse(TEXT, registry())
    assert [(name, mark.line) for name, mark in space.unread()] == [("lost", 7), ("b", 12), ("c", 13)]
    report = space.check(samples=2)
    assert report.ok and len(report.unread) == 3


@pytest.mark.parametrize("name", content.names("search_spaces"))
def test_shipped_spaces_read_all_their_nodes(name: str) -> None:
    assert api.SearchSpace.read(name).unread() == []
