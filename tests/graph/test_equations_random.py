"""Random graphs with random cycles, spelled as equations and read back, are the same graphs."""

from __future__ import annotations

import random
from dataclasses import replace
from textwrap import indent

from archsearch.errors import UserError
from archsearch.graph.analysis import live_nodes
from archsearch.graph.normal import normal_form
from archsearch.graph.reader import Table, parse
from archsearch.graph.space import SearchSpace
from archsearch.graph.spelling import to_equations
from archsearch.ops.registry import registry
from tests.build.random_graphs import as_yaml, random_graph
from tests.graph.test_equations import found

GRAPHS, LEAST = 60, 30


def form_of(text: str) -> str:
    return normal_form(SearchSpace.parse(text, registry()).sample(random.Random(0)).architecture, registry())


def test_there_and_back() -> None:
    """Of 60 graphs those that the language reads and equations can say, at least half of them."""
    same = 0
    for seed in range(GRAPHS):
        a = random_graph(random.Random(seed), mixers=True, matrices=True)
        live = {n.name for n in live_nodes(a)}
        text = as_yaml(replace(a, nodes=tuple(n for n in a.nodes if n.name in live), outline=()))
        root = parse(text).root
        assert isinstance(root, Table) and isinstance(root.entries["graph"], Table)
        try:
            wanted = form_of(text)
        except UserError:  # a type that only a dropped node told
            continue
        spelled = to_equations(root.entries["graph"], found)
        if spelled is not None:
            assert form_of(f"scale: {{width: 4}}\ngraph:\n{indent(spelled, '  ')}") == wanted
            same += 1
    assert same >= LEAST
