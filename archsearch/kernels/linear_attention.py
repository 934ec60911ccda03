"""States of matrices that outer products are added to, `S_t = g_t S_{t−1} + k_t v_tᵀ`, `y_t = S_tᵀ q_t`, in chunks.

N sequences (copies × batch × heads), T time, M chunks of C steps, R rows (keys), V columns (values). Within a chunk a
reading is a C×C matrix of products of queries and keys, weighted with the decay between them; between chunks one state
a chunk is carried (Yang et al. 2023, arXiv:2312.06635). The decay between two steps is a product of factors, never a
quotient of two, so that factors may be zero or negative, and nothing overflows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.dispatch import chunk_length
from archsearch.kernels.row_decay import Level, ends, levels_of, row_scores
from archsearch.kernels.scan import scan

__all__ = ["Chunks", "Decay", "chunked", "last", "read", "states"]


@dataclass(frozen=True, slots=True)
class Decay:
    """The factors by which a chunk forgets, one for all rows.

    Args:
        between: `(N, M, C, C, 1)`: what is left at step t of what was written at step s, zero for s > t.
        since: `(N, M, C, 1)`: what is left at step t of the state before the chunk.
    """

    between: Tensor
    since: Tensor

    @property
    def until(self) -> Tensor:
        """What is left after the chunk of what was written at step s, `(N, M, C, 1)`."""
        return self.between[:, :, -1]

    @property
    def whole(self) -> Tensor:
        """What is left after the chunk of the state before it, `(N, M, 1)`."""
        return self.since[:, :, -1]

    def earlier(self) -> Decay:
        """The same as seen a step earlier, before the step's own factor."""
        between = F.pad(self.between, (0, 0, 0, 0, 1, 0))[:, :, :-1]
        return Decay(between, torch.cat([torch.ones_like(self.since[:, :, :1]), self.since[:, :, :-1]], 2))


@dataclass(frozen=True, slots=True)
class RowDecay:
    """The factors by which a chunk forgets, one for each row; see `archsearch.kernels.row_decay`.

    Args:
        factors: of each step, `(N, M, C, R)`; levels: what they make of its blocks.
        since: what is left at step t of the state before the chunk, `(N, M, C, R)`.
        until: what is left after the chunk of what was written at step s, `(N, M, C, R)`.
    """

    factors: Tensor
    levels: list[Level]
    since: Tensor
    until: Tensor

    @property
    def whole(self) -> Tensor:
        """What is left after the chunk of the state before it, `(N, M, R)`."""
        return self.since[:, :, -1]


@dataclass(frozen=True, slots=True)
class Chunks:
    """What is written, cut into chunks.

    Args:
        time: steps before the last chunk was filled up with zeros.
        k, v: `(N, M, C, R)` and `(N, M, C, V)`.
        decay: `None` where nothing is forgotten.
        start: the state before the first step, `(N, R, V)`; `None` for zero.
    """

    time: int
    k: Tensor
    v: Tensor
    decay: Decay | RowDecay | None
    start: Tensor | None

    def cut(self, x: Tensor) -> Tensor:
        """`(N, T, ...)` to `(N, M, C, ...)`."""
        return cut(x, self.k.shape[2])


def chunked(k: Tensor, v: Tensor, decay: Tensor | None = None, start: Tensor | None = None) -> Chunks:
    """Cuts what is written into chunks.

    Args:
        k, v: `(N, T, R)` and `(N, T, V)`.
        decay: `(N, T, 1)`, or `(N, T, R)` for a factor a row.
        start: the state before the first step, `(N, R, V)`.
    """
    rows = decay is not None and decay.shape[2] > 1
    length = chunk_length(k.device, k.shape[2])
    length = min(length, 1 << (k.shape[1] - 1).bit_length() if rows else k.shape[1])
    factors: Decay | RowDecay | None = None
    if decay is not None:
        g = cut(decay, length, 1.0)
        factors = _row_decay(g) if rows else _decay(g)
    return Chunks(k.shape[1], cut(k, length), cut(v, length), factors, start)


def cut(x: Tensor, length: int, fill: float = 0.0) -> Tensor:
    """`(N, T, A)` to `(N, M, length, A)`, filled up at the end."""
    gap = -x.shape[1] % length
    return F.pad(x, (0, 0, 0, gap), value=fill).view(x.shape[0], -1, length, x.shape[2])


def _decay(g: Tensor) -> Decay:
    """The decay of `(N, M, C, 1)` factors: one recurrence from every step of a chunk on, and one from before it."""
    n, m, c, a = g.shape
    one = torch.eye(c, dtype=g.dtype, device=g.device).view(1, c, c, 1).expand(n * m, c, c, a).reshape(n * m, c, c * a)
    factors = g.reshape(n * m, c, 1, a)
    between = scan(factors.expand(n * m, c, c, a).reshape(n * m, c, c * a), one)
    between = between.view(n, m, c, c, a)
    return Decay(between, between[:, :, :, 0] * g[:, :, :1])


def _row_decay(g: Tensor) -> RowDecay:
    levels = levels_of(g)
    return RowDecay(g, levels, *ends(g, levels))


def states(chunks: Chunks) -> Tensor:
    """The state before each chunk, `(N, M, R, V)`."""
    k = chunks.k if chunks.decay is None else chunks.k * chunks.decay.until
    written = k.mT @ chunks.v
    n, m, r, v = written.shape
    first = written.new_zeros(n, r, v) if chunks.start is None else chunks.start
    if chunks.decay is None:
        return torch.cat([first.unsqueeze(1), written[:, :-1]], 1).cumsum(1)
    whole = chunks.decay.whole.unsqueeze(-1).expand(n, m, -1, v)
    after = scan(whole.expand(n, m, r, v).reshape(n, m, r * v), written.view(n, m, r * v), first.reshape(n, r * v))
    return torch.cat([first.unsqueeze(1), after.view(n, m, r, v)[:, :-1]], 1)


def last(chunks: Chunks, before: Tensor) -> Tensor:
    """The state after the last step, `(N, R, V)`.

    Args:
        before: the state before each chunk, `(N, M, R, V)`.
    """
    k, state = chunks.k[:, -1], before[:, -1]
    if chunks.decay is not None:
        k, state = k * chunks.decay.until[:, -1], state * chunks.decay.whole[:, -1].unsqueeze(-1)
    return torch.baddbmm(state, k.mT, chunks.v[:, -1])


def read(q: Tensor, chunks: Chunks, before: Tensor) -> Tensor:
    """`y_t = S_tᵀ q_t`.

    Args:
        q: `(N, T, R)`.
        before: the state before each chunk, `(N, M, R, V)`.

    Returns:
        `(N, T, V)`.
    """
    x = chunks.cut(q)
    weights = scores(x, chunks.k, chunks.decay)
    since = x if chunks.decay is None else x * chunks.decay.since
    y = torch.matmul(since, before) + torch.matmul(weights, chunks.v)
    return y.flatten(1, 2)[:, : chunks.time]


def scores(q: Tensor, k: Tensor, decay: Decay | RowDecay | None) -> Tensor:
    """What a query at step t finds of what was written at step s ≤ t: `(N, M, C, C)`."""
    if decay is None:
        return (q @ k.mT).tril()
    if isinstance(decay, Decay):
        return (q @ k.mT) * decay.between.squeeze(-1)
    return row_scores(q, k, decay.factors, decay.levels)
