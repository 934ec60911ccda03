"""Mixtures of experts: perceptrons of which every step chooses a few."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.experts import chosen_experts
from archsearch.kernels.linear import linear
from archsearch.kernels.precision import exact, single
from archsearch.ops.base import Context, Cost, Op, ValueType, Weight, Weights, kaiming_uniform, op, param, setting
from archsearch.ops.plumbing import ACTIVATIONS
from archsearch.ops.rules import vector

__all__ = ["Experts"]


@op(
    family="perceptron",
    equation="p = softmax(R x); y = Σ_{i in the top k} g_i V_i f(U_i x); g = p / Σ p over the top k, or p if k = 1",
    paper="Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2021, arXiv:2101.03961, equations 1 to 6",
)
@dataclass(frozen=True)
class Experts(Op):
    """Mixture of perceptrons without biases, each step going through the few that its router prefers.

    No step is dropped and no noise is added. In training `balance · X Σ_i f_i P_i` is added to the loss, f_i the share
    of choices that fell on expert i of X and P_i the mean of its probability: it is least, `balance`, when experts are
    used alike. The router works in single precision under autocast.
    """

    experts: int = setting(8, low=1, help="X, how many perceptrons there are")
    top: int = setting(2, low=1, help="k, how many of them a step goes through")
    expand: float = setting(2.0, low=0.01, help="hidden width of one as a multiple of the width, rounded, at least 1")
    activation: str = setting("gelu", options=tuple(ACTIVATIONS), help="the nonlinearity f")
    balance: float = setting(0.01, low=0.0, help="weight of the loss that asks for experts to be used alike")

    def infer(self, x: ValueType) -> ValueType:
        if self.top > self.experts:
            value = f"top={self.top}, experts={self.experts}"
            raise RuleError("`top` must be at most `experts`", value=value, setting="top")
        return vector(self.name, "x", x)

    def hidden(self, x: ValueType) -> int:
        """Features of the hidden layer of one expert."""
        return max(1, round(self.expand * x.width))

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n, d = self.hidden(x), x.width
        return (
            param("router", (self.experts, d), kaiming_uniform(d)),
            param("up", (self.experts, n, d), kaiming_uniform(d)),
            param("down", (self.experts, d, n), kaiming_uniform(n)),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """The experts that a step goes through and their sum; the router, with 5 operations an expert for softmax."""
        n = self.hidden(x)
        return Cost(flops=self.experts * (2 * x.width + 5) + self.top * (4 * x.width * n + n + 2 * x.width))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        flat = x.flatten(1, 2)
        with exact(x.device):
            p = linear(single(flat), single(w["router"])).softmax(-1)
        gates, chosen = p.topk(self.top, -1)
        if self.top > 1:
            gates = gates / gates.sum(-1, keepdim=True)
        if ctx.losses is not None and self.balance:
            ctx.losses.append(self.balance * imbalance(p, chosen))
        y = chosen_experts(flat, w["up"], w["down"], chosen, gates, ACTIVATIONS[self.activation])
        return y.view(*x.shape[:-1], -1)


def imbalance(p: Tensor, chosen: Tensor) -> Tensor:
    """`X Σ_i f_i P_i` of each copy, `(E,)`: 1 where all experts are used alike, X where one is used alone.

    Args:
        p: `(E, N, X)`, the probabilities of the experts.
        chosen: `(E, N, K)`, the experts that were chosen.
    """
    used = F.one_hot(chosen, p.shape[-1]).to(p.dtype).mean((1, 2))
    return p.shape[-1] * torch.sum(used * p.mean(1), -1)
