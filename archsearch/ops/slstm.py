"""Recurrence with exponential gates; the block `slstm` puts projections, a short convolution and norms around."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.precision import single
from archsearch.kernels.slstm import slstm, slstm_step
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
    op,
    param,
    setting,
    uniform,
)
from archsearch.ops.rules import divides, vector

__all__ = ["SlstmCore"]


def _offsets(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Zero, but for the forget gate, the third of four: memories of about 20 to 400 steps."""
    offsets = torch.zeros(shape)
    offsets[2].uniform_(3.0, 6.0, generator=generator)
    return offsets


_open = Initializer("0, and U(3, 6) for the forget gate", _offsets)


@op(
    family="recurrence",
    ports=(
        Port("z", help="the cell's input before its tanh"),
        Port("i", help="the input gate before its exponential"),
        Port("f", help="the forget gate before its sigmoid"),
        Port("o", help="the output gate before its sigmoid"),
    ),
    mixes_time=True,
    equation="all four + R h⁻ + b; c = σ(f) c⁻ + exp(i) tanh(z); n = σ(f) n⁻ + exp(i); h = σ(o) c / n",
    paper="Beck et al. 2024, arXiv:2405.04517, eq. 8–17",
)
@dataclass(frozen=True)
class SlstmCore(Op):
    """Scalar LSTM of xLSTM: exponential input gates, a normaliser, and states that mix within a head."""

    heads: int = setting(4, low=1, help="parts of the width whose states mix among themselves")

    def infer(self, z: ValueType, i: ValueType, f: ValueType, o: ValueType) -> ValueType:
        for port, x in zip("zifo", (z, i, f, o), strict=True):
            vector(self.name, port, x)
        if not z == i == f == o:
            raise RuleError(
                f"the inputs of `{self.name}` must have equal widths and rates", value=f"{z}, {i}, {f} and {o}"
            )
        divides("heads", self.heads, z.width)
        return z

    def weights(self, z: ValueType, i: ValueType, f: ValueType, o: ValueType) -> tuple[Weight, ...]:
        part = z.width // self.heads
        bound = z.width**-0.5
        return (
            param("hidden", (self.heads, 4 * part, part), uniform(-bound, bound)),
            param("bias", (4, self.heads, part), _open, decay=False),
        )

    def cost(self, z: ValueType, i: ValueType, f: ValueType, o: ValueType, *, time: int) -> Cost:
        """Products within the heads, and 26 operations a feature."""
        n = z.width
        return Cost(flops=8 * n * (n // self.heads) + 26 * n, state_bytes=16 * n, span=time)

    def forward(self, w: Weights, z: Tensor, i: Tensor, f: Tensor, o: Tensor, *, ctx: Context) -> Tensor:
        return self._run(w, z, i, f, o)[0]

    def prefill(self, w: Weights, z: Tensor, i: Tensor, f: Tensor, o: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y, (h, cn, m) = self._run(w, z, i, f, o)
        return y, self._state(z.shape[0], h, cn, m)

    def _run(self, w: Weights, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        e, b, t, d = inputs[0].shape
        x_btghc = torch.stack([x.unflatten(-1, (self.heads, -1)) for x in inputs], 3) + w["bias"][:, None, None]
        x_tnbgc = x_btghc.permute(2, 0, 4, 1, 3, 5).reshape(t, e * self.heads, b, 4, d // self.heads)
        h, last = slstm(single(x_tnbgc), single(w["hidden"]).flatten(0, 1))
        return h.unflatten(1, (e, self.heads)).permute(1, 3, 0, 2, 4).flatten(3), last

    def _state(self, copies: int, h: Tensor, cn: Tensor, m: Tensor) -> State:
        """The state with copies, batch and width as its axes."""
        parts = {"h": h, "c": cn[:, :, 0], "n": cn[:, :, 1], "m": m}
        return {k: v.unflatten(0, (copies, -1)).transpose(1, 2).flatten(2) for k, v in parts.items()}

    def start(self, w: Weights, batch: int, z: ValueType, i: ValueType, f: ValueType, o: ValueType) -> State:
        hidden = w["hidden"]
        zero = hidden.new_zeros(hidden.shape[0], batch, z.width)
        return {"h": zero, "c": zero, "n": zero, "m": torch.full_like(zero, -torch.inf)}

    def step(
        self, w: Weights, state: State, z: Tensor, i: Tensor, f: Tensor, o: Tensor, *, ctx: Context
    ) -> tuple[Tensor, State]:
        """One token; h, c, n and m are `(E, B, D)` each."""
        heads = {k: v.unflatten(2, (self.heads, -1)).transpose(1, 2).flatten(0, 1) for k, v in state.items()}
        x_ebghc = torch.stack([x.unflatten(-1, (self.heads, -1)) for x in (z, i, f, o)], 2) + w["bias"].unsqueeze(1)
        x_nbgc = x_ebghc.permute(0, 3, 1, 2, 4).flatten(0, 1)
        gates = torch.baddbmm(x_nbgc.flatten(2), heads["h"], w["hidden"].flatten(0, 1).mT).view(x_nbgc.shape)
        (h, cn, m), _ = slstm_step(gates, torch.stack([heads["c"], heads["n"]], 2), heads["m"])
        new = self._state(z.shape[0], h, cn, m)
        return new["h"], new
