"""The matrix memory of xLSTM as a core."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.heads import fold_heads, unfold_heads
from archsearch.kernels.mlstm import mlstm, mlstm_step
from archsearch.kernels.precision import exact, single
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
    normal,
    op,
    param,
    setting,
    uniform,
)
from archsearch.ops.fast_weights import FLOAT32, chunks_of, keys_and_values, one_a_head

__all__ = ["MlstmCore"]

_SIGMOID = uniform(3.0, 6.0)
_EXP = Initializer("log σ(U(3, 6))", lambda generator, shape: F.logsigmoid(_SIGMOID(generator, shape)))


@op(
    family="fast_weight",
    ports=(
        Port("q", help="queries, heads × rows features"),
        Port("k", help="keys, as wide; they are divided by √rows"),
        Port("v", help="values, heads × columns features"),
        Port("i", help="input gate before its exponential, one a head"),
        Port("f", help="forget gate before its function, one a head"),
    ),
    mixes_time=True,
    equation="C_t = f_t C_{t−1} + i_t k_t v_tᵀ; n_t = f_t n_{t−1} + i_t k_t; y_t = C_tᵀ q_t / max(|n_t · q_t|, 1); "
    "i = exp(ĩ + b), f = σ(f̃ + c) or exp(f̃ + c)",
    paper="Beck et al. 2024, arXiv:2405.04517, equations 19 to 27",
)
@dataclass(frozen=True)
class MlstmCore(Op):
    """Matrix memory with an exponential input gate, held stable by its running maximum."""

    heads: int = setting(4, low=1, help="matrices; the widths are cut into as many parts")
    forget: str = setting("sigmoid", options=("sigmoid", "exp"), help="function of the forget gate")

    def infer(self, q: ValueType, k: ValueType, v: ValueType, i: ValueType, f: ValueType) -> ValueType:
        keys_and_values(self.name, self.heads, q=q, k=k, v=v)
        for port, x in (("i", i), ("f", f)):
            one_a_head(self.name, port, x, self.heads)
            if x.rate != q.rate:
                raise RuleError(f"the inputs of `{self.name}` must have equal rates", value=f"{q}, {x}")
        return v

    def weights(self, q: ValueType, *rest: ValueType) -> tuple[Weight, ...]:
        return (
            param("input_bias", (self.heads,), normal(0.1), decay=False),
            param("forget_bias", (self.heads,), _SIGMOID if self.forget == "sigmoid" else _EXP, decay=False),
        )

    def cost(self, q: ValueType, k: ValueType, v: ValueType, i: ValueType, f: ValueType, *, time: int) -> Cost:
        """A step's update and reading of C and n."""
        state = q.width * (v.width + self.heads) // self.heads
        flops = 5 * state + q.width + 2 * v.width + 8 * self.heads
        return Cost(flops=flops, state_bytes=FLOAT32 * (state + self.heads), span=chunks_of(time))

    def forward(self, w: Weights, q: Tensor, *rest: Tensor, ctx: Context) -> Tensor:
        return self._whole(w, q, *rest)[0]

    def prefill(self, w: Weights, q: Tensor, *rest: Tensor, ctx: Context) -> tuple[Tensor, State]:
        y, memory, m = self._whole(w, q, *rest)
        heads = (q.shape[0], -1, self.heads)
        return y, {"C": memory.unflatten(0, heads), "m": m.unflatten(0, heads)}

    def _whole(self, w: Weights, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with exact(inputs[0].device):
            i, f = self._gates(w, inputs[3], inputs[4], lead=2)
            q, k, v, i, f = (fold_heads(single(x), self.heads) for x in (*inputs[:3], i, f))
            y, memory, m = mlstm(q, k / math.sqrt(k.shape[-1]), v, i.squeeze(-1), f.squeeze(-1))
        return unfold_heads(y, inputs[0].shape[0], self.heads).to(inputs[0].dtype), memory, m

    def _gates(self, w: Weights, i: Tensor, f: Tensor, lead: int) -> tuple[Tensor, Tensor]:
        """Logarithms of both gates; `lead` axes stand between the copies and the heads."""
        shape = (-1, *[1] * lead, self.heads)
        i, f = i + w["input_bias"].view(shape), f + w["forget_bias"].view(shape)
        return i, F.logsigmoid(f) if self.forget == "sigmoid" else f

    def step(
        self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, *, ctx: Context
    ) -> tuple[Tensor, State]:
        """One token; the state is C with n as its last column, `(E, B, H, R, C + 1)`, and m, `(E, B, H)`."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in (q, k, v))
        memory, m = (state["C"], state["m"]) if state else (k.new_zeros(*k.shape, v.shape[-1] + 1), torch.zeros_like(i))
        i, f = self._gates(w, i, f, lead=1)
        y, memory, m = mlstm_step(q, k / math.sqrt(k.shape[-1]), v, i, f, memory, m)
        return y.flatten(-2), {"C": memory, "m": m}
