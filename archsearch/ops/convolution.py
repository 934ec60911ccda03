"""Convolutions along time."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.kernels.short_conv import short_convolution, short_convolution_step
from archsearch.ops.base import (
    Context,
    Cost,
    Op,
    State,
    ValueType,
    Weight,
    Weights,
    constant,
    kaiming_uniform,
    op,
    param,
    setting,
)
from archsearch.ops.rules import vector

__all__ = ["ShortConv"]


@op(family="convolution", mixes_time=True, equation="y_t = b + Σ_{j<K} w_j ⊙ x_{t−j}")
@dataclass(frozen=True)
class ShortConv(Op):
    """Causal convolution of each feature with a short filter of its own."""

    kernel: int = setting(4, low=1, high=64, help="steps that the filter reads, the present one included")
    bias: bool = setting(True, help="whether b is there")

    def infer(self, x: ValueType) -> ValueType:
        return vector(self.name, "x", x)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        weight = param("weight", (x.width, self.kernel), kaiming_uniform(self.kernel))
        return (weight, param("bias", (x.width,), constant(0.0), decay=False)) if self.bias else (weight,)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * self.kernel * x.width, state_bytes=4 * (self.kernel - 1) * x.width)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return short_convolution(x, w["weight"], w["bias"] if self.bias else None)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        window = torch.cat([self.start(w, x.shape[1], ValueType((x.shape[3],)))["window"], x.permute(0, 1, 3, 2)], 3)
        return self.forward(w, x, ctx=ctx), {"window": window[..., x.shape[2] :]}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        weight = w["weight"]
        return {"window": weight.new_zeros(weight.shape[0], batch, x.width, self.kernel - 1)}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y, window = short_convolution_step(x, state["window"], w["weight"], w["bias"] if self.bias else None)
        return y, {"window": window}
