"""What blocks of fast weights do head by head: norms, block-diagonal maps, factors, rotations and decays."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.rotary import rotate
from archsearch.ops.base import (
    Context,
    Cost,
    Initializer,
    Op,
    Port,
    State,
    ValueType,
    Weight,
    Weights,
    constant,
    kaiming_uniform,
    op,
    param,
    setting,
    uniform,
)
from archsearch.ops.rules import divides, vector

__all__ = ["BlockLinear", "DecayGate", "HeadDecays", "HeadNorm", "Rotary", "ScaleHeads", "SpreadOffset"]


class _Stateless(Op):
    """What treats every step alike, with weights or without."""

    def step(self, w: Weights, state: State, *xs: Tensor, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, *xs, ctx=ctx), state


def _beside(weight: Tensor, x: Tensor) -> Tensor:
    """`(E, 1, ..., D)` for `(E, D)`: a weight that goes with every example and step of x."""
    return weight.view(weight.shape[0], *[1] * (x.ndim - 2), weight.shape[1])


@op(
    family="norm",
    equation="y = g ⊙ (x − mean(x)) / √(var(x) + eps) + b in each head; without `center` y = g ⊙ x / √(mean(x²) + eps)",
    paper="Wu and He 2018, arXiv:1803.08494; Sun et al. 2023, arXiv:2307.08621",
)
@dataclass(frozen=True)
class HeadNorm(_Stateless):
    """Norm of each head by itself, a scale for every feature: group norm, or root-mean-square norm."""

    heads: int = setting(4, low=1, help="parts of the width that are normalised by themselves")
    center: bool = setting(False, help="whether the mean is taken off, and a bias added")
    eps: float = setting(1e-5, low=1e-12, help="added to the variance or the mean square")

    def infer(self, x: ValueType) -> ValueType:
        divides("heads", self.heads, vector(self.name, "x", x).width)
        return x

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        scale = param("weight", (x.width,), constant(1.0), decay=False)
        return (scale, param("bias", (x.width,), constant(0.0), decay=False)) if self.center else (scale,)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=(7 if self.center else 4) * x.width)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        parts = x.unflatten(-1, (self.heads, -1))
        if self.center:
            y: Tensor = F.layer_norm(parts, parts.shape[-1:], eps=self.eps).flatten(-2)
            return torch.addcmul(_beside(w["bias"], y), y, _beside(w["weight"], y))
        y = (parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + self.eps)).flatten(-2)
        return y * _beside(w["weight"], y)


@op(family="perceptron", linearity="mixing", equation="y = W x + b, W block-diagonal")
@dataclass(frozen=True)
class BlockLinear(_Stateless):
    """Affine map of each part of the features by itself, the width kept."""

    blocks: int = setting(4, low=1, help="parts of the width, each with a matrix of its own")
    bias: bool = setting(True, help="whether b is there")

    def infer(self, x: ValueType) -> ValueType:
        divides("blocks", self.blocks, vector(self.name, "x", x).width)
        return x

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        part = divides("blocks", self.blocks, x.width)
        weight = param("weight", (self.blocks, part, part), kaiming_uniform(part))
        return (weight, param("bias", (x.width,), constant(0.0), decay=False)) if self.bias else (weight,)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * x.width * x.width // self.blocks)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        parts = x.unflatten(-1, (self.blocks, -1))
        y = torch.einsum("e...gi,egoi->e...go", parts, w["weight"]).flatten(-2)
        return y + _beside(w["bias"], y) if self.bias else y


@op(
    family="plumbing",
    ports=(Port("x", help="heads × features"), Port("by", help="one factor a head")),
    linearity="bilinear",
    equation="y_h = f_h x_h",
)
@dataclass(frozen=True)
class ScaleHeads(_Stateless):
    """All features of a head times one factor; as many heads as `by` has features."""

    def infer(self, x: ValueType, by: ValueType) -> ValueType:
        heads = vector(self.name, "by", by).width
        if vector(self.name, "x", x).width % heads or x.rate != by.rate:
            rule = "`by` of `scale_heads` must have one feature a head, a part of the width of `x`, and its rate"
            raise RuleError(rule, value=f"{x}, {by}")
        return x

    def cost(self, x: ValueType, by: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.width)

    def forward(self, w: Weights, x: Tensor, by: Tensor, *, ctx: Context) -> Tensor:
        y: Tensor = (x.unflatten(-1, (by.shape[-1], -1)) * by.unsqueeze(-1)).flatten(-2)
        return y


@op(
    family="plumbing",
    mixes_time=True,
    equation="pair j of the features of a head turns by t · 10000^(−2j/R)",
    paper="Su et al. 2021, arXiv:2104.09864",
)
@dataclass(frozen=True)
class Rotary(Op):
    """Rotary positions: pairs of features turn with their step, so that products see how far two steps are apart."""

    heads: int = setting(4, low=1, help="parts of the width that turn alike, of an even number of features")

    def infer(self, x: ValueType) -> ValueType:
        part = divides("heads", self.heads, vector(self.name, "x", x).width)
        if part % 2:
            value = f"heads={self.heads}, width={x.width}, so {part} features"
            raise RuleError("a head of `rotary` must have an even number of features", value=value, setting="heads")
        return x

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=3 * x.width)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return self._turned(x, 0)

    def _turned(self, x: Tensor, position: int) -> Tensor:
        return rotate(x.flatten(0, 1).unflatten(2, (self.heads, -1)), position).view(x.shape)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self._turned(x, 0), {"seen": x.new_zeros(*x.shape[:3], 0)}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        # Steps are counted by a shape, since to read a number off a device would make every step wait for it.
        position = state["seen"].shape[2] if state else 0
        turned = self._turned(x.unsqueeze(2), position).squeeze(2)
        return turned, {"seen": x.new_zeros(*x.shape[:2], position + 1, 0)}


@op(
    family="fast_weight",
    linearity="mixing",
    equation="y_h = log(1 − 2^(−5−h)), whatever x is",
    paper="Sun et al. 2023, arXiv:2307.08621, equation 8",
)
@dataclass(frozen=True)
class HeadDecays(_Stateless):
    """The fixed decays of retention as logarithms, one a head, each of half the forgetting of the one before."""

    heads: int = setting(4, low=1, help="heads")
    first: float = setting(5.0, low=1e-3, help="the first head forgets 2^−first of its state a step")

    def infer(self, x: ValueType) -> ValueType:
        return ValueType((self.heads,), vector(self.name, "x", x).rate)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        lost = torch.exp2(-self.first - torch.arange(self.heads, dtype=torch.float64, device=x.device))
        lead = x.shape[: x.ndim - 1]
        return torch.log1p(-lost).to(x.dtype).expand(*lead, self.heads)


def _log_uniform(low: float, high: float) -> Initializer:
    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=generator).log()

    return Initializer(f"log U({low:g}, {high:g})", draw)


def _steps(low: float, high: float) -> Initializer:
    """What softplus makes log-uniform steps of."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        dt = torch.empty(shape).uniform_(math.log(low), math.log(high), generator=generator).exp()
        return dt + torch.log(-torch.expm1(-dt))

    return Initializer(f"softplus⁻¹ of log-uniform ({low:g}, {high:g})", draw)


