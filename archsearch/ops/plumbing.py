"""Plumbing: sums, products, joints, splits, activations and dropout. None has weights or state, none mixes time."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.ops.base import Context, Cost, Op, Port, State, ValueType, Weights, op, setting
from archsearch.ops.rules import divides, same

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Add",
    "Concat",
    "Dropout",
    "Gelu",
    "Identity",
    "Multiply",
    "OneMinus",
    "Relu",
    "Sigmoid",
    "Silu",
    "Softplus",
    "Split",
    "Subtract",
    "Tanh",
    "drop",
]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}
"""The nonlinearities by name, for ops that have one as a setting."""


def drop(x: Tensor, rate: float, ctx: Context) -> Tensor:
    """Inverted dropout, the mask of each copy from its own generator (`F.dropout` takes none).

    Raises:
        RuleError: training without one generator per copy.
    """
    if ctx.generators is None or len(ctx.generators) != x.shape[0]:
        raise RuleError("dropout in training must have one generator per copy", value=f"{ctx.generators}")
    mask = torch.empty_like(x)
    for e, generator in enumerate(ctx.generators):
        mask[e].bernoulli_(1.0 - rate, generator=generator)
    return x * mask.div_(1.0 - rate)


class _Plain(Op):
    """What has no state: one formula serves the whole sequence and a single step."""

    def apply(self, ctx: Context, *xs: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, w: Weights, *xs: Tensor, ctx: Context) -> Tensor:
        return self.apply(ctx, *xs)

    def step(self, w: Weights, state: State, *xs: Tensor, ctx: Context) -> tuple[Tensor, State]:
        return self.apply(ctx, *xs), state


class _Reduce(_Plain):
    """Any number of equal inputs to one output of their type."""

    def infer(self, *xs: ValueType) -> ValueType:
        return same(self.name, *xs)

    def cost(self, *xs: ValueType, time: int) -> Cost:
        return Cost(flops=(len(xs) - 1) * xs[0].size)

    def is_identity(self, *xs: ValueType) -> bool:
        return len(xs) == 1


@op(
    family="plumbing",
    ports=(Port("x", many=True),),
    commutative=True,
    linearity="elementwise",
    equation="y = x₁ + x₂ + …",
)
@dataclass(frozen=True)
class Add(_Reduce):
    """Sum of the inputs."""

    def apply(self, ctx: Context, x: Tensor, *rest: Tensor) -> Tensor:
        for r in rest:
            x = x + r
        return x


@op(
    family="plumbing",
    ports=(Port("x", many=True),),
    commutative=True,
    linearity="product",
    equation="y = x₁ ⊙ x₂ ⊙ …",
)
@dataclass(frozen=True)
class Multiply(_Plain):
    """Product of the inputs, feature by feature; smaller ones go with every feature of a larger one.

    All inputs are of one type but for factors: a vector of width 1 multiplies anything, and a state of matrices,
    (heads, rows, columns), may also be multiplied by a vector with one factor a head, or one a row (heads × rows).
    """

    def infer(self, x: ValueType, *rest: ValueType) -> ValueType:
        xs = (x, *rest)
        largest = max(xs, key=lambda v: (len(v.shape), v.size))
        for v in xs:
            if v.rate != x.rate or (v.shape != largest.shape and _factor(v.shape, largest.shape) is None):
                rule = "the inputs of `multiply` must be of one type, or factors: one, one a head or one a row"
                raise RuleError(rule, value=", ".join(map(str, xs)))
        return largest

    def cost(self, x: ValueType, *rest: ValueType, time: int) -> Cost:
        return Cost(flops=len(rest) * self.infer(x, *rest).size)

    def is_identity(self, *xs: ValueType) -> bool:
        return len(xs) == 1

    def forward(self, w: Weights, *xs: Tensor, ctx: Context) -> Tensor:
        return _product(xs, 3)

    def step(self, w: Weights, state: State, *xs: Tensor, ctx: Context) -> tuple[Tensor, State]:
        return _product(xs, 2), state


def _factor(shape: tuple[int, ...], of: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which a factor goes with every feature that it multiplies; `None` where it does not fit."""
    if shape == (1,):
        return (1,) * len(of)
    if len(of) != 3 or len(shape) != 1:
        return None
    heads, rows, _ = of
    return {heads: (heads, 1, 1), heads * rows: (heads, rows, 1)}.get(shape[0])


def _beside(x: Tensor, largest: tuple[int, ...], lead: int) -> Tensor:
    """`x`, or the factor that it is, with as many axes as the largest input."""
    shape = tuple(x.shape[lead:])
    return x if shape == largest else x.view(*x.shape[:lead], *(_factor(shape, largest) or ()))


def _product(xs: tuple[Tensor, ...], lead: int) -> Tensor:
    """The product of values with `lead` axes of copies, batch and time before their features."""
    fitted = list(xs)
    if any(x.shape != xs[0].shape for x in xs):
        largest = max((tuple(x.shape[lead:]) for x in xs), key=lambda s: (len(s), math.prod(s)))
        fitted = [_beside(x, largest, lead) for x in xs]
    product = fitted[0]
    for x in fitted[1:]:
        product = product * x
    return product


