"""Readouts with a hidden layer: what may stand between a graph and the task's answer in place of an affine map."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.kernels.linear import linear
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
    normal,
    op,
    param,
    setting,
    uniform,
)
from archsearch.ops.rules import vector

__all__ = ["NEURONS", "RandomReadout", "ReluReadout"]

NEURONS = 1024
"""Hidden units of both, unless said otherwise."""


@dataclass(frozen=True)
class _Readout(Op):
    """What the two share: a hidden layer of `neurons` units between the input and `width` features."""

    width: int | None = setting(None, low=1, help="features of the output; those of the input if not said")
    neurons: int = setting(NEURONS, low=1, help="units of the hidden layer")

    def infer(self, x: ValueType) -> ValueType:
        return ValueType((self.width or x.width,), vector(self.name, "x", x).rate)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * self.neurons * (x.width + (self.width or x.width)) + self.neurons)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), state


@op(family="perceptron", equation="y = W₂ relu(W₁ x + b₁) + b₂")
@dataclass(frozen=True)
class ReluReadout(_Readout):
    """Perceptron with one hidden layer of relu units to any width: the network that `fit: convex` solves for."""

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n, out = self.neurons, self.width or x.width
        return (
            param("up", (n, x.width), kaiming_uniform(x.width)),
            param("up_bias", (n,), constant(0.0), decay=False),
            param("down", (out, n), kaiming_uniform(n)),
            param("down_bias", (out,), constant(0.0), decay=False),
        )

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return linear(torch.relu(linear(x, w["up"], w["up_bias"])), w["down"], w["down_bias"])


@op(
    family="random",
    equation="y = W √2 cos(U x + p) + b, U ~ N(0, scale²/D) and p ~ U(0, 2π) drawn and left so",
    paper="Rahimi and Recht 2007",
)
@dataclass(frozen=True)
class RandomReadout(_Readout):
    """Affine map of random cosine features to any width: kernel regression with a Gaussian kernel, approximately."""

    scale: float = setting(1.0, low=1e-6, help="how much the projections of an input with features of size 1 vary")

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n, out = self.neurons, self.width or x.width
        return (
            param("projection", (n, x.width), normal(self.scale / math.sqrt(x.width)), trained=False),
            param("phase", (n,), uniform(0.0, 2 * math.pi), trained=False),
            param("weight", (out, n), kaiming_uniform(n)),
            param("bias", (out,), constant(0.0), decay=False),
        )

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return linear(cosines(x, w["projection"], w["phase"]), w["weight"], w["bias"])


def cosines(x: Tensor, projection: Tensor, phase: Tensor) -> Tensor:
    """Random features `(E, ..., N)` of `(E, ..., D)`."""
    return math.sqrt(2) * torch.cos(linear(x, projection, phase))
