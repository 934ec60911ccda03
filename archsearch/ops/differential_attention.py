"""Differential attention: the difference of two softmax maps, in which noise that both share cancels.

Legend of shapes: E copies, B batch, N = E·B, T time; H heads, C features of one of a head's two keys, V of its values.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.attention import attend, attend_last, split_heads
from archsearch.kernels.rms_norm import rms_norm
from archsearch.kernels.rotary import rotate
from archsearch.ops.base import (
    Context,
    Cost,
    Op,
    Port,
    State,
    ValueType,
    Weight,
    Weights,
    constant,
    normal,
    op,
    param,
    setting,
)
from archsearch.ops.cache import POINTWISE, appended, keys_seen, vectors_of_one_rate
from archsearch.ops.rules import divides

__all__ = ["DifferentialAttentionCore"]

_EPS = 1e-5
_VECTORS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")


@op(
    family="attention",
    ports=(
        Port("q", help="queries, two side by side in each of `heads` parts"),
        Port("k", help="keys, likewise"),
        Port("v", help="values, of `heads` parts"),
    ),
    mixes_time=True,
    equation="y = (1 − λ₀) norm((softmax(q₁ k₁ᵀ / √C) − λ softmax(q₂ k₂ᵀ / √C)) v), "
    "λ = exp(a₁ · b₁) − exp(a₂ · b₂) + λ₀, in each head",
    paper="Ye et al. 2024, arXiv:2410.05258",
)
@dataclass(frozen=True)
class DifferentialAttentionCore(Op):
    """Causal attention by the difference of two softmax maps, with a norm of each head."""

    heads: int = setting(4, low=1, help="parts of the width that attend independently, by two maps each")
    positions: str = setting("rotary", options=("rotary", "none"), help="whether queries and keys turn")
    lambda_init: float = setting(
        0.8, low=0.0, high=0.99, help="λ₀; the paper's l-th layer has 0.8 − 0.6 exp(−0.3 (l − 1)), or 0.8 throughout"
    )

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        vectors_of_one_rate(self.name, q=q, k=k, v=v)
        if q.width != k.width:
            raise RuleError("`q` and `k` must have equal widths", value=f"{q} and {k}")
        part = divides("heads", self.heads, q.width)
        whole = 4 if self.positions == "rotary" else 2
        if part % whole:
            rule = f"a head must have a multiple of {whole} features: two parts" + ", each even" * (whole == 4)
            raise RuleError(rule, value=f"heads={self.heads}, width={q.width}, so {part} features", setting="heads")
        divides("heads", self.heads, v.width)
        return v

    def weights(self, q: ValueType, k: ValueType, v: ValueType) -> tuple[Weight, ...]:
        part = (q.width // (2 * self.heads),)
        vectors = (param(name, part, normal(0.1), decay=False) for name in _VECTORS)
        return (*vectors, param("norm", (v.width // self.heads,), constant(1.0), decay=False))

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *, time: int) -> Cost:
        flops = keys_seen(time) * (2 * q.width + 4 * v.width + 2 * POINTWISE * self.heads)
        turn = 3 * (q.width + k.width) if self.positions == "rotary" else 0
        return Cost(flops=flops + turn + 7 * v.width, state_bytes=4 * time * (k.width + v.width))

    def forward(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> Tensor:
        return self._attend(w, q, self._halves(k), v)

    def prefill(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        key = self._halves(k)
        return self._attend(w, q, key, v), {"k": key.reshape(k.shape), "v": v}

    def step(self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is the cache, `k` and `v` of `(E, B, T, D)`, keys already turned."""
        position = state["k"].shape[2] if state else 0
        key = self._halves(k.unsqueeze(2), position).reshape(k.shape)
        cache = appended(state, {"k": key.unsqueeze(2), "v": v.unsqueeze(2)})
        heads = (
            self._halves(q.unsqueeze(2), position),
            split_heads(cache["k"], 2 * self.heads),
            split_heads(cache["v"], self.heads),
        )
        return self._difference(w, attend_last(*(x.transpose(1, 2) for x in heads))).squeeze(2), cache

    def _attend(self, w: Weights, q: Tensor, key: Tensor, v: Tensor) -> Tensor:
        heads = (self._halves(q), key, split_heads(v, self.heads))
        return self._difference(w, attend(*(x.transpose(1, 2) for x in heads)))

    def _halves(self, x: Tensor, position: int = 0) -> Tensor:
        """`(E, B, T, 2·H·C)` to `(N, T, 2·H, C)`, turned where that is asked for; the first step is at `position`."""
        parts = split_heads(x, 2 * self.heads)
        return rotate(parts, position) if self.positions == "rotary" else parts

    def _difference(self, w: Weights, y: Tensor) -> Tensor:
        """What the two maps of each head give, `(N, 2·H, T, V)`, to `(E, B, T, H·V)`."""
        copies = w["norm"].shape[0]
        a1, b1, a2, b2 = (w[name] for name in _VECTORS)
        share = torch.exp((a1 * b1).sum(-1)) - torch.exp((a2 * b2).sum(-1)) + self.lambda_init
        first, second = y.unflatten(0, (copies, -1)).unflatten(2, (self.heads, 2)).unbind(3)
        heads = (first - share.view(-1, 1, 1, 1, 1) * second).transpose(2, 3)
        return rms_norm(heads, w["norm"] * (1.0 - self.lambda_init), _EPS).flatten(3)
