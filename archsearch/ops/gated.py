"""Gated recurrences that are linear in their state: gates that do not see it, so that all time steps run as a scan."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.gated import candidate, rg_lru_terms
from archsearch.kernels.linear import linear
from archsearch.kernels.scan import gated_scan, scan
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
)
from archsearch.ops.plumbing import Activation
from archsearch.ops.rules import divides, same, vector

__all__ = ["BlendScan", "GatedScan", "Positive", "RgLru"]


def _over_time(run: Callable[[Tensor, Tensor], Tensor], factor: Tensor, x: Tensor) -> Tensor:
    """All states from zero, `(E, B, T, *shape)` as its inputs are."""
    factor, x_ntl = (v.flatten(0, 1).flatten(2) for v in (factor, x))
    return run(factor, x_ntl).view(x.shape)


def _rounds(time: int) -> int:
    """The longest chain of dependent steps of a scan."""
    return min(time, 1 + 2 * math.ceil(math.log2(time)))


class _Scan(Op):
    """A state that is the output, and one port that says what stays of it."""

    def infer(self, x: ValueType, factor: ValueType) -> ValueType:
        return same(self.name, x, factor)

    def states(self, factor: Tensor, x: Tensor) -> Tensor:
        """Of all time steps, `(N, T, L)`."""
        raise NotImplementedError

    def next(self, factor: Tensor, x: Tensor, h: Tensor) -> Tensor:
        """The state after one step."""
        raise NotImplementedError

    def forward(self, w: Weights, x: Tensor, factor: Tensor, *, ctx: Context) -> Tensor:
        return _over_time(self.states, factor, x)

    def prefill(self, w: Weights, x: Tensor, factor: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y = self.forward(w, x, factor, ctx=ctx)
        return y, {"h": y[:, :, -1]}

    def step(self, w: Weights, state: State, x: Tensor, factor: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        h = self.next(factor, x, state["h"] if state else torch.zeros_like(x))
        return h, {"h": h}


@op(
    family="recurrence",
    ports=(Port("x", help="what enters the state"), Port("a", help="the share of each feature's state that stays")),
    mixes_time=True,
    equation="h_t = a_t ⊙ h_{t−1} + x_t",
    paper="Martin and Cundy 2018, arXiv:1709.04057",
)
@dataclass(frozen=True)
class GatedScan(_Scan):
    """Linear recurrence of each feature by itself, with decays that are given; any number will do for one."""

    def cost(self, x: ValueType, factor: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * x.size, state_bytes=4 * x.size, span=_rounds(time))

    def states(self, factor: Tensor, x: Tensor) -> Tensor:
        return scan(factor, x)

    def next(self, factor: Tensor, x: Tensor, h: Tensor) -> Tensor:
        return torch.addcmul(x, factor, h)


@op(
    family="recurrence",
    ports=(
        Port("x", help="what enters the state"),
        Port("z", help="the share of each feature's state that it replaces"),
    ),
    mixes_time=True,
    equation="h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ x_t",
    paper="Feng et al. 2024, arXiv:2410.01201",
)
@dataclass(frozen=True)
class BlendScan(_Scan):
    """Moving average of each feature, with gates that are given."""

    def cost(self, x: ValueType, factor: ValueType, *, time: int) -> Cost:
        return Cost(flops=3 * x.size, state_bytes=4 * x.size, span=_rounds(time))

    def states(self, factor: Tensor, x: Tensor) -> Tensor:
        return gated_scan(factor, x)

    def next(self, factor: Tensor, x: Tensor, h: Tensor) -> Tensor:
        return torch.lerp(h, x, factor)


@op(
    family="plumbing",
    equation="y = x + ½ where x ≥ 0, else 1 / (1 + exp(−x))",
    paper="Feng et al. 2024, arXiv:2410.01201, appendix B.3",
)
@dataclass(frozen=True)
class Positive(Activation):
    """Rectifier that is positive everywhere, what minGRU and minLSTM put in their states."""

    def apply(self, ctx: Context, x: Tensor) -> Tensor:
        return candidate(x)


def _decays(low: float, high: float) -> Initializer:
    """`Λ` such that the slowest decay of a step, `σ(Λ)^c`, is uniform."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        slowest = torch.empty(shape, dtype=torch.float64).uniform_(low, high, generator=generator)
        return torch.logit(slowest ** (1.0 / RgLru.POWER)).float()

    return Initializer(f"so that σ(Λ)^c ~ U({low:g}, {high:g})", draw)


@op(
    family="recurrence",
    mixes_time=True,
    equation="r, i = σ(W x + b), block-diagonal; a = σ(Λ)^(c r); h_t = a_t ⊙ h_{t−1} + √(1 − a_t²) ⊙ i_t ⊙ x_t",
    paper="De et al. 2024, arXiv:2402.19427, eq. 1–4",
)
@dataclass(frozen=True)
class RgLru(Op):
    """Real-gated linear recurrent unit."""

    heads: int = setting(4, low=1, help="blocks of the width, each with gates of its own")

    POWER = 8.0  # c

    def infer(self, x: ValueType) -> ValueType:
        divides("heads", self.heads, vector(self.name, "x", x).width)
        return x

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        part = divides("heads", self.heads, x.width)
        return (
            param("gates", (self.heads, 2 * part, part), kaiming_uniform(part)),
            param("gates_bias", (self.heads, 2 * part), constant(0.0), decay=False),
            param("decay", (x.width,), _decays(0.9, 0.999), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """The gates, and 16 operations a feature: two sigmoids, the decay, the normalisation, the recurrence."""
        n = x.width
        return Cost(flops=4 * n * (n // self.heads) + 16 * n, state_bytes=4 * n, span=_rounds(time))

    def _terms(self, w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
        """The decays and the inputs of the recurrence."""
        gates, bias = w["gates"].flatten(0, 1), w["gates_bias"].flatten(0, 1)
        x_heads = torch.stack(x.unflatten(-1, (self.heads, -1)).unbind(-2), 1)  # (E, H, ..., C)
        y = linear(x_heads.flatten(0, 1), gates, bias).unflatten(0, x_heads.shape[:2])
        r, i = (torch.cat(part.unbind(1), -1) for part in y.chunk(2, -1))
        rate = RgLru.POWER * F.softplus(-w["decay"])
        return rg_lru_terms(r, i, x, rate.view(rate.shape[0], *[1] * (x.ndim - 2), -1))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return _over_time(scan, *self._terms(w, x))

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y = self.forward(w, x, ctx=ctx)
        return y, {"h": y[:, :, -1]}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        decay = w["decay"]
        return {"h": decay.new_zeros(decay.shape[0], batch, decay.shape[1])}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        a, b = self._terms(w, x)
        h = torch.addcmul(b, a, state["h"])
        return h, {"h": h}
