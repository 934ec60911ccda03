"""The core of Mamba-2: a selective state-space model with one decay a head."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.selective_scan import decay_of
from archsearch.kernels.ssd import ssd
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
    op,
    param,
    setting,
)
from archsearch.ops.rules import divides, vector
from archsearch.ops.selective import EIGENVALUES, EIGENVALUES_HELP, step_bias

__all__ = ["Ssd"]

_CHUNK = 32  # steps of a chunk on a CPU, for the count of operations


def _log_rates(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """`−A` between 1 and 16, as Mamba-2 starts, kept as its logarithm."""
    return torch.empty(shape).uniform_(1.0, 16.0, generator=generator).log_()


@op(
    family="state_space",
    ports=(
        Port("x", help="the input of the heads"),
        Port("dt", help="the step size of each head, before its bias and softplus; its width is the number of heads"),
        Port("B", help="how the input enters the states, for all heads; its width is their number"),
        Port("C", help="how the states are read; as wide as B"),
    ),
    mixes_time=True,
    equation="S_t = exp(Δ_t a) S_{t−1} + Δ_t B_t x_tᵀ; y_t = S_tᵀ C_t + d x_t; Δ_t = softplus(dt_t + b), a a number",
    paper="Dao and Gu 2024, arXiv:2405.21060; signed: Grazzi et al. 2024, arXiv:2411.12537",
)
@dataclass(frozen=True)
class Ssd(Op):
    """Mamba-2's selective state-space model, whose heads forget with one factor each."""

    eigenvalues: str = setting("positive", options=EIGENVALUES, help=EIGENVALUES_HELP)

    def infer(self, x: ValueType, dt: ValueType, b: ValueType, c: ValueType) -> ValueType:
        for port, v in zip(("x", "dt", "B", "C"), (x, dt, b, c), strict=True):
            vector(self.name, port, v)
        divides("heads, the width of dt,", dt.width, x.width)
        if b.width != c.width:
            raise RuleError("`B` and `C` of `ssd` must be equally wide", value=f"{b.width}, {c.width}")
        if {v.rate for v in (dt, b, c)} != {x.rate}:
            raise RuleError("the inputs of `ssd` must have equal rates", value=f"{x}, {dt}, {b}, {c}")
        return x

    def weights(self, x: ValueType, dt: ValueType, b: ValueType, c: ValueType) -> tuple[Weight, ...]:
        return (
            param("dt_bias", (dt.width,), step_bias(), decay=False),
            param("log_rate", (dt.width,), Initializer("log U(1, 16)", _log_rates), decay=False),
            param("skip", (dt.width,), constant(1.0), decay=False),
        )

    def cost(self, x: ValueType, dt: ValueType, b: ValueType, c: ValueType, *, time: int) -> Cost:
        """Of a token: a row of scores for all heads and of each head's product, a write and a read of the state."""
        length, n = min(_CHUNK, time), b.width
        flops = 2 * length * (n + x.width) + 2 * length * dt.width + 4 * n * x.width + 4 * x.width
        return Cost(flops=flops, state_bytes=4 * n * x.width, span=math.ceil(time / length))

    def _terms(self, w: Weights, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Step sizes and the logarithms of the decays, for `dt` of shape `(E, ..., H)`."""
        bias, rate = (v.view(v.shape[0], *[1] * (dt.ndim - 2), -1) for v in (w["dt_bias"], w["log_rate"].exp()))
        delta = F.softplus(dt + bias)
        return delta, -delta * rate

    def _run(self, w: Weights, x: Tensor, dt: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        delta, log_decay = self._terms(w, dt)
        heads = x.unflatten(3, (dt.shape[3], -1))
        parts = (v.flatten(0, 1) for v in (heads * delta.unsqueeze(4), log_decay, b, c))
        y, last = ssd(*parts, signed=self.eigenvalues == "signed")
        skip = w["skip"][:, None, None, :, None]
        return torch.addcmul(y.view(heads.shape), heads, skip).flatten(3), last.unflatten(0, x.shape[:2])

    def forward(self, w: Weights, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, ctx: Context) -> Tensor:
        return self._run(w, x, dt, b, c)[0]

    def prefill(self, w: Weights, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y, last = self._run(w, x, dt, b, c)
        return y, {"S": last}

    def start(self, w: Weights, batch: int, x: ValueType, dt: ValueType, b: ValueType, c: ValueType) -> State:
        skip = w["skip"]
        return {"S": skip.new_zeros(skip.shape[0], batch, b.width, dt.width, x.width // dt.width)}

    def step(
        self, w: Weights, state: State, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, ctx: Context
    ) -> tuple[Tensor, State]:
        """One token; `S` is `(E, B, N, H, P)`."""
        delta, log_decay = self._terms(w, dt)
        heads = x.unflatten(2, (dt.shape[2], -1))
        decay = decay_of(log_decay, self.eigenvalues == "signed")[:, :, None, :, None]
        s = decay * state["S"] + b[..., None, None] * (heads * delta.unsqueeze(3)).unsqueeze(2)
        y = (c.unsqueeze(2) @ s.flatten(3)).view(heads.shape)
        return torch.addcmul(y, heads, w["skip"][:, None, :, None]).flatten(2), {"S": s}
