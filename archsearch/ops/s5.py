"""The core of S5: one state-space model for all features together, diagonal and complex."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.linear import linear
from archsearch.kernels.modes import CHUNK, run_modes
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
    normal,
    op,
    param,
    setting,
    uniform,
)
from archsearch.ops.rules import vector

__all__ = ["S5Core"]

_SLOW = 0.1  # eigenvalues, step sizes and input learn at a fraction of the rate, as S5 trains them


@lru_cache(maxsize=32)
def hippo(size: int) -> tuple[Tensor, Tensor]:
    """The eigenvalues above the real axis and their eigenvectors of HiPPO-N, the normal part of HiPPO-LegS.

    Its symmetric part is −½, so that it is −½ and a skew-symmetric matrix: `i` times a Hermitian one.

    Args:
        size: rows of the matrix, an even number.

    Returns:
        Imaginary parts `(size/2,)`, ascending, and the columns `(size, size/2)`, in double precision.
    """
    root = torch.sqrt(torch.arange(size, dtype=torch.float64) + 0.5)
    outer = torch.outer(root, root)
    skew = outer.triu(1) - outer.tril(-1)
    imaginary, vectors = torch.linalg.eigh(torch.complex(torch.zeros_like(skew), -skew))
    return imaginary[size // 2 :], vectors[:, size // 2 :]


def _frequencies(blocks: int) -> Initializer:
    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        return hippo(2 * shape[0] // blocks)[0].repeat(blocks).float()

    return Initializer("the imaginary eigenvalues of HiPPO-N", draw)


def _into(blocks: int) -> Initializer:
    """`Vᴴ B` of a real B, `(state, width, 2)`: block j of the modes sees block j of B."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        size = 2 * shape[0] // blocks
        real = torch.empty(blocks, size, shape[1]).normal_(0.0, shape[1] ** -0.5, generator=generator)
        turned = hippo(size)[1].mH @ real.to(torch.complex128)
        return torch.view_as_real(turned.flatten(0, 1)).float()

    return Initializer("Vᴴ B, B ~ N(0, 1/width), V the eigenvectors of HiPPO-N", draw)


def _out_of(blocks: int) -> Initializer:
    """`C V` of a real C, `(width, state, 2)`."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        size = 2 * shape[1] // blocks
        real = torch.empty(shape[0], blocks, size).normal_(0.0, (2 * shape[1]) ** -0.5, generator=generator)
        turned = real.to(torch.complex128) @ hippo(size)[1]
        return torch.view_as_real(turned.flatten(1, 2)).float()

    return Initializer("C V, C ~ N(0, 1/(2 state)), V the eigenvectors of HiPPO-N", draw)


@op(
    family="state_space",
    mixes_time=True,
    equation="h_t = exp(Δ Λ) h_{t−1} + Λ⁻¹ (exp(Δ Λ) − 1) B x_t; y_t = 2 Re(C h_t) + d ⊙ x_t, Λ diagonal and complex",
    paper="Smith et al. 2022, arXiv:2208.04933",
)
@dataclass(frozen=True)
class S5Core(Op):
    """State-space model that all features enter and leave together, started at HiPPO-N."""

    state: int = setting(32, low=1, help="complex modes of all features, each standing for a conjugate pair")
    blocks: int = setting(1, low=1, help="HiPPO matrices that the modes start from; divides `state`")

    def infer(self, x: ValueType) -> ValueType:
        if self.state % self.blocks:
            raise RuleError("`blocks` must divide `state`", value=f"{self.blocks}, {self.state}", setting="blocks")
        return vector(self.name, "x", x)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n = self.state
        return (
            param("log_dt", (n,), uniform(math.log(1e-3), math.log(1e-1)), lr_mult=_SLOW, decay=False),
            param("log_rate", (n,), constant(math.log(0.5)), lr_mult=_SLOW, decay=False),
            param("frequency", (n,), _frequencies(self.blocks), lr_mult=_SLOW, decay=False),
            param("b", (n, x.width, 2), _into(self.blocks), lr_mult=_SLOW, decay=False),
            param("c", (x.width, n, 2), _out_of(self.blocks)),
            param("skip", (x.width,), normal(1.0), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """Into the modes and out of them; the products of a chunk, `2C × 2C` for C steps of a mode."""
        length = min(CHUNK, time)
        levels = max(1, math.ceil(math.log(time, CHUNK)))
        flops = 8 * x.width * self.state + 8 * (length + 1) * self.state + 2 * x.width
        return Cost(flops=flops, state_bytes=8 * self.state, span=min(time, 2 * levels))

    def _states(self, w: Weights, x: Tensor) -> Tensor:
        """`(E, B, T, 2 N)`: after each step, real and imaginary part of a mode beside each other."""
        log_decay, angle = _exponents(w)
        e, b, t, _ = x.shape
        u = linear(x, _input(w, log_decay, angle)).view(e, b, t, self.state, 2)
        h = run_modes(log_decay, angle, u.permute(0, 3, 1, 2, 4))
        return h.permute(0, 2, 3, 1, 4).flatten(3)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return _read(w, self._states(w, x), x)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        h = self._states(w, x)
        return _read(w, h, x), {"h": h[:, :, -1]}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        b = w["b"]
        return {"h": b.new_zeros(b.shape[0], batch, 2 * self.state)}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; `h` is `(E, B, 2 N)`."""
        log_decay, angle = _exponents(w)
        size = torch.exp(log_decay)
        a_r, a_i = ((size * f(angle)).to(x.dtype).unsqueeze(1) for f in (torch.cos, torch.sin))
        h_r, h_i = state["h"].unflatten(2, (-1, 2)).unbind(-1)
        turned = torch.stack([a_r * h_r - a_i * h_i, a_r * h_i + a_i * h_r], -1).flatten(2)
        h = turned + linear(x, _input(w, log_decay, angle))
        return _read(w, h, x), {"h": h}


def _exponents(w: Weights) -> tuple[Tensor, Tensor]:
    """`Δ Λ` as logarithm of the decay and angle, `(E, N)` each, in double precision."""
    dt = w["log_dt"].double().exp()
    return -w["log_rate"].double().exp() * dt, w["frequency"].double() * dt


def _input(w: Weights, log_decay: Tensor, angle: Tensor) -> Tensor:
    """`Λ⁻¹ (exp(Δ Λ) − 1) B` as a real matrix, `(E, 2 N, D)`."""
    rate = torch.complex(-w["log_rate"].double().exp(), w["frequency"].double())
    held = torch.expm1(torch.complex(log_decay, angle)) / rate
    b = held.unsqueeze(-1) * torch.view_as_complex(w["b"].double().contiguous())
    return torch.view_as_real(b).transpose(2, 3).flatten(1, 2).to(w["b"].dtype)


def _read(w: Weights, h: Tensor, x: Tensor) -> Tensor:
    """`2 Re(C h) + d ⊙ x`."""
    c = 2.0 * torch.stack([w["c"][..., 0], -w["c"][..., 1]], -1).flatten(2)
    skip = w["skip"].view(x.shape[0], *[1] * (x.ndim - 2), -1)
    return torch.addcmul(linear(h, c), x, skip)
