"""Additive attention, whose scores are `u · tanh(q_t + k_s)`, without holding the features of all pairs of steps.

N = copies × batch × heads; T time, S keys, A features of a score, V of a value. Sequences and queries go in chunks: the
features of a chunk's pairs, `(N', T', S, A)`, are formed, used and dropped, forwards and again backwards. A causal
chunk forms the keys up to its last query only, so half of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.dispatch import pairs_at_once

__all__ = ["additive_attention"]

_QUERIES = 32  # queries that a chunk takes, if it can, before it takes a second sequence

Chunk = tuple[slice, slice, slice, Tensor | None]


def _chunks(q: Tensor, k: Tensor, causal: bool) -> Iterator[Chunk]:
    """Sequences, queries and keys of each chunk, and which of these keys each of its queries must not see."""
    (n, t, _), s = q.shape, k.shape[1]
    size = max(1, pairs_at_once(q.device) // (s * q.shape[2]))
    many, queries = max(1, size // _QUERIES), min(size, _QUERIES)
    for first in range(0, t, queries):
        last = min(first + queries, t)
        seen, later = s, None
        if causal:
            seen = last
            later = torch.ones(last - first, last, dtype=torch.bool, device=q.device).triu_(first + 1)
        for i in range(0, n, many):
            yield slice(i, i + many), slice(first, last), slice(0, seen), later


def _weights(q: Tensor, k: Tensor, u: Tensor, later: Tensor | None) -> tuple[Tensor, Tensor]:
    """The features of all pairs, `(N, T, S, A)`, and the weights of the keys, `(N, T, S)`."""
    features = torch.tanh_(q.unsqueeze(2) + k.unsqueeze(1))
    scores = torch.bmm(features.flatten(1, 2), u.unsqueeze(2)).view(features.shape[:3])
    if later is not None:
        scores.masked_fill_(later, -torch.inf)
    return features, torch.softmax(scores, -1)


class _Additive(torch.autograd.Function):
    """Saves its inputs alone."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, u: Tensor, causal: bool) -> Tensor:
        ctx.save_for_backward(q, k, v, u)
        ctx.causal = causal
        y = v.new_empty(q.shape[0], q.shape[1], v.shape[2])
        for n, t, s, later in _chunks(q, k, causal):
            y[n, t] = torch.bmm(_weights(q[n, t], k[n, s], u[n], later)[1], v[n, s])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """`Σ d u (1 − tanh²)` is taken as `u (Σ d − Σ d tanh²)`, which forms no second tensor of pairs."""
        q, k, v, u = ctx.saved_tensors
        d_q, d_k, d_v, d_u = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v), torch.zeros_like(u)
        for n, t, s, later in _chunks(q, k, ctx.causal):
            features, p = _weights(q[n, t], k[n, s], u[n], later)
            d_v[n, s] += torch.bmm(p.mT, g[n, t])
            d_p = torch.bmm(g[n, t], v[n, s].mT)
            d = p * (d_p - (d_p * p).sum(-1, keepdim=True))  # of the scores
            d_u[n] += torch.bmm(d.flatten(1).unsqueeze(1), features.flatten(1, 2)).squeeze(1)
            spread = features.square_().mul_(d.unsqueeze(3))
            d_q[n, t] = d.sum(2).unsqueeze(2) - spread.sum(2)
            d_k[n, s] += d.sum(1).unsqueeze(2) - spread.sum(1)
        factor = u.unsqueeze(1)
        return d_q.mul_(factor), d_k.mul_(factor), d_v, d_u, None


def additive_attention(q: Tensor, k: Tensor, v: Tensor, u: Tensor, *, causal: bool) -> Tensor:
    """Attention of every step to all steps, or to those up to itself.

    Args:
        q, k: projected queries and keys, `(N, T, A)` and `(N, S, A)`; T = S where causal.
        v: `(N, S, V)`.
        u: what weighs the features of a score, `(N, A)`.

    Returns:
        `(N, T, V)`.
    """
    y: Tensor = _Additive.apply(q, k, v, u, causal)  # type: ignore[no-untyped-call]
    return y
