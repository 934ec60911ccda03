"""Primitives of cells on the features of one step: scales, constants, softmax, sums and the unit norm."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.ops import base
from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weight, Weights, op, param, setting
from archsearch.ops.plumbing import Activation
from archsearch.ops.rules import divides, vector

__all__ = ["Constant", "Exp", "Neg", "Norm", "Offset", "Scale", "Softmax", "Sum"]


@op(family="plumbing", linearity="elementwise", equation="y = −x")
@dataclass(frozen=True)
class Neg(Activation):
    """The negative of its input."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return -x


@op(family="plumbing", equation="y = exp(x)")
@dataclass(frozen=True)
class Exp(Activation):
    """Exponential function."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return torch.exp(x)


class _Stateless(Op):
    """What treats every step alike, with weights or without."""

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), state


@op(family="plumbing", linearity="elementwise", equation="y = a ⊙ x")
@dataclass(frozen=True)
class Scale(_Stateless):
    """A constant times the input, or a learned factor for every feature."""

    by: float = setting(1.0, help="the factor a; its initial value where it is learned")
    learned: bool = setting(False, help="whether each feature has a trained factor of its own")

    def infer(self, x: ValueType) -> ValueType:
        return x

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        return (param("factor", x.shape, base.constant(self.by), decay=False),) if self.learned else ()

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size)

    def is_identity(self, x: ValueType) -> bool:
        return self.by == 1.0 and not self.learned

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x * _beside(w["factor"], x) if self.learned else x * self.by


@op(family="plumbing", linearity="elementwise", equation="y = x + b")
@dataclass(frozen=True)
class Offset(_Stateless):
    """The input and a constant, or a learned bias for every feature."""

    by: float = setting(0.0, help="the offset b; its initial value where it is learned")
    learned: bool = setting(False, help="whether each feature has a trained offset of its own")

    def infer(self, x: ValueType) -> ValueType:
        return x

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        return (param("offset", x.shape, base.constant(self.by), decay=False),) if self.learned else ()

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size)

    def is_identity(self, x: ValueType) -> bool:
        return self.by == 0.0 and not self.learned

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x + _beside(w["offset"], x) if self.learned else x + self.by


@op(family="plumbing", linearity="mixing", equation="y = b, whatever x is")
@dataclass(frozen=True)
class Constant(_Stateless):
    """The same value at every step, fixed or learned; of its input it takes only the shape."""

    value: float = setting(0.0, help="the value b; its initial value where it is learned")
    learned: bool = setting(False, help="whether each feature has a trained value of its own")
    width: int | None = setting(None, low=1, help="features of the output; those of the input if not said")

    def infer(self, x: ValueType) -> ValueType:
        return x if self.width is None else ValueType((*x.shape[:-1], self.width), x.rate)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        shape = self.infer(x).shape
        return (param("value", shape, base.constant(self.value), decay=False),) if self.learned else ()

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        shape = x.shape if self.width is None else (*x.shape[:-1], self.width)
        if self.learned:
            return _beside(w["value"], x).expand(shape)
        return x.new_full((), self.value).expand(shape)


def _beside(weight: Tensor, x: Tensor) -> Tensor:
    """`(E, 1, ..., *shape)`: a weight that goes with every example and step of x."""
    gap = x.ndim - weight.ndim
    return weight.view(weight.shape[0], *[1] * gap, *weight.shape[1:])


class _Grouped(_Stateless):
    """What looks at the last feature axis, whole or in equal groups."""

    heads: int

    def infer(self, x: ValueType) -> ValueType:
        divides("heads", self.heads, x.width)
        return x

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=4 * x.size)

    def _groups(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(-1, (self.heads, -1))
        return out


@op(family="plumbing", equation="y_i = exp(x_i) / Σ_j exp(x_j)")
@dataclass(frozen=True)
class Softmax(_Grouped):
    """Positive features that sum to one, along the last axis."""

    heads: int = setting(1, low=1, help="groups of features, each of which sums to one")

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return torch.softmax(self._groups(x), -1).flatten(-2)


@op(family="norm", equation="y = x / √(Σ x² + eps)")
@dataclass(frozen=True)
class Norm(_Grouped):
    """Length one along the last axis, as keys of fast weights have."""

    heads: int = setting(1, low=1, help="groups of features, each of which gets length one")
    eps: float = setting(1e-6, low=1e-12, help="added to the sum of squares")

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        g = self._groups(x)
        return (g * torch.rsqrt(g.square().sum(-1, keepdim=True) + self.eps)).flatten(-2)


@op(family="plumbing", linearity="mixing", equation="y_h = Σ_i x_{h,i}")
@dataclass(frozen=True)
class Sum(_Grouped):
    """Sum over the features of a vector, or over those of each group."""

    heads: int = setting(1, low=1, help="groups of features; the output has one feature for each")

    def infer(self, x: ValueType) -> ValueType:
        divides("heads", self.heads, vector(self.name, "x", x).width)
        return ValueType((self.heads,), x.rate)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return self._groups(x).sum(-1)
