"""Time as an op: the past of a value, and its sum so far. For a value's past on a cycle write a delay, `"h[t-1]"`."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weights, op, setting

__all__ = ["Cumsum", "Shift"]


@op(family="plumbing", mixes_time=True, equation="y_t = x_{t−k}, zero before the start")
@dataclass(frozen=True)
class Shift(Op):
    """What its input was some steps ago."""

    by: int = setting(1, low=1, help="steps back, k")

    def infer(self, x: ValueType) -> ValueType:
        return x

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(state_bytes=4 * self.by * x.size)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        gap = min(self.by, x.shape[2])
        return torch.cat([torch.zeros_like(x[:, :, :gap]), x[:, :, : x.shape[2] - gap]], 2)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        past = torch.cat([x.new_zeros(*x.shape[:2], self.by, *x.shape[3:]), x], 2)
        return past[:, :, : x.shape[2]], {"past": past[:, :, x.shape[2] :]}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        past = state["past"] if state else x.new_zeros(*x.shape[:2], self.by, *x.shape[2:])
        return past[:, :, 0], {"past": torch.cat([past[:, :, 1:], x.unsqueeze(2)], 2)}


@op(family="plumbing", mixes_time=True, equation="y_t = x_1 + … + x_t")
@dataclass(frozen=True)
class Cumsum(Op):
    """Sum of all that its input was, the present step included."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size, state_bytes=4 * x.size, span=max(1, math.ceil(math.log2(max(time, 1)))))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return torch.cumsum(x, 2)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y = torch.cumsum(x, 2)
        return y, {"sum": y[:, :, -1]}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        total = state["sum"] + x if state else x
        return total, {"sum": total}
