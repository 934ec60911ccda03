"""Attention cores: named ports and no projections; the block `attention` puts those around."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.attention import attend, attend_last, split_heads
from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weights, op, setting
from archsearch.ops.rules import divides, vector

__all__ = ["SoftmaxAttention"]

_POINTWISE = 5  # of each score: scale, subtract the largest, exponentiate, sum, divide


@op(
    family="attention",
    ports=("q", "k", "v"),
    mixes_time=True,
    equation="y_t = Σ_s softmax_s(q_t · k_s / √C) v_s, s ≤ t where causal, in each head of C features",
    paper="Vaswani et al. 2017, arXiv:1706.03762",
)
@dataclass(frozen=True)
class SoftmaxAttention(Op):
    """Softmax attention of queries to keys and values, without weights of its own."""

    heads: int = setting(4, low=1, help="parts of the width that attend independently")
    causal: bool = setting(True, help="whether a step sees no later ones")
    rotary: bool = setting(True, help="whether queries and keys turn with their position; without it order is not seen")

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        for port, x in zip("qkv", (q, k, v), strict=True):
            vector(self.name, port, x)
        if q.width != k.width or not q.rate == k.rate == v.rate:
            raise RuleError("`q` and `k` must have equal widths, and all ports one rate", value=f"{q}, {k} and {v}")
        part = divides("heads", self.heads, q.width)
        divides("heads", self.heads, v.width)
        if self.rotary and part % 2:
            raise RuleError(
                "`rotary` must have an even number of features in a head",
                value=f"heads={self.heads}, width={q.width}, so {part} features",
                setting="heads",
            )
        return v

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *, time: int) -> Cost:
        keys = (time + 1) / 2 if self.causal else time
        flops = keys * (2 * q.width + 2 * v.width + _POINTWISE * self.heads)
        turn = 3 * (q.width + k.width) if self.rotary else 0  # a complex product takes 6 operations for two features
        return Cost(flops=flops + turn, state_bytes=4 * time * (k.width + v.width))

    def is_causal(self) -> bool:
        return self.causal

    def forward(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> Tensor:
        return attend(q, k, v, self.heads, causal=self.causal, rotary=self.rotary)

    def prefill(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State] | None:
        if not self.causal:
            return None
        y = attend(q, k, v, self.heads, causal=True, rotary=self.rotary)
        key = split_heads(k, self.heads, rotary=self.rotary)
        new = {"k": key, "v": split_heads(v, self.heads, rotary=False)}
        return y, {name: x.unflatten(0, k.shape[:2]) for name, x in new.items()}

    def step(self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is the cache, `k` and `v` of `(E, B, H, T, C)`, keys already turned."""
        if not self.causal:
            raise NotImplementedError("attention that is not causal cannot decode step by step")
        position = state["k"].shape[3] if state else 0
        key = split_heads(k.unsqueeze(2), self.heads, rotary=self.rotary, position=position)
        new = {"k": key, "v": split_heads(v.unsqueeze(2), self.heads, rotary=False)}
        cache = {name: x.view(*q.shape[:2], *x.shape[1:]) for name, x in new.items()}
        if state:
            cache = {name: torch.cat([state[name], x], 3) for name, x in cache.items()}
        return attend_last(q, cache["k"], cache["v"], self.heads, rotary=self.rotary), cache
