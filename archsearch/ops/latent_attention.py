"""Multi-head latent attention: keys and values are read out of one small latent, which is all that a cache keeps.

Legend of shapes: E copies, B batch, N = E·B, T time; H heads, C features of a head of keys, V of one of values, R of
the rotary part, L of the latent.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.attention import attend, attend_last, join_heads, split_heads
from archsearch.kernels.linear import linear
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
    kaiming_uniform,
    op,
    param,
    setting,
)
from archsearch.ops.cache import POINTWISE, appended, keys_seen, vectors_of_one_rate
from archsearch.ops.rules import divides

__all__ = ["LatentAttentionCore"]


@op(
    family="attention",
    ports=(
        Port("q", help="the parts of queries that meet content, of `heads` parts"),
        Port("q_rotary", help="the parts of queries that turn with their position, of `heads` parts"),
        Port("latent", help="what keys and values are read out of"),
        Port("k_rotary", help="the part of keys that turns, one for all heads: as wide as one part of `q_rotary`"),
    ),
    mixes_time=True,
    equation="y_t = Σ_s softmax_s((q_t · W_K c_s + R_t q'_t · R_s k'_s) / √(C + R)) W_V c_s, s ≤ t, in each head",
    paper="DeepSeek-AI 2024, arXiv:2405.04434, eq. 9-19",
)
@dataclass(frozen=True)
class LatentAttentionCore(Op):
    """Causal attention to keys and values that are linear in a latent, with rotary positions beside them."""

    heads: int = setting(4, low=1, help="parts of the width that attend independently")
    value_dim: int | None = setting(None, low=1, help="features of a head of values; as many as of keys if not set")

    def infer(self, q: ValueType, q_rotary: ValueType, latent: ValueType, k_rotary: ValueType) -> ValueType:
        vectors_of_one_rate(self.name, q=q, q_rotary=q_rotary, latent=latent, k_rotary=k_rotary)
        part, turned = divides("heads", self.heads, q.width), divides("heads", self.heads, q_rotary.width)
        if turned != k_rotary.width:
            rule = "`k_rotary` must be as wide as one head of `q_rotary`"
            raise RuleError(rule, value=f"{k_rotary} and {q_rotary} of {self.heads} heads")
        if turned % 2:
            raise RuleError("`k_rotary` must have an even number of features", value=str(k_rotary))
        return ValueType((self.heads * (self.value_dim or part),), q.rate)

    def weights(self, q: ValueType, q_rotary: ValueType, latent: ValueType, k_rotary: ValueType) -> tuple[Weight, ...]:
        values = self.heads * (self.value_dim or q.width // self.heads)
        init = kaiming_uniform(latent.width)
        return (param("key", (q.width, latent.width), init), param("value", (values, latent.width), init))

    def cost(self, q: ValueType, q_rotary: ValueType, latent: ValueType, k_rotary: ValueType, *, time: int) -> Cost:
        values = self.heads * (self.value_dim or q.width // self.heads)
        scores = keys_seen(time) * (2 * (q.width + q_rotary.width + values) + POINTWISE * self.heads)
        out_of_latent = 2 * latent.width * (q.width + values)
        turn = 3 * (q_rotary.width + k_rotary.width)
        return Cost(flops=scores + out_of_latent + turn, state_bytes=4 * time * (latent.width + k_rotary.width))

    def forward(
        self, w: Weights, q: Tensor, q_rotary: Tensor, latent: Tensor, k_rotary: Tensor, *, ctx: Context
    ) -> Tensor:
        return self._attend(w, q, q_rotary, latent, rotate(split_heads(k_rotary, 1)))

    def prefill(
        self, w: Weights, q: Tensor, q_rotary: Tensor, latent: Tensor, k_rotary: Tensor, *, ctx: Context
    ) -> tuple[Tensor, State]:
        turned = rotate(split_heads(k_rotary, 1))
        y = self._attend(w, q, q_rotary, latent, turned)
        return y, {"cache": torch.cat([latent, turned.view(k_rotary.shape)], -1)}

    def step(
        self,
        w: Weights,
        state: State,
        q: Tensor,
        q_rotary: Tensor,
        latent: Tensor,
        k_rotary: Tensor,
        *,
        ctx: Context,
    ) -> tuple[Tensor, State]:
        """One token; `cache` is `(E, B, T, L + R)`, the latents and turned parts of the keys.

        The maps out of the latent go to the query and the answer, so that the cache is read as it is: one head of keys.
        """
        copies, size, h = q.shape[0], latent.shape[-1], self.heads
        position = state["cache"].shape[2] if state else 0
        turned = rotate(split_heads(k_rotary.unsqueeze(2), 1), position).view(k_rotary.shape)
        cache = appended(state, {"cache": torch.cat([latent, turned], -1).unsqueeze(2)})
        query = torch.einsum("ebhc,ehcl->ebhl", q.unflatten(-1, (h, -1)), w["key"].unflatten(1, (h, -1)))
        turned = rotate(split_heads(q_rotary.unsqueeze(2), h), position).transpose(1, 2)
        query = torch.cat([query.flatten(0, 1).unsqueeze(2), turned], -1)
        keys = split_heads(cache["cache"], 1).transpose(1, 2)
        scale = (q.shape[-1] // h + k_rotary.shape[-1]) ** -0.5
        y = attend_last(query, keys, keys[..., :size], scale=scale).view(copies, -1, h, size)
        return torch.einsum("ebhl,ehvl->ebhv", y, w["value"].unflatten(1, (h, -1))).flatten(2), cache

    def _attend(self, w: Weights, q: Tensor, q_rotary: Tensor, latent: Tensor, turned: Tensor) -> Tensor:
        """All steps, keys and values read out of the latent; `turned` is `(N, T, 1, R)`."""
        heads = self.heads
        query = torch.cat([split_heads(q, heads), rotate(split_heads(q_rotary, heads))], -1)
        key = torch.cat([split_heads(linear(latent, w["key"]), heads), turned.expand(-1, -1, heads, -1)], -1)
        value = split_heads(linear(latent, w["value"]), heads)
        return join_heads(attend(*(x.transpose(1, 2) for x in (query, key, value))), q.shape[0])
