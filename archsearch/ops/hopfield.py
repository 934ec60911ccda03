"""Modern Hopfield networks: a state moves to the stored patterns that it is most like, by several updates.

Legend of shapes: E copies, B batch, N = E·B, T time; H heads, C features of a head.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.attention import attend, attend_last, join_heads, split_heads
from archsearch.ops.base import Context, Cost, Op, Port, State, ValueType, Weights, op, setting
from archsearch.ops.cache import POINTWISE, appended, keys_seen, need_causal, vectors_of_one_rate
from archsearch.ops.rules import divides

__all__ = ["HopfieldCore"]


@op(
    family="attention",
    ports=(
        Port("q", help="the states before the first update"),
        Port("k", help="the stored patterns, as wide as the states"),
        Port("v", help="what is read of the patterns in the last update"),
    ),
    mixes_time=True,
    equation="ξ ← Kᵀ softmax(β K ξ), steps − 1 times from ξ = q_t; y_t = Vᵀ softmax(β K ξ), over the patterns s ≤ t",
    paper="Ramsauer et al. 2020, arXiv:2008.02217",
)
@dataclass(frozen=True)
class HopfieldCore(Op):
    """Retrieval from a continuous Hopfield network that stores the steps so far; one update is attention."""

    heads: int = setting(4, low=1, help="networks side by side, each with its part of the width")
    steps: int = setting(3, low=1, help="updates of a state; each lowers its energy")
    beta: float | None = setting(None, low=1e-6, help="inverse temperature; 1/√C if not set, for C features of a head")
    causal: bool = setting(True, help="whether a step sees no later ones")

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        vectors_of_one_rate(self.name, q=q, k=k, v=v)
        if q.width != k.width:
            raise RuleError("`q` and `k` must have equal widths", value=f"{q} and {k}")
        divides("heads", self.heads, q.width)
        divides("heads", self.heads, v.width)
        return v

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *, time: int) -> Cost:
        last = 2 * q.width + 2 * v.width + POINTWISE * self.heads
        update = 4 * q.width + POINTWISE * self.heads
        flops = keys_seen(time, causal=self.causal) * (last + (self.steps - 1) * update)
        return Cost(flops=flops, state_bytes=4 * time * (k.width + v.width))

    def is_causal(self) -> bool:
        return self.causal

    def forward(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> Tensor:
        state, patterns, values = (split_heads(x, self.heads).transpose(1, 2) for x in (q, k, v))
        for _ in range(self.steps - 1):
            state = attend(state, patterns, patterns, causal=self.causal, scale=self.beta)
        return join_heads(attend(state, patterns, values, causal=self.causal, scale=self.beta), q.shape[0])

    def prefill(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State] | None:
        return (self.forward(w, q, k, v, ctx=ctx), {"k": k, "v": v}) if self.causal else None

    def step(self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is the cache, `k` and `v` of `(E, B, T, D)`."""
        need_causal(self.name, self.causal)
        cache = appended(state, {"k": k.unsqueeze(2), "v": v.unsqueeze(2)})
        heads = (split_heads(x, self.heads).transpose(1, 2) for x in (q.unsqueeze(2), cache["k"], cache["v"]))
        query, patterns, values = heads
        for _ in range(self.steps - 1):
            query = attend_last(query, patterns, patterns, scale=self.beta)
        return join_heads(attend_last(query, patterns, values, scale=self.beta), q.shape[0]).squeeze(2), cache
