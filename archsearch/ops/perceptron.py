"""Perceptrons: what turns the features of one time step into other features."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

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
    op,
    param,
    setting,
)
from archsearch.ops.plumbing import ACTIVATIONS, Activation, drop

__all__ = ["Activate", "Linear", "Mlp"]


@op(family="perceptron", linearity="mixing", equation="y = W x + b")
@dataclass(frozen=True)
class Linear(Op):
    """Affine map of the last feature axis."""

    width: int | None = setting(None, low=1, help="features of the output; those of the input if not said")
    bias: bool = setting(True, help="whether b is there")

    def infer(self, x: ValueType) -> ValueType:
        return ValueType((*x.shape[:-1], self.width or x.width), x.rate)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        out = self.width or x.width
        weight = param("weight", (out, x.width), kaiming_uniform(x.width))
        bias = param("bias", (out,), constant(0.0), decay=False)
        return (weight, bias) if self.bias else (weight,)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * x.size * (self.width or x.width))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return linear(x, w["weight"], w["bias"] if self.bias else None)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), state


@op(family="perceptron", equation="y = W₂ f(W₁ x + b₁) + b₂")
@dataclass(frozen=True)
class Mlp(Op):
    """Perceptron with one hidden layer that keeps the width."""

    expand: float = setting(4.0, low=0.01, help="hidden width as a multiple of the width, rounded, at least 1")
    activation: str = setting("gelu", options=tuple(ACTIVATIONS), help="the nonlinearity f")
    dropout: float = setting(0.0, low=0.0, high=0.95, help="share of hidden features set to zero in training")

    def infer(self, x: ValueType) -> ValueType:
        return x

    def hidden(self, x: ValueType) -> int:
        """Features of the hidden layer."""
        return max(1, round(self.expand * x.width))

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n = self.hidden(x)
        return (
            param("up", (n, x.width), kaiming_uniform(x.width)),
            param("up_bias", (n,), constant(0.0), decay=False),
            param("down", (x.width, n), kaiming_uniform(n)),
            param("down_bias", (x.width,), constant(0.0), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        n = self.hidden(x) * x.size // x.width
        return Cost(flops=4 * x.width * n + n)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        h = ACTIVATIONS[self.activation](linear(x, w["up"], w["up_bias"]))
        if self.dropout and ctx.training:
            h = drop(h, self.dropout, ctx)
        return linear(h, w["down"], w["down_bias"])

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), state


@op(family="perceptron", equation="y = f(x)")
@dataclass(frozen=True)
class Activate(Activation):
    """A nonlinearity chosen by a setting, for definitions that have it as a parameter."""

    kind: str = setting("silu", options=tuple(ACTIVATIONS), help="the nonlinearity f")

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.kind](x)
