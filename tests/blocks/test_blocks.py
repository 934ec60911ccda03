"""The shipped blocks, read from YAML, built and compared with what they stand for."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.build.model import Model, build
from archsearch.errors import RuleError, UserError
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.blocks.contract import architecture
from tests.ops.contract import close

WIDTH, TIME = 8, 12


def run(op: str, settings: str = "") -> tuple[Model, dict[str, Tensor], Tensor, Tensor]:
    """The model, its weights without the axis of copies, an input and the block's output for it."""
    kinds = InputKind("tokens", 4), OutputKind("steps", 4)
    model = build(architecture(op, settings, WIDTH), *kinds, seeds=[2])
    with torch.no_grad():
        for p in model.graph.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
    x = torch.randn(1, 3, TIME, WIDTH, generator=torch.Generator().manual_seed(1))
    y = model._plan.run({"in": x}, Context())
    return model, {k.removeprefix("out."): v.detach()[0] for k, v in model.graph.named_parameters()}, x[0], y[0]


@pytest.mark.parametrize("heads", [2, 4])
def test_attention(heads: int) -> None:
    _, w, x, y = run("attention", f"heads: {heads}, positions: none")
    q, k, v = (F.linear(x, w[f"{p}.weight"]).view(3, TIME, heads, -1).transpose(1, 2) for p in "qkv")
    scores = (q @ k.mT / math.sqrt(WIDTH // heads)).masked_fill(torch.ones(TIME, TIME).triu(1).bool(), -torch.inf)
    close(y, F.linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), w["out.weight"]), "output")


@pytest.mark.parametrize(("op", "module"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_gated_blocks(op: str, module: type[nn.GRU] | type[nn.LSTM]) -> None:
    _, w, x, y = run(op, "expand: 2")
    theirs = module(WIDTH, 2 * WIDTH, batch_first=True)
    names = {"weight_ih_l0": "input", "weight_hh_l0": "hidden", "bias_ih_l0": "input_bias", "bias_hh_l0": "hidden_bias"}
    theirs.load_state_dict({k: w[f"core.{v}"] for k, v in names.items()})
    close(y, F.linear(theirs(x)[0], w["out.weight"], w["out.bias"]), "output")


def test_s4d_ends_in_a_gated_linear_unit() -> None:
    model, w, x, y = run("s4d")
    core = registry()["s4d_core"].bind({"state": 16})
    weights = {k.removeprefix("core."): v[None] for k, v in w.items() if k.startswith("core.")}
    h = F.gelu(core.forward(weights, x[None], ctx=Context())[0])
    value, gate = (F.linear(h, w[f"{p}.weight"], w[f"{p}.bias"]) for p in ("value", "gate"))
    close(y, F.glu(torch.cat([value, gate], -1), -1), "output")
    assert {g.lr_mult for g in model.groups()} == {0.1, 1.0}


def test_conv() -> None:
    _, w, x, y = run("conv", "kernel: 3")
    taps = F.conv1d(F.pad(x.mT, (2, 0)), w["taps.weight"][:, None], w["taps.bias"], groups=WIDTH).mT
    close(y, F.linear(F.silu(taps), w["out.weight"], w["out.bias"]), "output")


def test_the_heads_of_slstm_never_meet() -> None:
    """Maps, states and norms are those of a head (Beck et al. 2024, figure 10), and norms take the mean off."""
    model, _, x, y = run("slstm", "heads: 2")
    moved = torch.cat([x[..., : WIDTH // 2] + 1.0, x[..., WIDTH // 2 :]], -1)
    after = model._plan.run({"in": moved[None]}, Context())[0]
    close(after[..., WIDTH // 2 :], y[..., WIDTH // 2 :], "the other head")
    assert (after - y)[..., : WIDTH // 2].abs().max() > 0.1
    fresh = build(architecture("slstm", "heads: 2", WIDTH), InputKind("tokens", 4), OutputKind("steps", 4), seeds=[2])
    means = fresh._plan.run({"in": x[None]}, Context())[0].unflatten(-1, (2, -1)).mean(-1)
    assert means.abs().max() < 1e-5


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises((RuleError, UserError), match=r"`heads` must divide the width.*heads=3, width=8"):
        architecture("attention", "heads: 3", WIDTH)
