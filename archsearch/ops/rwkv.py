"""The time mixing of RWKV-7 as a core."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from archsearch.kernels.heads import fold_heads, unfold_heads
from archsearch.kernels.precision import exact, single
from archsearch.kernels.row_delta_rule import FORGOTTEN, row_delta_rule
from archsearch.ops.base import Context, Cost, Op, Port, State, ValueType, Weights, op, setting
from archsearch.ops.fast_weights import FLOAT32, chunks_of, keys_and_values

__all__ = ["Rwkv7Core"]


@op(
    family="fast_weight",
    ports=(
        Port("q", help="queries (receptance), heads × rows features"),
        Port("k", help="keys to write, as wide"),
        Port("v", help="values, heads × columns features"),
        Port("decay", help="logarithm, at most 0, of what each row keeps, as wide as a key"),
        Port("erase", help="κ̂, keys to erase, as wide; of length one in each head, or a state may grow"),
        Port("rate", help="a, from 0 to 1: how much of each feature is erased, as wide as a key"),
    ),
    mixes_time=True,
    equation="S_t = diag(w_t) S_{t−1} − (a_t ⊙ κ̂_t) (S_{t−1}ᵀ κ̂_t)ᵀ + k_t v_tᵀ; y_t = S_tᵀ q_t",
    paper="Peng et al. 2025, arXiv:2503.14456, equation 17",
)
@dataclass(frozen=True)
class Rwkv7Core(Op):
    """Generalised delta rule: a decay for each row, and a key to erase that differs from the key to write.

    The decay is a logarithm; one above zero counts as zero.
    """

    heads: int = setting(4, low=1, help="matrices; the widths are cut into as many parts")

    def infer(
        self, q: ValueType, k: ValueType, v: ValueType, decay: ValueType, erase: ValueType, rate: ValueType
    ) -> ValueType:
        keys_and_values(self.name, self.heads, q=q, k=k, v=v, decay=decay, erase=erase, rate=rate)
        return v

    def cost(
        self,
        q: ValueType,
        k: ValueType,
        v: ValueType,
        decay: ValueType,
        erase: ValueType,
        rate: ValueType,
        *,
        time: int,
    ) -> Cost:
        """A step's two readings, its two outer products and its decay."""
        state = q.width * v.width // self.heads
        return Cost(flops=9 * state + 2 * q.width, state_bytes=FLOAT32 * state, span=chunks_of(time))

    def forward(self, w: Weights, q: Tensor, *rest: Tensor, ctx: Context) -> Tensor:
        return self._whole(q, *rest)[0]

    def prefill(self, w: Weights, q: Tensor, *rest: Tensor, ctx: Context) -> tuple[Tensor, State]:
        y, last = self._whole(q, *rest)
        return y, {"S": last.unflatten(0, (q.shape[0], -1, self.heads))}

    def _whole(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        with exact(inputs[0].device):
            q, k, v, decay, erase, rate = (fold_heads(single(x), self.heads) for x in inputs)
            y, last = row_delta_rule(q, erase, -rate * erase, k, v, decay)
        return unfold_heads(y, inputs[0].shape[0], self.heads).to(inputs[0].dtype), last

    def step(
        self,
        w: Weights,
        state: State,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        decay: Tensor,
        erase: Tensor,
        rate: Tensor,
        *,
        ctx: Context,
    ) -> tuple[Tensor, State]:
        """One token; the state is `S`, `(E, B, H, R, C)`."""
        q, k, v, decay, erase, rate = (x.unflatten(-1, (self.heads, -1)) for x in (q, k, v, decay, erase, rate))
        old = state["S"] if state else k.new_zeros(*k.shape, v.shape[-1])
        held = erase.unsqueeze(-2) @ old
        kept = decay.clamp(FORGOTTEN, 0.0).exp().unsqueeze(-1) * old
        new = kept - (rate * erase).unsqueeze(-1) * held + k.unsqueeze(-1) * v.unsqueeze(-2)
        return (q.unsqueeze(-2) @ new).flatten(-3), {"S": new}
