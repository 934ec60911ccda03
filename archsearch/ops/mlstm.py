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
from archsearch.ops.base import Context, Cost, Op, Port, State, ValueType, Weights, op, setting
from archsearch.ops.fast_weights import FLOAT32, chunks_of, keys_and_values, one_a_head

__all__ = ["MlstmCore"]


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
    equation="C_t = f_t C_{t−1} + i_t k_t v_tᵀ; n_t = f_t n_{t−1} + i_t k_t; y_t = C_tᵀ q_t / max(|n_t · q_t|, 1)",
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

    def cost(self, q: ValueType, k: ValueType, v: ValueType, i: ValueType, f: ValueType, *, time: int) -> Cost:
        """A step's update and reading of C and n."""
        state = q.width * (v.width + self.heads) // self.heads
        flops = 5 * state + q.width + 2 * v.width + 8 * self.heads
        return Cost(flops=flops, state_bytes=FLOAT32 * (state + self.heads), span=chunks_of(time))

    def forward(self, w: Weights, q: Tensor, *rest: Tensor, ctx: Context) -> Tensor:
        return self._whole(q, *rest)[0]

    def prefill(self, w: Weights, q: Tensor, *rest: Tensor, ctx: Context) -> tuple[Tensor, State]:
        y, memory, m = self._whole(q, *rest)
        heads = (q.shape[0], -1, self.heads)
        return y, {"C": memory.unflatten(0, heads), "m": m.unflatten(0, heads)}

    def _whole(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with exact(inputs[0].device):
            q, k, v, i, f = (fold_heads(single(x), self.heads) for x in inputs)
            y, memory, m = mlstm(q, k / math.sqrt(k.shape[-1]), v, i.squeeze(-1), self._log_forget(f).squeeze(-1))
        return unfold_heads(y, inputs[0].shape[0], self.heads).to(inputs[0].dtype), memory, m

    def _log_forget(self, f: Tensor) -> Tensor:
        return F.logsigmoid(f) if self.forget == "sigmoid" else f

    def step(
        self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, *, ctx: Context
    ) -> tuple[Tensor, State]:
        """One token; the state is C with n as its last column, `(E, B, H, R, C + 1)`, and m, `(E, B, H)`."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in (q, k, v))
        memory, m = (state["C"], state["m"]) if state else (k.new_zeros(*k.shape, v.shape[-1] + 1), torch.zeros_like(i))
        y, memory, m = mlstm_step(q, k / math.sqrt(k.shape[-1]), v, i, self._log_forget(f), memory, m)
        return y.flatten(-2), {"C": memory, "m": m}
