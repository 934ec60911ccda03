"""Convolutions along time, one filter a feature: short ones, and ones as long as the sequence.

E copies, B batch, T time, D width, L taps of a filter, H hidden width and K frequencies of the network that gives one.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.kernels.fft_conv import causal_convolution
from archsearch.kernels.linear import linear
from archsearch.kernels.precision import exact, single
from archsearch.kernels.short_conv import short_convolution, short_convolution_step
from archsearch.ops.base import (
    Context,
    Cost,
    Initializer,
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
)
from archsearch.ops.rules import vector

__all__ = ["ImplicitConv", "LongConvCore", "ShortConv"]


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


class _Filtered(Op):
    """What long convolutions share: `y_t = Σ_s k_{t−s} x_s + d ⊙ x_t`, the taps k given by `taps`.

    All steps at once by the fast Fourier transform; a step as one product with the inputs before it, which are the
    state.
    """

    def taps(self, w: Weights, time: int) -> Tensor:
        """The first `time` taps, or all if there are fewer: `(E, D, L)`."""
        raise NotImplementedError

    def reach(self, time: int) -> int:
        """How many of `time` inputs the next step still reads."""
        return time

    def infer(self, x: ValueType) -> ValueType:
        return vector(self.name, "x", x)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """Two transforms of 2T real points, their product, the skip; not the filter, which serves a whole batch.

        That is a token's share of all steps at once; a step alone takes a product with every input it still reads.
        """
        levels = math.log2(2 * time)
        state_bytes = 4 * x.width * self.reach(time)
        return Cost(flops=x.width * (10 * levels + 8), state_bytes=state_bytes, span=math.ceil(levels))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        with exact(x.device):
            x = single(x)
            y = causal_convolution(x, self.taps(w, x.shape[2]))
            return torch.addcmul(y, x, w["skip"][:, None, None])

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), {"past": self._kept(x.transpose(2, 3))}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is `past`, the inputs that are still read, `(E, B, D, T)`, oldest first."""
        now = x.unsqueeze(-1)
        seen = torch.cat([state["past"], now], -1) if state else now
        y = (seen * self.taps(w, seen.shape[-1]).flip(-1).unsqueeze(1)).sum(-1)
        return torch.addcmul(y, x, w["skip"].unsqueeze(1)), {"past": self._kept(seen)}

    def _kept(self, seen: Tensor) -> Tensor:
        time = seen.shape[-1]
        return seen[..., time - self.reach(time) :]


def _decaying(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Noise under exponentials of rates from 1 to D/2 over the whole filter, each filter of energy 1 on average."""
    width, length = shape
    rate = (width / 2) ** (torch.arange(width) / width).unsqueeze(1)
    window = torch.exp(-rate * torch.arange(length) / length)
    noise = torch.empty(shape).normal_(generator=generator)
    return noise * window / window.square().sum(1, keepdim=True).sqrt()


@op(
    family="convolution",
    mixes_time=True,
    equation="y_t = Σ_{j<L} squash(k_j) ⊙ x_{t−j} + d ⊙ x_t; squash(k) = sign(k) max(|k| − λ, 0)",
    paper="Fu et al. 2023, arXiv:2302.06646, section 3",
)
@dataclass(frozen=True)
class LongConvCore(_Filtered):
    """Causal convolution of each feature with a long filter whose taps are trained, small ones squashed to zero."""

    length: int = setting(256, low=1, help="L, the taps of a filter: how many steps back a step can see")
    squash: float = setting(0.003, low=0.0, help="λ, by which every tap is brought nearer to zero")

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        noise = Initializer("N(0, 1) under an exponential window, of energy 1", _decaying)
        return (
            param("filter", (x.width, self.length), noise, decay=False),
            param("skip", (x.width,), normal(1.0), decay=False),
        )

    def reach(self, time: int) -> int:
        return min(time, self.length - 1)

    def taps(self, w: Weights, time: int) -> Tensor:
        return torch.nn.functional.softshrink(w["filter"][..., :time], self.squash)


_FASTEST, _SLOWEST = math.log(100) / 0.3, math.log(100) / 1.5
"""Windows fall to a hundredth within 0.3 to 1.5 of the length."""


@op(
    family="convolution",
    mixes_time=True,
    equation="y_t = Σ_{s≤t} k(t − s) ⊙ x_s + d ⊙ x_t; k(s) = exp(−α s/L) ⊙ W sin(ω W sin(ω W sin(ω W p(s/L))))",
    paper="Poli et al. 2023, arXiv:2302.10866, section 3.3 and appendix D",
)
@dataclass(frozen=True)
class ImplicitConv(_Filtered):
    """Causal convolution with filters as long as the sequence, given by a sine network of the distance (Hyena).

    The network reads p(u) = (u, cos 2πku, −sin 2πku for k = 0 … K − 1). Distances beyond the length go on under the
    same window, so that no sequence is too long. A step of decoding forms the filter again for all distances so far and
    reads all inputs so far: O(t) time a token after t of them, where all steps at once take O(log T) each.
    """

    length: int = setting(256, low=1, help="L, the steps over which the windows fall and the positions go round once")
    hidden: int = setting(64, low=1, help="H, the hidden width of the network")
    bands: int = setting(16, low=1, help="K, the frequencies of a position")
    frequency: float = setting(14.0, low=0.0, help="ω at the start; it is trained, one for each hidden unit")

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n = self.hidden
        sizes = (2 * self.bands + 1, n, n)
        layers = [param(f"layer{i}", (n, size), kaiming_uniform(size), decay=False) for i, size in enumerate(sizes)]
        offsets = [param(f"bias{i}", (n,), kaiming_uniform(size), decay=False) for i, size in enumerate(sizes)]
        return (
            *layers,
            *offsets,
            param("frequency", (n,), constant(self.frequency), decay=False),
            param("out", (x.width, n), kaiming_uniform(n), decay=False),
            param("skip", (x.width,), normal(1.0), decay=False),
        )

    def taps(self, w: Weights, time: int) -> Tensor:
        """In double precision: three sines of large arguments make 30 times the rounding error of single precision."""
        dtype, w = w["out"].dtype, {name: v.double() for name, v in w.items()}
        u = torch.arange(time, dtype=torch.float64, device=w["out"].device) / self.length
        h = self._positions(u).unsqueeze(0)
        for i in range(3):
            h = torch.sin(w["frequency"].unsqueeze(1) * linear(h, w[f"layer{i}"], w[f"bias{i}"]))
        alpha = torch.linspace(_SLOWEST, _FASTEST, w["out"].shape[1], dtype=u.dtype, device=u.device)
        return ((w["out"] @ h.mT) * torch.exp(-alpha.unsqueeze(1) * u)).to(dtype)

    def _positions(self, u: Tensor) -> Tensor:
        angle = 2 * math.pi * u.unsqueeze(1) * torch.arange(self.bands, dtype=u.dtype, device=u.device)
        return torch.cat([u.unsqueeze(1), torch.cos(angle), -torch.sin(angle)], 1)
