"""Rates by hand: windows, what is seen of them and when, and graphs of several rates."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from archsearch.build.model import build
from archsearch.errors import RuleError, UserError
from archsearch.graph.analysis import facts
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.graph.types import ValueType
from archsearch.ops.base import Context
from archsearch.ops.rates import Pool, Reverse, Upsample
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind

X = torch.tensor([1.0, 5.0, 3.0, 2.0, 8.0, 4.0, 6.0]).view(1, 1, 7, 1)


def row(x: Tensor) -> list[float]:
    return x.flatten().tolist()


@pytest.mark.parametrize(
    ("how", "expected"), [("mean", [3.0, 14 / 3, 6.0]), ("last", [3.0, 4.0, 6.0]), ("max", [5.0, 8.0, 6.0])]
)
def test_pool_keeps_one_step_of_each_window_and_cuts_the_last_short(how: str, expected: list[float]) -> None:
    assert row(Pool(3, how).forward({}, X, ctx=Context())) == pytest.approx(expected)


@pytest.mark.parametrize("how", ["mean", "last", "max"])
def test_pool_over_more_steps_than_there_are_gives_one(how: str) -> None:
    assert Pool(100, how).forward({}, X, ctx=Context()).shape == (1, 1, 1, 1)


def test_upsample_shows_a_window_when_it_has_closed() -> None:
    slow = torch.tensor([10.0, 20.0, 30.0]).view(1, 1, 3, 1)
    assert row(Upsample(3).forward({}, slow, X, ctx=Context())) == [0, 0, 10, 10, 10, 20, 20]
    assert row(Upsample(3, causal=False).forward({}, slow, X, ctx=Context())) == [10, 10, 10, 20, 20, 20, 30]
    assert Upsample(1).forward({}, X, X, ctx=Context()).equal(X)


def test_reverse_twice_is_the_identity() -> None:
    once = Reverse().forward({}, X, ctx=Context())
    assert row(once) == row(X)[::-1]
    assert Reverse().forward({}, once, ctx=Context()).equal(X)


def test_rates_multiply() -> None:
    fast = ValueType((8,))
    slow = Pool(3).infer(Pool(2).infer(fast))
    assert slow.rate == Fraction(1, 6)
    assert Upsample(3).infer(slow, Pool(2).infer(fast)).rate == Fraction(1, 2)
    assert Upsample(6).infer(slow, fast) == fast
    with pytest.raises(RuleError, match=r"rate of its clock, but got rate 1/6 times by=4, clock at rate 1"):
        Upsample(4).infer(slow, fast)


SLOW_CORE = """
define:
  slow:
    params: {by: 3}
    nodes:
      few: {op: pool, by: $by, from: in}
      core: {op: CORE, from: few}
      many: {op: upsample, by: $by, from: {x: core, clock: in}}
      out: {op: add, from: [in, many]}
scale: {width: 8}
graph: {op: slow}
"""


def slow(core: str) -> Architecture:
    return point(SLOW_CORE.replace("CORE", core))


def point(text: str) -> Architecture:
    return SearchSpace.parse(text, registry()).sample(random.Random(0)).architecture


@pytest.mark.parametrize("core", ["gru_core", "lstm_core", "short_conv", "mlp", "s4d_core"])
@pytest.mark.parametrize("time", [1, 2, 12, 13])
def test_a_graph_of_two_rates_is_causal_at_every_length(core: str, time: int) -> None:
    model = build(slow(core), InputKind("vectors", 3), OutputKind("steps", 4), seeds=[1, 2])
    x = torch.randn(2, time, 3, generator=torch.Generator().manual_seed(0))
    y = model(x)
    assert y.shape == (2, 2, time, 4)
    for t in range(time):
        torch.testing.assert_close(model(x[:, : t + 1])[:, :, t], y[:, :, t])
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_what_runs_at_a_slow_rate_costs_its_share() -> None:
    at_full, slowly = registry()["mlp"].bind({}), facts(slow("mlp"), registry(), time=256)
    rest = 8 + 8  # a sum into the windows, and the residual
    assert slowly.flops_per_token - rest == pytest.approx(at_full.cost(ValueType((8,)), time=256).flops / 3)
    assert facts(slow("gru_core"), registry(), time=255).span == 255 // 3
    assert slowly.state_bytes == 2 * 4 * 8


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("p: {op: pool, from: in}, out: {op: add, from: [in, p]}", r"equal .*rates, but got 8, 8 at rate 1/2"),
        ("p: {op: pool, from: in}, out: {op: concat, from: [in, p]}", r"`concat` must agree"),
        ("p: {op: pool, from: 'out[t-1]'}, out: {op: add, from: [in, p]}", r"mixes time must not stand on a cycle"),
        ("out: {op: pool, by: 0, from: in}", r"`by` must be at least 1 and at most 4096, but got 0"),
        ("out: {op: reverse, from: in}", r"causal: true` must hold causal ops only, but got `reverse`"),
    ],
)
def test_graphs_that_rates_forbid(nodes: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        point(f"scale: {{width: 8}}\ngraph: {{nodes: {{{nodes}}}}}")


def test_both_directions_in_a_space_that_is_not_causal() -> None:
    text = """
    causal: false
    scale: {width: 8}
    graph:
      nodes:
        there: {op: gru_core, from: in}
        back: {op: reverse, from: in}
        from_the_end: {op: gru_core, from: back}
        again: {op: reverse, from: from_the_end}
        out: {op: add, from: [there, again]}
    """
    model = build(point(text), InputKind("vectors", 3), OutputKind("steps", 4), seeds=[1])
    x = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
    moved = x.clone()
    moved[:, -1] += 1
    assert not torch.allclose(model(x)[:, :, 0], model(moved)[:, :, 0])
