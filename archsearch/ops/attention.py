"""Softmax attention: named ports and no projections; the block `attention` puts those around.

Legend of shapes: E copies, B batch, N = E·B, T time; H heads of queries, G heads of keys, C features of a head.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.attention import alibi_slopes, attend, attend_last, join_heads, split_heads
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
    op,
    param,
    setting,
)
from archsearch.ops.cache import POINTWISE, appended, keys_seen, need_causal, vectors_of_one_rate
from archsearch.ops.rules import divides

__all__ = ["SoftmaxAttention"]

_EPS = 1e-6


@op(
    family="attention",
    ports=(
        Port("q", help="queries, of `heads` parts"),
        Port("k", help="keys, of `kv_heads` parts as wide as those of the queries"),
        Port("v", help="values, of `kv_heads` parts"),
    ),
    mixes_time=True,
    equation="y_t = Σ_s softmax_s(q_t · k_s / √C) v_s, s ≤ t where causal, in each head of C features",
    paper="Vaswani et al. 2017, arXiv:1706.03762",
)
@dataclass(frozen=True)
class SoftmaxAttention(Op):
    """Softmax attention of queries to keys and values.

    Fewer heads of keys and values than of queries are multi-query (Shazeer 2019, arXiv:1911.02150) or grouped-query
    attention (Ainslie et al. 2023, arXiv:2305.13245); rotary positions are those of Su et al. (arXiv:2104.09864),
    `alibi` takes a slope times the distance off the scores (Press et al. 2021, arXiv:2108.12409); norms of queries and
    keys are as in Dehghani et al. 2023 (arXiv:2302.05442), root mean squares with a scale that all heads share.
    """

    heads: int = setting(4, low=1, help="parts of the width that attend independently")
    kv_heads: int | None = setting(
        None, low=1, help="heads of keys and values, each for heads/kv_heads; all if not set"
    )
    causal: bool = setting(True, help="whether a step sees no later ones")
    positions: str = setting(
        "rotary",
        options=("rotary", "alibi", "none"),
        help="how order is seen: queries and keys turn, or scores fall with distance; with `none` it is not",
    )
    window: int | None = setting(None, low=1, help="how many steps are seen, the present one included; all if not set")
    qk_norm: bool = setting(False, help="whether queries and keys are normed, head by head, before they turn")

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @classmethod
    def canonical(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """As many heads of keys as of queries, said or not, are the same."""
        return {**settings, "kv_heads": settings["kv_heads"] or settings["heads"]}

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        vectors_of_one_rate(self.name, q=q, k=k, v=v)
        if self.heads % self.groups:
            counts = f"kv_heads={self.groups}, heads={self.heads}"
            raise RuleError("`kv_heads` must divide `heads`", value=counts, setting="kv_heads")
        if self.window is not None and not self.causal:
            raise RuleError("a `window` must look back only, so `causal` must be true", value=f"window={self.window}")
        part = divides("heads", self.heads, q.width)
        if k.width != part * self.groups:
            rule = f"`k` must have {self.groups} heads as wide as those of `q`"
            if self.groups == self.heads:
                rule = "`q` and `k` must have equal widths"
            raise RuleError(rule, value=f"{q} and {k}", hint=f"With heads of {part}, that is {part * self.groups}.")
        if self.positions == "rotary" and part % 2:
            raise RuleError(
                "rotary positions must have an even number of features in a head",
                value=f"heads={self.heads}, width={q.width}, so {part} features",
                setting="heads",
            )
        return ValueType(
            (self.heads * divides("kv_heads" if self.kv_heads else "heads", self.groups, v.width),), v.rate
        )

    def weights(self, q: ValueType, k: ValueType, v: ValueType) -> tuple[Weight, ...]:
        part = (q.width // self.heads,)
        names = ("q_norm", "k_norm") if self.qk_norm else ()
        return tuple(param(name, part, constant(1.0), decay=False) for name in names)

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *, time: int) -> Cost:
        keys = keys_seen(time, causal=self.causal, window=self.window)
        score = POINTWISE + 2 * (self.positions == "alibi")
        flops = keys * (2 * q.width + 2 * v.width * self.heads // self.groups + score * self.heads)
        turn = 3 * (self.positions == "rotary")  # a complex product takes 6 operations for two features
        kept = min(time, self.window or time)
        return Cost(
            flops=flops + (turn + 4 * self.qk_norm) * (q.width + k.width), state_bytes=4 * kept * (k.width + v.width)
        )

    def is_causal(self) -> bool:
        return self.causal

    def forward(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> Tensor:
        return self._attend(self._heads(w, "q_norm", q, self.heads), self._heads(w, "k_norm", k, self.groups), v)

    def prefill(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State] | None:
        if not self.causal:
            return None
        key = self._heads(w, "k_norm", k, self.groups)
        y = self._attend(self._heads(w, "q_norm", q, self.heads), key, v)
        kept = key if self.window else self._turned(key)
        last = slice(-min(self.window or k.shape[2], k.shape[2]), None)
        return y, {"k": kept.reshape(k.shape)[:, :, last], "v": v[:, :, last]}

    def step(self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is the cache, `k` and `v` of `(E, B, T, D)`.

        Keys are kept turned by their positions; in a window as they are, since there only differences are known.
        """
        need_causal(self.name, self.causal)
        position = state["k"].shape[2] if state else 0
        query = self._heads(w, "q_norm", q.unsqueeze(2), self.heads)
        key = self._heads(w, "k_norm", k.unsqueeze(2), self.groups)
        key = key if self.window else self._turned(key, position)
        cache = appended(state, {"k": key.reshape(k.shape).unsqueeze(2), "v": v.unsqueeze(2)}, self.window)
        keys, values = split_heads(cache["k"], self.groups), split_heads(cache["v"], self.groups)
        keys = self._turned(keys) if self.window else keys
        query = self._turned(query, keys.shape[1] - 1)
        y = attend_last(*(x.transpose(1, 2) for x in (query, keys, values)), slopes=self._slopes)
        return join_heads(y, q.shape[0]).squeeze(2), cache

    @property
    def _slopes(self) -> tuple[float, ...]:
        return alibi_slopes(self.heads) if self.positions == "alibi" else ()

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Heads of queries and keys, not turned yet, `(N, T, H, C)`, and values `(E, B, T, D)`."""
        heads = (self._turned(q), self._turned(k), split_heads(v, self.groups))
        y = attend(*(x.transpose(1, 2) for x in heads), causal=self.causal, window=self.window, slopes=self._slopes)
        return join_heads(y, v.shape[0])

    def _heads(self, w: Weights, norm: str, x: Tensor, heads: int) -> Tensor:
        """`(E, B, T, D)` to `(N, T, H, C)`, normed where that is asked for."""
        if self.qk_norm:
            x = rms_norm(x.unflatten(-1, (heads, -1)), w[norm], _EPS).flatten(-2)
        return split_heads(x, heads)

    def _turned(self, x: Tensor, position: int = 0) -> Tensor:
        """`(N, T, H, C)` turned by its position, where order is seen that way; the first step is at `position`."""
        return rotate(x, position) if self.positions == "rotary" else x
