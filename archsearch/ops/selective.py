"""Selective state-space cores: diagonal linear systems whose step size, input and read-out depend on the input."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.linear import linear
from archsearch.kernels.selective_scan import System, decay_of, selective_scan
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
from archsearch.ops.rules import vector

__all__ = ["S6", "SelectiveScan"]

EIGENVALUES = ("positive", "signed")
EIGENVALUES_HELP = "whether decays are exp(Δ A), in (0, 1), or 2 exp(Δ A) − 1, in (−1, 1)"


def step_bias(low: float = 1e-3, high: float = 1e-1) -> Initializer:
    """The b for which softplus(b) is log-uniform in [low, high], as Mamba's step sizes start."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        dt = torch.empty(shape).uniform_(math.log(low), math.log(high), generator=generator).exp_()
        return dt + torch.log(-torch.expm1(-dt))

    return Initializer(f"softplus⁻¹(Δ), Δ log-uniform in [{low:g}, {high:g}]", draw)


def _real(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """S4D-Real: `A_n = −(n + 1)`, kept as its logarithm."""
    return torch.arange(1.0, shape[-1] + 1).log_().expand(shape).contiguous()


_LOG_A = Initializer("log(n + 1)", _real)


def _own_weights(width: int, state: int) -> tuple[Weight, ...]:
    """What belongs to the system itself: step sizes, eigenvalues, skip."""
    return (
        param("dt_bias", (width,), step_bias(), decay=False),
        param("log_a", (width, state), _LOG_A, decay=False),
        param("skip", (width,), constant(1.0), decay=False),
    )


def _cost(width: int, state: int, time: int) -> Cost:
    """The states: their decay (two), their input and read-out (two multiply-adds); Δ x and the skip."""
    span = min(time, 1 + 2 * math.ceil(math.log2(time)))
    return Cost(flops=(7 * state + 3) * width, state_bytes=4 * state * width, span=span)


def _systems(w: Weights) -> Tensor:
    """A, `(E, N, D)`."""
    return -w["log_a"].mT.exp()


def _run(w: Weights, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Outputs and the last state; `dt` before its bias and softplus."""
    return selective_scan(x, dt, b, c, System(w["dt_bias"], _systems(w), w["skip"]), signed=signed)


def _step(w: Weights, h: Tensor, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, signed: bool) -> tuple[Tensor, State]:
    """One token; `h` is `(E, B, N, D)`."""
    delta = F.softplus(dt + w["dt_bias"].unsqueeze(1))
    decay = decay_of(delta.unsqueeze(2) * _systems(w).unsqueeze(1), signed)
    h = decay * h + b.unsqueeze(3) * (delta * x).unsqueeze(2)
    y = (c.unsqueeze(2) @ h).squeeze(2)
    return torch.addcmul(y, x, w["skip"].unsqueeze(1)), {"h": h}


def _zeros(w: Weights, batch: int) -> State:
    log_a = w["log_a"]
    return {"h": log_a.new_zeros(log_a.shape[0], batch, log_a.shape[2], log_a.shape[1])}


_EQUATION = "h_t = exp(Δ_t A) ⊙ h_{t−1} + Δ_t x_t B_t; y_t = C_t h_t + d x_t; Δ_t = softplus(dt_t + b), A diagonal"
_PAPER = "Gu and Dao 2023, arXiv:2312.00752, algorithm 2; signed: Grazzi et al. 2024, arXiv:2411.12537"


@op(
    family="state_space",
    ports=(
        Port("x", help="the input of the systems, one a feature"),
        Port("dt", help="the step size of each feature, before its bias and softplus; as wide as x"),
        Port("B", help="how the input enters the states of a feature; its width is their number"),
        Port("C", help="how the states are read; as wide as B"),
    ),
    mixes_time=True,
    equation=_EQUATION,
    paper=_PAPER,
)
@dataclass(frozen=True)
class SelectiveScan(Op):
    """Mamba's selective state-space model, whose step size, input and read-out are given."""

    eigenvalues: str = setting("positive", options=EIGENVALUES, help=EIGENVALUES_HELP)

    def infer(self, x: ValueType, dt: ValueType, b: ValueType, c: ValueType) -> ValueType:
        for port, v in zip(["x", "dt", "B", "C"], (x, dt, b, c), strict=True):
            vector(self.name, port, v)
        if dt.width != x.width:
            raise RuleError("`dt` of `selective_scan` must be as wide as `x`", value=f"{dt.width}, {x.width}")
        if b.width != c.width:
            raise RuleError("`B` and `C` of `selective_scan` must be equally wide", value=f"{b.width}, {c.width}")
        if {v.rate for v in (dt, b, c)} != {x.rate}:
            raise RuleError("the inputs of `selective_scan` must have equal rates", value=f"{x}, {dt}, {b}, {c}")
        return x

    def weights(self, x: ValueType, dt: ValueType, b: ValueType, c: ValueType) -> tuple[Weight, ...]:
        return _own_weights(x.width, b.width)

    def cost(self, x: ValueType, dt: ValueType, b: ValueType, c: ValueType, *, time: int) -> Cost:
        return _cost(x.width, b.width, time)

    def forward(self, w: Weights, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, ctx: Context) -> Tensor:
        return _run(w, x, dt, b, c, signed=self.eigenvalues == "signed")[0]

    def prefill(self, w: Weights, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y, h = _run(w, x, dt, b, c, signed=self.eigenvalues == "signed")
        return y, {"h": h}

    def start(self, w: Weights, batch: int, x: ValueType, dt: ValueType, b: ValueType, c: ValueType) -> State:
        return _zeros(w, batch)

    def step(
        self, w: Weights, state: State, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, ctx: Context
    ) -> tuple[Tensor, State]:
        return _step(w, state["h"], x, dt, b, c, signed=self.eigenvalues == "signed")


@op(
    family="state_space",
    mixes_time=True,
    equation=f"{_EQUATION}; dt, B, C = W x, dt through a bottleneck",
    paper=_PAPER,
)
@dataclass(frozen=True)
class S6(Op):
    """Selective state-space model that finds its step size, input and read-out in its one input."""

    state: int = setting(16, low=1, help="states of a feature")
    rank: int | None = setting(None, low=1, help="width of the bottleneck of dt; a sixteenth of the width if not said")
    eigenvalues: str = setting("positive", options=EIGENVALUES, help=EIGENVALUES_HELP)

    def infer(self, x: ValueType) -> ValueType:
        return vector(self.name, "x", x)

    def _rank(self, x: ValueType) -> int:
        return self.rank or math.ceil(x.width / 16)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        rank = self._rank(x)
        return (
            param("project", (rank + 2 * self.state, x.width), kaiming_uniform(x.width)),
            param("dt", (x.width, rank), kaiming_uniform(rank)),
            *_own_weights(x.width, self.state),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        rank, scan = self._rank(x), _cost(x.width, self.state, time)
        return Cost(scan.flops + 2 * x.width * (2 * rank + 2 * self.state), scan.state_bytes, scan.span)

    def _parts(self, w: Weights, x: Tensor) -> tuple[Tensor, ...]:
        """dt, B and C."""
        dt, b, c = linear(x, w["project"]).split([w["dt"].shape[2], self.state, self.state], -1)
        return linear(dt, w["dt"]), b, c

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return _run(w, x, *self._parts(w, x), signed=self.eigenvalues == "signed")[0]

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y, h = _run(w, x, *self._parts(w, x), signed=self.eigenvalues == "signed")
        return y, {"h": h}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        return _zeros(w, batch)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return _step(w, state["h"], x, *self._parts(w, x), signed=self.eigenvalues == "signed")
