"""Recurrent cores: the input projection belongs to them, the output projection does not.

Gates are stacked in one matrix in the order of `torch.nn.GRU` and `torch.nn.LSTM`, so that weights can be exchanged.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from archsearch.kernels.dispatch import gru_in_one_loop, lstm_steps, rnn_in_one_loop
from archsearch.kernels.gru import gru
from archsearch.kernels.precision import exact, single
from archsearch.kernels.rnn import rnn
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
    op,
    param,
    setting,
)
from archsearch.ops.rules import vector

__all__ = ["GruCore", "LstmCore", "RnnCore"]


def _gates(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """A stack of square orthogonal matrices, one a gate: states neither grow nor fade at the start."""
    gates, width = shape[0] // shape[1], shape[1]
    q, r = torch.linalg.qr(torch.empty(gates, width, width).normal_(generator=generator))
    signs = torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))
    out: Tensor = (q * signs.unsqueeze(-2)).reshape(shape)
    return out


def _forget(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Zero but for the forget gate, the second of four, which starts open (Jozefowicz et al. 2015)."""
    bias = torch.zeros(4, shape[0] // 4)
    bias[1] = 1.0
    return bias.reshape(shape)


_orthogonal = Initializer("an orthogonal matrix for each gate", _gates)
_forget_one = Initializer("0, and 1 for the forget gate", _forget)


class _Gated(Op):
    """What the cores share: gates stacked in one matrix, a hidden state `h` that is the output."""

    native_copies: ClassVar[bool] = False
    gates: ClassVar[int]
    bias: ClassVar[Initializer]

    width: int | None

    def infer(self, x: ValueType) -> ValueType:
        vector(self.name, "x", x)
        return ValueType((self.width or x.width,), x.rate)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n, rows = self.width or x.width, self.gates * (self.width or x.width)
        return (
            param("input", (rows, x.width), kaiming_uniform(x.width)),
            param("hidden", (rows, n), _orthogonal),
            param("input_bias", (rows,), type(self).bias, decay=False),
            param("hidden_bias", (rows,), constant(0.0), decay=False),
        )

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y = self.forward(w, x, ctx=ctx)
        return y, {"h": y[:, :, -1]}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        return {"h": self._zeros(w, batch)}

    def _zeros(self, w: Weights, batch: int) -> Tensor:
        hidden = w["hidden"]
        return hidden.new_zeros(hidden.shape[0], batch, hidden.shape[-1])


def _parameters(w: Weights) -> list[Tensor]:
    return [w["input"], w["hidden"], w["input_bias"], w["hidden_bias"]]


def _keeps() -> bool:
    """What torch calls `train`: whether cuDNN keeps what a backward pass needs. There is no dropout here."""
    return torch.is_grad_enabled()


def _initial(w: Weights, x: Tensor) -> Tensor:
    return x.new_zeros(1, x.shape[0], w["hidden"].shape[-1])


@op(
    family="recurrence",
    mixes_time=True,
    equation="h = f(W x + U h⁻ + b + b'), f tanh or relu",
    paper="Elman 1990",
)
@dataclass(frozen=True)
class RnnCore(_Gated):
    """Elman network, without gates."""

    width: int | None = setting(None, low=1, help="features of the state; those of the input if not said")
    activation: str = setting("tanh", options=("tanh", "relu"), help="the nonlinearity f")

    gates: ClassVar[int] = 1
    bias: ClassVar[Initializer] = constant(0.0)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        n = self.width or x.width
        return Cost(flops=2 * n * (x.width + n) + 4 * n, state_bytes=4 * n, span=time)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        if rnn_in_one_loop(x.device):
            return rnn(x, *_parameters(w), relu=self.activation == "relu")
        out: Tensor = super().forward(w, x, ctx=ctx)
        return out

    def forward_one(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        run = torch.rnn_relu if self.activation == "relu" else torch.rnn_tanh
        return run(x, _initial(w, x), _parameters(w), True, 1, 0.0, _keeps(), False, True)[0]

    def step_one(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        cell = torch.rnn_relu_cell if self.activation == "relu" else torch.rnn_tanh_cell
        h = cell(x, state["h"], *_parameters(w))
        return h, {"h": h}


@op(
    family="recurrence",
    mixes_time=True,
    equation="r, z = σ(W x + U h⁻ + b); n = tanh(W x + b + r ⊙ (U h⁻ + b')); h = (1 − z) ⊙ n + z ⊙ h⁻",
    paper="Cho et al. 2014, arXiv:1406.1078",
)
@dataclass(frozen=True)
class GruCore(_Gated):
    """Gated recurrent unit."""

    width: int | None = setting(None, low=1, help="features of the state; those of the input if not said")

    gates: ClassVar[int] = 3
    bias: ClassVar[Initializer] = constant(0.0)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        n = self.width or x.width
        return Cost(flops=6 * n * (x.width + n) + 11 * n, state_bytes=4 * n, span=time)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        if gru_in_one_loop(x.device, x.shape[1] * w["hidden"].shape[-1]):
            return gru(x, *_parameters(w))
        out: Tensor = super().forward(w, x, ctx=ctx)
        return out

    def forward_one(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return torch.gru(x, _initial(w, x), _parameters(w), True, 1, 0.0, _keeps(), False, True)[0]

    def step_one(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        h = torch.gru_cell(x, state["h"], *_parameters(w))
        return h, {"h": h}


@op(
    family="recurrence",
    mixes_time=True,
    equation="i, f, o = σ(W x + U h⁻ + b); g = tanh(W x + U h⁻ + b); c = f ⊙ c⁻ + i ⊙ g; h = o ⊙ tanh(c)",
    paper="Hochreiter and Schmidhuber 1997",
)
@dataclass(frozen=True)
class LstmCore(_Gated):
    """Long short-term memory."""

    width: int | None = setting(None, low=1, help="features of the state; those of the input if not said")

    gates: ClassVar[int] = 4
    bias: ClassVar[Initializer] = _forget_one

    def cost(self, x: ValueType, *, time: int) -> Cost:
        n = self.width or x.width
        return Cost(flops=8 * n * (x.width + n) + 13 * n, state_bytes=8 * n, span=time)

    def forward_one(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return self._run(w, x)[0]

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        weights = [dict(zip(w, one, strict=True)) for one in zip(*w.values(), strict=True)]
        y, h, c = zip(*(self._run(*one) for one in zip(weights, x, strict=True)), strict=True)
        return torch.stack(y), {"h": torch.cat(h), "c": torch.cat(c)}

    def _run(self, w: Weights, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One copy: the outputs `(B, T, W)` and the last h and c, `(1, B, W)` each."""
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):  # oneDNN refuses a mixture of precisions
            with exact(x.device):
                return tuple(v.to(x.dtype) for v in self._run(w, single(x)))  # type: ignore[return-value]
        h = c = _initial(w, x)
        parts = []
        for part in x.split(lstm_steps(x.device, h.numel()) or x.shape[1], 1):
            y, h, c = torch.lstm(part, [h, c], _parameters(w), True, 1, 0.0, _keeps(), False, True)
            parts.append(y)
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0], h, c

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        return {"h": self._zeros(w, batch), "c": self._zeros(w, batch)}

    def step_one(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        h, c = torch.lstm_cell(x, [state["h"], state["c"]], *_parameters(w))
        return h, {"h": h, "c": c}