@op(family="plumbing", ports=("x", "y"), linearity="elementwise", equation="out = x − y")
@dataclass(frozen=True)
class Subtract(_Plain):
    """Difference of two inputs."""

    def infer(self, x: ValueType, y: ValueType) -> ValueType:
        return same(self.name, x, y)

    def cost(self, x: ValueType, y: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size)

    def apply(self, ctx: Context, x: Tensor, y: Tensor) -> Tensor:
        return x - y


@op(family="plumbing", ports=(Port("x", many=True),), linearity="mixing", equation="y = [x₁; x₂; …]")
@dataclass(frozen=True)
class Concat(_Plain):
    """The inputs side by side along the last feature axis."""

    def infer(self, *xs: ValueType) -> ValueType:
        if any(x.shape[:-1] != xs[0].shape[:-1] or x.rate != xs[0].rate for x in xs):
            raise RuleError("the inputs of `concat` must agree in all but the width", value=", ".join(map(str, xs)))
        return ValueType((*xs[0].shape[:-1], sum(x.width for x in xs)), xs[0].rate)

    def is_identity(self, *xs: ValueType) -> bool:
        return len(xs) == 1

    def apply(self, ctx: Context, *xs: Tensor) -> Tensor:
        return xs[0] if len(xs) == 1 else torch.cat(xs, -1)


@op(family="plumbing", linearity="mixing", equation="x = [y₁; y₂; …]")
@dataclass(frozen=True)
class Split(Op):
    """Parts of the last feature axis, one output each: equal `parts`, or parts of stated `sizes`."""

    parts: int | None = setting(None, low=1, help="number of equal outputs; `into: [q, k, v]` names them")
    sizes: str | None = setting(None, help='widths of the outputs instead, as "3,5"')

    def infer(self, x: ValueType) -> tuple[ValueType, ...]:
        return tuple(ValueType((*x.shape[:-1], w), x.rate) for w in self._widths(x.width))

    def _widths(self, width: int) -> list[int]:
        if (self.parts is None) == (self.sizes is None):
            said = "neither" if self.parts is None else "both"
            raise RuleError("`split` must have one of `parts` and `sizes`", value=said, setting="parts")
        if self.sizes is None:
            return [divides("parts", self.parts or 1, width)] * (self.parts or 1)
        words = [w.strip() for w in self.sizes.split(",")]
        widths = [int(w) if w.isascii() and w.isdigit() else 0 for w in words]
        if min(widths) < 1:
            rule = '`sizes` must be whole numbers above 0, as "3,5"'
            raise RuleError(rule, value=f"`{self.sizes}`", setting="sizes")
        if sum(widths) != width:
            rule = "`sizes` must add up to the width"
            raise RuleError(rule, value=f"sizes={self.sizes}, width={width}", setting="sizes")
        return widths

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, ...]:
        return torch.split(x, self._widths(x.shape[-1]), -1)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[tuple[Tensor, ...], State]:
        return self.forward(w, x, ctx=ctx), state


@op(family="plumbing", linearity="elementwise", equation="y = x")
@dataclass(frozen=True)
class Identity(_Plain):
    """Its input, unchanged."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def is_identity(self, x: ValueType) -> bool:
        return True

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return x


@op(family="plumbing", linearity="elementwise", equation="y = m ⊙ x / (1 − rate), m ~ Bernoulli(1 − rate)")
@dataclass(frozen=True)
class Dropout(_Plain):
    """Sets features to zero at random in training and scales the others up."""

    rate: float = setting(0.1, low=0.0, high=0.95, help="share of features set to zero")

    def infer(self, x: ValueType) -> ValueType:
        return x

    def is_identity(self, x: ValueType) -> bool:
        return self.rate == 0.0

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return drop(x, self.rate, ctx) if self.rate and ctx.training else x


class Activation(_Plain):
    """A function of each feature alone."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size)


@op(family="plumbing", equation="y = 1 / (1 + exp(−x))")
@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function: squashes to between 0 and 1, as gates do."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


@op(family="plumbing", equation="y = tanh(x)")
@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent: squashes to between −1 and 1."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return torch.tanh(x)


@op(family="plumbing", equation="y = max(x, 0)")
@dataclass(frozen=True)
class Relu(Activation):
    """Rectifier."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return torch.relu(x)


@op(family="plumbing", equation="y = x Φ(x)", paper="Hendrycks and Gimpel 2016, arXiv:1606.08415")
@dataclass(frozen=True)
class Gelu(Activation):
    """Gaussian error linear unit."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return F.gelu(x)


@op(family="plumbing", equation="y = x σ(x)", paper="Elfwing et al. 2017, arXiv:1702.03118")
@dataclass(frozen=True)
class Silu(Activation):
    """Sigmoid-weighted linear unit, also called swish."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return F.silu(x)


@op(family="plumbing", equation="y = log(1 + exp(x))")
@dataclass(frozen=True)
class Softplus(Activation):
    """Smooth rectifier, always positive."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return F.softplus(x)


@op(family="plumbing", linearity="elementwise", equation="y = 1 − x")
@dataclass(frozen=True)
class OneMinus(Activation):
    """One less the input, as the other half of a gate."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return 1.0 - x
