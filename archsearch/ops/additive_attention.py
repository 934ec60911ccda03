"""Additive attention: how recurrent networks looked back before there were transformers."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.additive_attention import additive_attention
from archsearch.kernels.linear import linear
from archsearch.kernels.precision import single
from archsearch.ops.base import (
    Context,
    Cost,
    Op,
    Port,
    State,
    ValueType,
    Weight,
    Weights,
    kaiming_uniform,
    op,
    param,
    setting,
)
from archsearch.ops.cache import appended
from archsearch.ops.rules import divides, vector

__all__ = ["AdditiveAttention"]


@op(
    family="attention",
    ports=(
        Port("q", help="what looks, a state"),
        Port("k", help="what is looked at"),
        Port("v", help="what is read"),
    ),
    mixes_time=True,
    equation="y_t = Σ_s softmax_s(u · tanh(W q_t + U k_s)) v_s, s ≤ t where causal, in each head",
    paper="Bahdanau et al. 2014, arXiv:1409.0473",
)
@dataclass(frozen=True)
class AdditiveAttention(Op):
    """Attention whose scores come from a perceptron on query and key."""

    heads: int = setting(1, low=1, help="parts of the scores' features, each of which reads its part of the value")
    hidden: int | None = setting(None, low=1, help="features of the scores; those of `q` if not said")
    causal: bool = setting(True, help="whether a step sees no later ones")

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        for port, x in zip("qkv", (q, k, v), strict=True):
            vector(self.name, port, x)
        if not q.rate == k.rate == v.rate:
            raise RuleError(f"the inputs of `{self.name}` must have one rate", value=f"{q}, {k} and {v}")
        divides("heads", self.heads, self.hidden or q.width)
        divides("heads", self.heads, v.width)
        return v

    def weights(self, q: ValueType, k: ValueType, v: ValueType) -> tuple[Weight, ...]:
        n = self.hidden or q.width
        return (
            param("query", (n, q.width), kaiming_uniform(q.width)),
            param("key", (n, k.width), kaiming_uniform(k.width)),
            param("score", (n,), kaiming_uniform(n // self.heads)),
        )

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *, time: int) -> Cost:
        n = self.hidden or q.width
        keys = (time + 1) / 2 if self.causal else time
        flops = 2 * n * (q.width + k.width) + keys * (4 * n + 2 * v.width + 4 * self.heads)
        return Cost(flops=flops, state_bytes=4 * time * (n + v.width))

    def is_causal(self) -> bool:
        return self.causal

    def _heads(self, x: Tensor) -> Tensor:
        """`(E, B, ..., H·C)` to `(N, ..., C)`."""
        folded: Tensor = single(x).unflatten(-1, (self.heads, -1)).movedim(-2, 2).flatten(0, 2)
        return folded

    def _attend(self, w: Weights, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Of projected queries, keys and values, `(E, B, T, ·)` each."""
        u = w["score"].unsqueeze(1).expand(*q.shape[:2], -1)
        parts = (self._heads(x) for x in (q, k, v, u))
        y = additive_attention(*parts, causal=self.causal and q.shape[2] == k.shape[2])
        joined: Tensor = y.unflatten(0, (*q.shape[:2], self.heads)).movedim(2, 3).flatten(3).to(v.dtype)
        return joined

    def forward(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> Tensor:
        return self._attend(w, linear(q, w["query"]), linear(k, w["key"]), v)

    def prefill(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State] | None:
        if not self.causal:
            return None
        key = linear(k, w["key"])
        return self._attend(w, linear(q, w["query"]), key, v), {"k": key, "v": v}

    def start(self, w: Weights, batch: int, q: ValueType, k: ValueType, v: ValueType) -> State:
        key = w["key"]
        return {n: key.new_zeros(key.shape[0], batch, 0, size) for n, size in (("k", key.shape[1]), ("v", v.width))}

    def step(self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is the cache, projected keys `(E, B, T, A)` and values `(E, B, T, V)`."""
        if not self.causal:
            raise NotImplementedError("attention that is not causal cannot decode step by step")
        new = {"k": linear(k, w["key"]), "v": v}
        cache = appended(state, {name: x.unsqueeze(2) for name, x in new.items()})
        return self._attend(w, linear(q, w["query"]).unsqueeze(2), cache["k"], cache["v"]).squeeze(2), cache
