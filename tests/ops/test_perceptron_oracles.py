"""Mixtures of experts against a loop over tokens, and their loss in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F

from archsearch.build.model import build
from archsearch.errors import RuleError
from archsearch.graph.types import ValueType
from archsearch.ops.base import Context, Op, Weights
from archsearch.ops.experts import imbalance
from archsearch.tasks.base import InputKind, OutputKind
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.trainer import Trainer
from tests.blocks.test_blocks import run
from tests.build.graphs import graph
from tests.ops.contract import Case, close, parallel
from tests.training.conftest import RECALL, Draft


@pytest.mark.parametrize("top", [1, 2, 4])
def test_experts_equal_a_loop_over_tokens(top: int) -> None:
    case = Case("experts", {"experts": 4, "top": top, "expand": 1.5})
    w, (x,) = case.weights(), case.inputs()
    y = parallel(case, w, [x])[0]
    wanted = torch.zeros_like(y)
    for copy, example, step in torch.cartesian_prod(*(torch.arange(n) for n in x.shape[:3])).tolist():
        token = x[copy, example, step]
        p = (w["router"][copy] @ token).softmax(0)
        best = p.argsort(descending=True)[:top].tolist()
        total = sum(p[i] for i in best) if top > 1 else 1.0
        for i in best:
            out = w["down"][copy, i] @ F.gelu(w["up"][copy, i] @ token)
            wanted[copy, example, step] += p[i] / total * out
    close(y, wanted, "output")


def test_experts_that_are_all_alike_are_one_perceptron() -> None:
    """With renormalised gates it does not matter who is chosen."""
    case = Case("experts", {"experts": 4, "top": 2})
    w, (x,) = case.weights(), case.inputs()
    w |= {k: w[k][:, :1].expand(-1, 4, -1, -1) for k in ("up", "down")}
    h = F.gelu(torch.einsum("ebtd,ehd->ebth", x, w["up"][:, 0]))
    close(parallel(case, w, [x])[0], torch.einsum("ebth,edh->ebtd", h, w["down"][:, 0]), "output")


def test_the_imbalance_is_one_at_even_use_and_the_number_of_experts_at_the_worst() -> None:
    even = torch.full((1, 8, 4), 0.25)
    assert imbalance(even, torch.arange(8).view(1, 8, 1) % 4).tolist() == [1.0]
    worst = F.one_hot(torch.zeros(1, 8, dtype=torch.int64), 4).float()
    assert imbalance(worst, torch.zeros(1, 8, 1, dtype=torch.int64)).tolist() == [4.0]


def test_the_loss_of_balance_is_there_in_training_alone_and_per_copy() -> None:
    case = Case("experts", {"balance": 0.5})
    w, (x,) = case.weights(), case.inputs()
    losses: list[torch.Tensor] = []
    y = case.op.forward(w, x, ctx=Context(True, None, losses))
    assert [loss.shape for loss in losses] == [(2,)]
    assert torch.equal(y, case.op.forward(w, x, ctx=Context()))
    solo: list[torch.Tensor] = []
    case.op.forward({k: v[1:] for k, v in w.items()}, x[1:], ctx=Context(True, None, solo))
    close(solo[0], losses[0][1:], "copy 1")
    assert (losses[0] >= 0.5).all()
    (g,) = torch.autograd.grad(losses[0][0], [w["router"]])
    assert g[0].abs().max() > 0 == g[1].abs().max()


def routed(balance: float) -> Trainer:
    """A router in training whose first expert has every token at the start."""
    draft = Draft(16)
    h = draft.node("norm", "rms_norm", "in")
    mix = draft.node("mix", "experts", h, experts=4, top=1, balance=balance)
    architecture = draft.done(draft.node("last", "add", ["in", mix]))
    settings = TrainingSettings(
        steps=60, batch=16, reports=1, device="cpu", evaluation_examples=64, seeds=2, learning_rates=(1e-2,)
    )
    trainer = Trainer(Job("t", architecture.to_dict(), "in_context_recall", RECALL, settings, 0, "validation"))
    weights = dict(trainer.model.named_parameters())
    with torch.no_grad():
        weights["graph.mix.router"].zero_()
        weights["graph.mix.router"][:, 0] = 1.0
        weights["stem.weight"].abs_()
    return trainer


def test_training_with_the_loss_spreads_tokens_over_experts() -> None:
    uses = {}
    for balance in (0.0, 1.0):
        trainer = routed(balance)
        report = trainer.advance()
        heard: list[torch.Tensor] = []
        unit = routed(1.0).model.eval()
        unit.load_state_dict(trainer.model.state_dict())
        unit(trainer.judge.train.inputs[:64], Context(True, None, heard))
        uses[balance] = heard[0].tolist()
        assert report.loss is not None and report.loss < 3.0, "what is reported is the loss of the task alone"
    assert max(uses[1.0]) < 1.5 < min(uses[0.0])


def test_more_choices_than_experts_are_refused() -> None:
    case = Case("experts", {"experts": 2, "top": 3})
    with pytest.raises(RuleError, match="`top` must be at most `experts`, but got top=3, experts=2"):
        case.op.infer(*case.types)


@pytest.mark.parametrize(("settings", "f"), [("", F.silu), ("activation: gelu", F.gelu), ("activation: relu", F.relu)])
def test_a_gated_mlp_is_a_gated_linear_unit_of_the_size_of_an_mlp(settings: str, f: Any) -> None:
    _, w, x, y = run("gated_mlp", settings)
    close(y, F.linear(f(F.linear(x, w["gate.weight"])) * F.linear(x, w["value.weight"]), w["out.weight"]), "output")
    mlp = sum(p.numel() for p in run("mlp")[1].values())
    assert sum(p.numel() for p in w.values()) == pytest.approx(mlp, rel=0.15)


@pytest.mark.parametrize(("grid", "order", "reach"), [(5, 3, 2.0), (4, 1, 1.0), (1, 2, 3.0)])
def test_the_splines_of_a_kan_are_those_of_scipy(grid: int, order: int, reach: float) -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    op = Case("kan", {"grid": grid, "order": order, "reach": reach}).op
    x = torch.linspace(-reach, reach, 101, dtype=torch.float64)[:-1]
    step = 2 * reach / grid
    knots = [-reach + step * i for i in range(-order, grid + order + 1)]
    theirs = interpolate.BSpline.design_matrix(x.numpy(), knots, order).toarray()
    close(op.splines(x), torch.from_numpy(theirs), "splines", 1e-12)  # type: ignore[attr-defined]
    assert (op.splines(torch.tensor([-2 * order * step - reach, 9 * reach + step * order])) == 0).all()  # type: ignore[attr-defined]


def test_a_kan_is_a_sum_over_its_edges() -> None:
    case = Case("kan", {"width": 3})
    w, (x,) = case.weights(seeds=(1,)), case.inputs(copies=1)
    y = parallel(case, w, [x])[0]
    b = case.op.splines(x)  # type: ignore[attr-defined]
    c = w["spline"][0].view(3, 8, 8)
    edges = w["base"][0] * F.silu(x).unsqueeze(-2) + torch.einsum("ebtig,jig->ebtji", b, c)
    close(y, edges.sum(-1), "output")


@dataclass(frozen=True)
class OneByOne(Op):
    """An op that takes its copies one by one and adds a loss of each."""

    name: ClassVar[str] = "one_by_one"
    native_copies: ClassVar[bool] = False

    def infer(self, *types: Any) -> ValueType:
        return types[0]  # type: ignore[no-any-return]

    def forward_one(self, w: Weights, *inputs: Any, ctx: Context) -> Any:
        (x,) = inputs
        if ctx.losses is not None:
            ctx.losses.append(x.mean().view(1))
        return x


def test_losses_of_ops_that_take_copies_one_by_one_come_together() -> None:
    x, heard = torch.randn(3, 2, 5, 4), list[torch.Tensor]()
    OneByOne().forward({}, x, ctx=Context(True, None, heard))
    OneByOne().step({}, {}, x[:, :, 0], ctx=Context(True, None, heard))
    assert [loss.shape for loss in heard] == [(3,), (3,)]
    close(heard[0], x.mean((1, 2, 3)), "loss")
    close(heard[1], x[:, :, 0].mean((1, 2)), "loss of a step")
    OneByOne().forward({}, x, ctx=Context())


def test_on_a_cycle_the_mean_over_steps_counts() -> None:
    """`h_t = x_t + experts(h_{t−1})`, with one expert: its loss is `balance` at every step."""
    nodes = {"h": ("add", {}, ("in", "mix[t-1]")), "mix": ("experts", {"experts": 1, "top": 1, "balance": 0.25}, "h")}
    model = build(
        graph(4, nodes, known={"mix": 4}, out="h"), InputKind("tokens", 3), OutputKind("steps", 3), seeds=[0, 1]
    )
    heard: list[torch.Tensor] = []
    model(torch.zeros(2, 7, dtype=torch.int64), Context(True, None, heard))
    assert [loss.tolist() for loss in heard] == [[0.25, 0.25]]
