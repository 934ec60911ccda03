"""Norms over the features of one step."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.rms_norm import rms_norm
from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weight, Weights, constant, op, param, setting

__all__ = ["LayerNorm", "RmsNorm"]


class _Norm(Op):
    """One scale per feature of the last axis, for every group of the axes before it."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), state


@op(family="norm", equation="y = g ⊙ x / √(mean(x²) + eps)", paper="Zhang and Sennrich 2019, arXiv:1910.07467")
@dataclass(frozen=True)
class RmsNorm(_Norm):
    """Root-mean-square norm."""

    eps: float = setting(1e-6, low=1e-12, help="added to the mean square")

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        return (param("weight", (x.width,), constant(1.0), decay=False),)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=4 * x.size)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return rms_norm(x, w["weight"], self.eps)


@op(family="norm", equation="y = g ⊙ (x − mean(x)) / √(var(x) + eps) + b", paper="Ba et al. 2016, arXiv:1607.06450")
@dataclass(frozen=True)
class LayerNorm(_Norm):
    """Layer norm."""

    eps: float = setting(1e-5, low=1e-12, help="added to the variance")

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        return (
            param("weight", (x.width,), constant(1.0), decay=False),
            param("bias", (x.width,), constant(0.0), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=7 * x.size)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        g, b = w["weight"], w["bias"]
        if g.shape[0] == 1:
            return F.layer_norm(x, x.shape[-1:], g.squeeze(0), b.squeeze(0), self.eps)
        shape = (g.shape[0], *[1] * (x.ndim - 2), g.shape[1])
        return torch.addcmul(b.view(shape), F.layer_norm(x, x.shape[-1:], eps=self.eps), g.view(shape))
