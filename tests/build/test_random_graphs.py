"""The generator of random graphs: it gives what the tests that use it rely on."""

from __future__ import annotations

import random

import torch
from hypothesis import given, settings

from archsearch.build.model import build
from archsearch.graph.analysis import components
from archsearch.graph.architecture import Architecture
from archsearch.graph.normal import normal_form
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.random_graphs import as_yaml, graphs, random_graph

VECTORS, STEPS = InputKind("vectors", 3), OutputKind("steps", 2)


def test_the_same_source_gives_the_same_graph() -> None:
    one, two = (random_graph(random.Random(3), mixers=True) for _ in range(2))
    assert one == two
    assert one != random_graph(random.Random(4), mixers=True)


@settings(max_examples=60, deadline=None)
@given(graphs(mixers=True, matrices=True))
def test_they_are_built_and_stay_finite(a: Architecture) -> None:
    y = build(a, VECTORS, STEPS, seeds=[1])(torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0)))
    assert y.isfinite().all() and y.abs().max() < 1e9


@settings(max_examples=60, deadline=None)
@given(graphs(mixers=True))
def test_the_language_says_the_same_graph(a: Architecture) -> None:
    space = SearchSpace.parse(as_yaml(a), registry())
    assert normal_form(space.sample(random.Random(0)).architecture, registry()) == normal_form(a, registry())


def test_what_hundreds_of_them_hold() -> None:
    """Cycles through one state and through several, all kinds of updates, delays beyond one, learned starts."""
    found = [random_graph(random.Random(i)) for i in range(200)]
    sizes = [len(c.nodes) for a in found for c in components(a) if c.cyclic]
    ops = {n.op for a in found for n in a.nodes}
    delays = {s.delay for a in found for n in a.nodes for s in n.sources}
    assert len(sizes) > 200 and max(sizes) > 8
    assert {"linear", "split", "concat", "rms_norm", "multiply", "tanh", "one_minus"} <= ops
    assert delays == {0, 1, 2, 3}
    assert {n.initial for a in found for n in a.nodes} == {"zero", "learned"}


def test_states_of_matrices_need_no_words_about_their_types() -> None:
    for seed in range(60):
        a = random_graph(random.Random(seed), stages=1, size=2, states=1, learned=False, matrices=True)
        space = SearchSpace.parse(as_yaml(a), registry())
        assert normal_form(space.sample(random.Random(0)).architecture, registry()) == normal_form(a, registry()), seed


def test_a_state_at_a_lower_rate_that_only_its_own_past_feeds() -> None:
    nodes = {
        "slow": "{op: pool, by: 2, from: in}",
        "h": '{op: tanh, init: learned, from: "h[t-1]"}',
        "both": "{op: add, from: [slow, h]}",
        "out": "{op: upsample, by: 2, from: {x: both, clock: in}}",
    }
    text = "version: 1\nscale: {width: 4}\ngraph:\n  nodes:\n" + "".join(f"    {k}: {v}\n" for k, v in nodes.items())
    a = SearchSpace.parse(text, registry()).sample(random.Random(0)).architecture
    assert a.node("h").types == a.node("slow").types
