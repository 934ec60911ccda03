"""Plumbing: sums, products, joints, splits, activations and dropout. None has weights or state, none mixes time."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

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


@op(family="plumbing", ports=(Port("x", many=True),), commutative=True, equation="y = x₁ + x₂ + …")
@dataclass(frozen=True)
class Add(_Reduce):
    """Sum of the inputs."""

    def apply(self, ctx: Context, x: Tensor, *rest: Tensor) -> Tensor:
        for r in rest:
            x = x + r
        return x


@op(family="plumbing", ports=(Port("x", many=True),), commutative=True, equation="y = x₁ ⊙ x₂ ⊙ …")
@dataclass(frozen=True)
class Multiply(_Reduce):
    """Product of the inputs, feature by feature."""

    def apply(self, ctx: Context, x: Tensor, *rest: Tensor) -> Tensor:
        for r in rest:
            x = x * r
        return x


@op(family="plumbing", ports=("x", "y"), equation="out = x − y")
@dataclass(frozen=True)
class Subtract(_Plain):
    """Difference of two inputs."""

    def infer(self, x: ValueType, y: ValueType) -> ValueType:
        return same(self.name, x, y)

    def cost(self, x: ValueType, y: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.size)

    def apply(self, ctx: Context, x: Tensor, y: Tensor) -> Tensor:
        return x - y


@op(family="plumbing", ports=(Port("x", many=True),), equation="y = [x₁; x₂; …]")
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


@op(family="plumbing", equation="x = [y₁; y₂; …]")
@dataclass(frozen=True)
class Split(Op):
    """Equal parts of the last feature axis, one output each."""

    parts: int = setting(required=True, low=1, help="number of outputs; `into: [q, k, v]` names them")

    def infer(self, x: ValueType) -> tuple[ValueType, ...]:
        part = ValueType((*x.shape[:-1], divides("parts", self.parts, x.width)), x.rate)
        return (part,) * self.parts

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, ...]:
        return x.chunk(self.parts, -1)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[tuple[Tensor, ...], State]:
        return x.chunk(self.parts, -1), state


@op(family="plumbing", equation="y = x")
@dataclass(frozen=True)
class Identity(_Plain):
    """Its input, unchanged."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def is_identity(self, x: ValueType) -> bool:
        return True

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return x


@op(family="plumbing", equation="y = m ⊙ x / (1 − rate), m ~ Bernoulli(1 − rate)")
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


@op(family="plumbing", equation="y = 1 − x")
@dataclass(frozen=True)
class OneMinus(Activation):
    """One less the input, as the other half of a gate."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return 1.0 - x
