"""Cells written as equations: how they run, and that they are what they are called."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archsearch.build.model import Model, build
from archsearch.content import block_files
from archsearch.errors import UserError
from archsearch.graph.analysis import facts
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.test_recurrence import both, loops_of
from tests.ops.contract import close

WIDTH = 6
CELLS = {
    "min_gru": """
      z = sigmoid(linear(x))
      h = (1 - z) * h[t-1] + z * linear(x)
""",
    "linear_attention": """
      q = linear(x)
      S = S[t-1] + outer(linear(x), linear(x), heads=2)
      h = matmul(S, q)
""",
    "delta_net": """
      k = norm(linear(x), heads=2)
      beta = sigmoid(linear(x, width=1))
      S = S[t-1] + outer(k, beta * (linear(x) - matmul(S[t-1], k)), heads=2)
      h = matmul(S, linear(x))
""",
    "lstm": """
      i = sigmoid(linear(x) + linear(h[t-1]))
      f = sigmoid(linear(x) + linear(h[t-1]))
      g = tanh(linear(x) + linear(h[t-1]))
      o = sigmoid(linear(x) + linear(h[t-1]))
      c = f * c[t-1] + i * g
      h = o * tanh(c)
""",
    "gru": """
      r = sigmoid(linear(x) + linear(h[t-1]))
      z = sigmoid(linear(x) + linear(h[t-1]))
      n = tanh(linear(x) + r * linear(h[t-1]))
      h = (1 - z) * n + z * h[t-1]
""",
}
GRAPH = {
    "once": "    out: {op: cell, from: in}",
    "repeated": "    out: {repeat: cell, times: 3, from: in}",
    "tied": "    out: {repeat: cell, times: 3, tie: weights, from: in}",
}


def cell(name: str, graph: str = "once") -> Architecture:
    """A space of one point around a cell."""
    text = f"version: 1\nname: cells\ndefine:\n  cell:\n    equations: |{CELLS[name]}    out: h\n"
    text += f"graph:\n  nodes:\n{GRAPH[graph]}\nscale: {{width: {WIDTH}}}\n"
    return SearchSpace.parse(text, registry(), definitions=block_files()).sample(random.Random(0)).architecture


@pytest.mark.parametrize("graph", GRAPH)
@pytest.mark.parametrize(
    ("name", "runs"),
    [("min_gru", "scan"), ("linear_attention", "linear attention"), ("delta_net", "delta rule")],
)
def test_it_runs_in_parallel_and_equals_its_loop(name: str, runs: str, graph: str) -> None:
    a = cell(name, graph)
    times = 1 if graph == "once" else 3
    found = facts(a, registry(), 64)
    assert [str(r) for r in found.recurrences] == [runs] * times
    assert (found.parallel_in_time, found.serial, found.span) == (True, (), 1 + times * 5)
    assert loops_of(a) == 0
    both(a, 23)
    both(a, 23, torch.float32)


@pytest.mark.parametrize(("name", "state"), [("lstm", "h"), ("gru", "h")])
def test_a_nonlinear_cell_says_why_it_does_not(name: str, state: str) -> None:
    found = facts(cell(name, "repeated"), registry(), 64)
    assert (found.parallel_in_time, found.span) == (False, 1 + 3 * 63)
    for recurrence, (_, why) in zip(found.recurrences, found.serial, strict=True):
        assert recurrence.transition.kind == "nonlinear"
        assert why.startswith("sigmoid makes") and f".{state}`" in why and why.endswith("nonlinear in its past")


@pytest.mark.parametrize(("name", "module"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_it_is_the_cell_of_torch(name: str, module: Any) -> None:
    model = build(cell(name), InputKind("tokens", 3), OutputKind("steps", 3), seeds=[1])
    theirs = module(WIDTH, WIDTH, batch_first=True)
    names = gates(model, "ifgo" if name == "lstm" else "rzn")
    theirs.load_state_dict({key: torch.cat([p.detach()[0] for p in ps]) for key, ps in names.items()})
    x = torch.randn(1, 3, 40, WIDTH, requires_grad=True)
    ours, wanted = model._plan.run({"in": x}, Context())[0], theirs(x[0])[0]
    close(ours, wanted, "output")
    g = torch.randn_like(wanted)
    of = [x, *(p for ps in names.values() for p in ps)]
    mine = torch.autograd.grad(ours, of, g)
    parts = torch.autograd.grad(wanted, [x, *(dict(theirs.named_parameters())[k] for k in names)], g)
    split = [parts[0], *(p[None] for d, ps in zip(parts[1:], names.values(), strict=True) for p in d.chunk(len(ps)))]
    for i, (a, b) in enumerate(zip(mine, split, strict=True)):
        close(a, b, f"gradient {i}")


def gates(model: Model, letters: str) -> dict[str, list[Tensor]]:
    """The weights of torch's cell as parts of ours, in the order of its gates."""
    p = dict(model.graph.named_parameters())
    return {
        f"{kind}_{end}_l0": [p[f"out.{letter}_{linear}.{kind}"] for letter in letters]
        for linear, end in (("linear", "ih"), ("linear2", "hh"))
        for kind in ("weight", "bias")
    }


BAD = {
    "mix: {op: gru_core, from: 'out[t-1]'}": "an op that mixes time must not stand on a cycle, and `gru_core` does",
    "mix: {op: cumsum, from: 'out[t-1]'}": "an op that mixes time must not stand on a cycle, and `cumsum` does",
    "mix: {op: reverse, from: 'out[t-1]'}": "an op that mixes time must not stand on a cycle, and `reverse` does",
    "mix: {op: softmax_attention, causal: false, from: {q: in, k: in, v: 'out[t-1]'}}": "must not stand on a cycle",
    "mix: {op: tanh, from: 'out[t-0]'}": r"a delay must be \[t-k\] with k at least 1",
    "mix: {op: tanh, from: 'out[t--1]'}": r"a delay must be \[t-k\] with k at least 1",
    "mix: {op: tanh, from: out}": "every cycle must carry a delay",
    "mix: {op: matmul, from: {state: 'out[t-1]', x: in}}": "`state` of `matmul` must be matrices",
}


@pytest.mark.parametrize("mix", BAD)
def test_a_bad_cycle_is_refused(mix: str) -> None:
    text = f"version: 1\nname: bad\ncausal: false\ngraph:\n  nodes:\n    {mix}\n    out: {{op: add, from: [in, mix]}}\n"

    def read() -> None:
        space = SearchSpace.parse(text + "scale: {width: 8}\n", registry(), definitions=block_files())
        space.sample(random.Random(0))

    with pytest.raises(UserError, match=BAD[mix]):
        read()
