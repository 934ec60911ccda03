"""What kernels in chunks share: the states carried from chunk to chunk, and the inverse of a unit triangular matrix.

N sequences, M chunks, C steps of a chunk, R rows and V columns of a state.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["carry", "cut", "unit_inverse"]


def cut(x: Tensor, length: int, fill: float = 0.0) -> Tensor:
    """`(N, T, A)` to `(N, M, length, A)`, filled up at the end."""
    gap = -x.shape[1] % length
    whole = F.pad(x, (0, 0, 0, gap), value=fill) if gap else x
    chunks: Tensor = whole.unflatten(1, (-1, length))
    return chunks


def carry(step: Tensor, written: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The states of `S_{j+1} = P_j S_j + W_j`.

    Args:
        step: P, `(N, M, R, R)`.
        written: W, `(N, M, R, V)`.
        start: the first state, `(N, R, V)`; zero if `None`.

    Returns:
        The state before each chunk, `(N, M, R, V)`, and the one after the last, `(N, R, V)`.
    """
    first = torch.zeros_like(written[:, 0]) if start is None else start
    states: Tensor = _Carry.apply(step, written, first)  # type: ignore[no-untyped-call]
    return states[:-1].transpose(0, 1), states[-1]


class _Carry(torch.autograd.Function):
    """Chunks come first in memory, so that each product of the loop reads and writes whole blocks."""

    @staticmethod
    def forward(ctx: Any, step: Tensor, written: Tensor, start: Tensor) -> Tensor:
        p, w = step.transpose(0, 1).contiguous(), written.transpose(0, 1).contiguous()
        states = w.new_empty(w.shape[0] + 1, *w.shape[1:])
        states[0] = start
        for j, (p_j, w_j) in enumerate(zip(p.unbind(0), w.unbind(0), strict=True)):
            torch.baddbmm(w_j, p_j, states[j], out=states[j + 1])
        ctx.save_for_backward(p, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p, states = ctx.saved_tensors
        total = torch.empty_like(states)
        total[-1] = g[-1]
        for j in range(p.shape[0] - 1, -1, -1):
            torch.baddbmm(g[j], p[j].mT, total[j + 1], out=total[j])
        d_p = torch.matmul(total[1:], states[:-1].mT)
        return d_p.transpose(0, 1), total[1:].transpose(0, 1), total[0]


def unit_inverse(lower: Tensor) -> Tensor:
    """`(1 − A)⁻¹` of strictly lower triangular matrices `(..., C, C)`, of which no more is read."""
    inverse: Tensor = _UnitInverse.apply(lower)  # type: ignore[no-untyped-call]
    return inverse


class _UnitInverse(torch.autograd.Function):
    """The gradient needs the inverse X alone: `Ā = Xᵀ X̄ Xᵀ`, below the diagonal."""

    @staticmethod
    def forward(ctx: Any, lower: Tensor) -> Tensor:
        one = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        inverse: Tensor = torch.linalg.solve_triangular(-lower, one.expand_as(lower), upper=False, unitriangular=True)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        inverse: Tensor = ctx.saved_tensors[0]
        d: Tensor = (inverse.mT @ g @ inverse.mT).tril(-1)
        return d