@op(
    family="fast_weight",
    equation="y = −exp(a) softplus(x + b)",
    paper="Dao and Gu 2024, arXiv:2405.21060; Yang et al. 2024, arXiv:2412.06464",
)
@dataclass(frozen=True)
class DecayGate(_Stateless):
    """Logarithm of a decay by steps that depend on the input, as in Mamba-2 and gated DeltaNet, feature by feature."""

    def infer(self, x: ValueType) -> ValueType:
        return vector(self.name, "x", x)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        return (
            param("log_rate", (x.width,), _log_uniform(1.0, 16.0), decay=False),
            param("step", (x.width,), _steps(1e-3, 1e-1), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=4 * x.width)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return -_beside(w["log_rate"], x).exp() * F.softplus(x + _beside(w["step"], x))


@op(family="plumbing", linearity="elementwise", equation="y = x + b, b at first uniform from low to high")
@dataclass(frozen=True)
class SpreadOffset(_Stateless):
    """A learned offset for each feature that starts spread out, as gates do that forget at different speeds."""

    low: float = setting(-5.5, help="the least initial b")
    high: float = setting(0.5, help="the largest initial b")

    def infer(self, x: ValueType) -> ValueType:
        return vector(self.name, "x", x)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        return (param("offset", (x.width,), uniform(self.low, self.high), decay=False),)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.width)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x + _beside(w["offset"], x)
