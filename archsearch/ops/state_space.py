"""State-space cores: linear systems along time, one for each feature."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.kernels.diagonal import impulse_response, last_state
from archsearch.kernels.fft_conv import causal_convolution
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

__all__ = ["S4dCore"]

_SLOW = 0.1  # the eigenvalues and step sizes learn at a tenth of the rate, as S4 and S4D train them


def _frequencies(kind: str) -> Initializer:
    """Imaginary parts of the eigenvalues: S4D-Lin, `π n`, or S4D-Inv, `N/π (N/(2n+1) − 1)` with N twice the modes."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        n, size = torch.arange(shape[-1], dtype=torch.float32), 2 * shape[-1]
        row = math.pi * n if kind == "linear" else size / math.pi * (size / (2 * n + 1) - 1)
        return row.expand(shape).contiguous()

    return Initializer("π n" if kind == "linear" else "N/π (N/(2n + 1) − 1)", draw)


@op(
    family="state_space",
    mixes_time=True,
    equation="h_t = exp(Δ A) h_{t−1} + A⁻¹ (exp(Δ A) − 1) x_t; y_t = 2 Re(C h_t) + d x_t, A diagonal and complex",
    paper="Gu et al. 2022, arXiv:2206.11893",
)
@dataclass(frozen=True)
class S4dCore(Op):
    """Diagonal state-space model with a fixed step for each feature."""

    state: int = setting(16, low=1, help="complex modes of a feature, each standing for a conjugate pair")
    frequencies: str = setting("linear", options=("linear", "inverse"), help="where they start: S4D-Lin or S4D-Inv")

    def infer(self, x: ValueType) -> ValueType:
        return vector(self.name, "x", x)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        modes = (x.width, self.state)
        return (
            param("log_dt", (x.width,), uniform(math.log(1e-3), math.log(1e-1)), lr_mult=_SLOW, decay=False),
            param("log_rate", modes, constant(math.log(0.5)), lr_mult=_SLOW, decay=False),
            param("frequency", modes, _frequencies(self.frequencies), lr_mult=_SLOW, decay=False),
            param("c", (*modes, 2), normal(math.sqrt(0.5))),
            param("skip", (x.width,), normal(1.0), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """Two transforms of 2T real points, their product, the skip; not the filter, which serves a whole batch."""
        levels = math.log2(2 * time)
        return Cost(flops=x.width * (10 * levels + 8), state_bytes=8 * x.width * self.state, span=math.ceil(levels))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        log_decay, angle = _exponents(w)
        k = impulse_response(log_decay, angle, _gain(w, log_decay, angle), x.shape[2])
        return torch.addcmul(causal_convolution(x, k), x, w["skip"][:, None, None])

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), {"h": last_state(*_exponents(w), x)}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        c = w["c"]
        return {"h": c.new_zeros(c.shape[0], batch, *c.shape[1:])}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; `h` is `(E, B, D, N, 2)`, the gain folded into the read-out so that the input enters as it is."""
        log_decay, angle = _exponents(w)
        size = torch.exp(log_decay)
        a_r, a_i = ((size * f(angle)).to(x.dtype).unsqueeze(1) for f in (torch.cos, torch.sin))
        h_r, h_i = state["h"].unbind(-1)
        h_r, h_i = a_r * h_r - a_i * h_i + x.unsqueeze(-1), a_r * h_i + a_i * h_r
        g_r, g_i = _gain(w, log_decay, angle).unsqueeze(1).unbind(-1)
        y = (g_r * h_r - g_i * h_i).sum(-1)
        return torch.addcmul(y, x, w["skip"].unsqueeze(1)), {"h": torch.stack([h_r, h_i], -1)}


def _exponents(w: Weights) -> tuple[Tensor, Tensor]:
    """`Δ A` of each mode as logarithm of its decay and angle, `(E, D, N)` each, in double precision."""
    dt = w["log_dt"].double().exp().unsqueeze(-1)
    return -w["log_rate"].double().exp() * dt, w["frequency"].double() * dt


def _gain(w: Weights, log_decay: Tensor, angle: Tensor) -> Tensor:
    """`2 C A⁻¹ (exp(Δ A) − 1)` of each mode, `(E, D, N, 2)` in the precision of the weights."""
    delta_a = torch.complex(log_decay, angle)
    rate = torch.complex(-w["log_rate"].double().exp(), w["frequency"].double())
    gain = 2.0 * torch.view_as_complex(w["c"].double().contiguous()) * torch.expm1(delta_a) / rate
    return torch.view_as_real(gain).to(w["c"].dtype)
