"""Decays of a factor a row within chunks of C steps, by blocks of 1, 2, 4, ..., C steps.

What is left at step t of what was written at step s is one product: from s to the end of the largest block that holds s
and not t, and from the start of the next one, which holds t. So pairs of steps are products of matrices, the factors
between all of them are never held, and nothing is divided (secondary chunks: Yang et al. 2023, arXiv:2312.06635,
section 4.3). N sequences, M chunks, C steps, R rows; `before` is what is left at a step of what was there before its
block, `after` what is left after its block of what was written at a step, both `(N, M, C, R)`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Level", "ends", "levels_of", "row_scores"]

Level = tuple[int, Tensor, Tensor]
"""The size of its blocks, `before` and `after`."""


def ends(g: Tensor, levels: list[Level]) -> tuple[Tensor, Tensor]:
    """What is left at each step of the state before its chunk, and after its chunk of what was written at each step.

    Args:
        g: the factor of each step, `(N, M, C, R)`, C a power of two; levels: its own.
    """
    before, after = _Ends.apply(g, levels)  # type: ignore[no-untyped-call]
    return before, after


def row_scores(q: Tensor, k: Tensor, g: Tensor, levels: list[Level]) -> Tensor:
    """What a query at step t finds of what was written at step s ≤ t, `(N, M, C, C)`.

    Args:
        q, k, g: `(N, M, C, R)`, C a power of two; levels: those of g.
    """
    found: Tensor = _Scores.apply(q, k, g, levels)  # type: ignore[no-untyped-call]
    return found


def levels_of(g: Tensor) -> list[Level]:
    """From blocks of one step to the whole chunk, without gradients: they go by the factors themselves."""
    g = g.detach().contiguous()
    levels = [(1, g, torch.ones_like(g))]
    while levels[-1][0] < g.shape[2]:
        size, before, after = levels[-1]
        more, less = torch.empty_like(g), torch.empty_like(g)
        (b0, b1), (a0, a1) = _halves(before, size), _halves(after, size)
        (m0, m1), (l0, l1) = _halves(more, size), _halves(less, size)
        m0.copy_(b0)
        torch.mul(b1, b0[..., -1:, :], out=m1)
        torch.mul(a0, b1[..., -1:, :], out=l0)
        l1.copy_(a1)
        levels.append((2 * size, more, less))
    return levels


def _halves(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """The first and the second halves of blocks of 2 `size` steps, `(N, M, C / 2 size, size, R)` each."""
    halves: tuple[Tensor, ...] = x.unflatten(2, (-1, 2, size)).unbind(3)
    return halves


def _down(level: Level, d_before: Tensor, d_after: Tensor) -> None:
    """The gradients of blocks twice as large to those of the blocks of `level`, in place."""
    size, before, after = level
    (b0, b1), (a0, _) = _halves(before, size), _halves(after, size)
    (d_b0, d_b1), (d_a0, _) = _halves(d_before, size), _halves(d_after, size)
    d_b0[..., -1, :] += (d_b1 * b1).sum(-2)
    d_b1 *= b0[..., -1:, :]
    d_b1[..., -1, :] += (d_a0 * a0).sum(-2)
    d_a0 *= b1[..., -1:, :]


class _Ends(torch.autograd.Function):
    """Keeps the levels."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, levels: list[Level]) -> tuple[Tensor, Tensor]:
        ctx.levels = levels
        _, before, after = levels[-1]
        return before.clone(), after.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_before: Tensor, d_after: Tensor) -> tuple[Tensor, None]:
        d_before, d_after = (d.clone(memory_format=torch.contiguous_format) for d in (d_before, d_after))
        for level in ctx.levels[-2::-1]:
            _down(level, d_before, d_after)
        return d_before, None


class _Scores(torch.autograd.Function):
    """Saves queries and keys; keeps the levels."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, g: Tensor, levels: list[Level]) -> Tensor:
        ctx.save_for_backward(q, k)
        ctx.levels = levels
        found = q.new_zeros(*q.shape[:3], q.shape[2])
        found.diagonal(dim1=2, dim2=3).copy_((q * k).sum(-1))
        for size, before, after in levels[:-1]:
            reads, writes = (
                _halves(q, size)[1] * _halves(before, size)[1],
                _halves(k, size)[0] * _halves(after, size)[0],
            )
            _blocks(found, size).copy_(_pairs(reads, writes))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k = ctx.saved_tensors
        alone = d.diagonal(dim1=2, dim2=3).unsqueeze(-1)
        d_q, d_k = alone * k, alone * q
        d_before, d_after = (q.new_zeros(q.shape) for _ in range(2))
        for level in ctx.levels[-2::-1]:
            size, before, after = level
            _down(level, d_before, d_after)
            (_, q1), (k0, _), (_, b1), (a0, _) = (_halves(x, size) for x in (q, k, before, after))
            given = _blocks(d, size)
            d_reads, d_writes = _product(given, k0 * a0), _product(given.mT, q1 * b1)
            _halves(d_q, size)[1].addcmul_(d_reads, b1)
            _halves(d_k, size)[0].addcmul_(d_writes, a0)
            _halves(d_before, size)[1].addcmul_(d_reads, q1)
            _halves(d_after, size)[0].addcmul_(d_writes, k0)
        return d_q, d_k, d_before, None


def _blocks(x: Tensor, size: int) -> Tensor:
    """Of `(N, M, C, C)` what second halves of blocks of 2 `size` steps find in the first, `(N, M, ·, size, size)`."""
    blocks: Tensor = x.unflatten(3, (-1, 2, size)).unflatten(2, (-1, 2, size))[:, :, :, 1, :, :, 0]
    return blocks.diagonal(dim1=2, dim2=4).movedim(-1, 2)


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """`a bᵀ`; products of single rows are sums."""
    return (a * b).sum(-1, keepdim=True) if a.shape[-2] == 1 else a @ b.mT


def _product(a: Tensor, b: Tensor) -> Tensor:
    return a * b if b.shape[-2] == 1 else a @ b
