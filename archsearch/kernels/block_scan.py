"""Linear recurrences of a few coupled values, `h_t = A_t h_{t−1} + b_t` with a k×k matrix for every lane.

N sequences, T time, K = k values that are carried, L lanes. The odd/even scan of `archsearch.kernels.scan` with
matrices for decays: pairs of steps are one step of twice the stride, 2 log₂ T rounds in all. The gradient obeys the
same recurrence backwards with the matrices turned over: `ḣ_t = g_t + A_{t+1}ᵀ ḣ_{t+1}`, `Ā_t = ḣ_t h_{t−1}ᵀ`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.precision import single
from archsearch.kernels.scan import blocks

__all__ = ["block_scan"]

_SHORT = 4


def block_scan(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """The states of `h_t = A_t h_{t−1} + b_t`.

    Args:
        a: `(N, T, K, K, L)`.
        b: `(N, T, K, L)`.
        start: the state before the first step, `(N, K, L)`.

    Returns:
        `(N, T, K, L)`.
    """
    states: Tensor = _BlockScan.apply(single(a), single(b), single(start))  # type: ignore[no-untyped-call]
    return states.to(b.dtype)


class _BlockScan(torch.autograd.Function):
    """Saves the matrices, the states and the start."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        states = torch.empty_like(b, memory_format=torch.contiguous_format)
        for n in blocks(a):
            _fill(states[n], a[n], b[n], _apply(a[n, :1], start[n].unsqueeze(1), b[n, :1]), forwards=True)
        ctx.save_for_backward(a, states, start)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        a, states, start = ctx.saved_tensors
        turned = a.transpose(2, 3)
        d_b = torch.empty_like(states)
        for n in blocks(a):
            later = torch.cat([turned[n, 1:], turned[n, -1:]], 1)
            _fill(d_b[n], later, g[n], g[n, -1:], forwards=False)
        d_a = None
        if ctx.needs_input_grad[0]:
            before = torch.cat([start.unsqueeze(1), states[:, :-1]], 1)
            d_a = d_b.unsqueeze(3) * before.unsqueeze(2)
        d_start = _apply(turned[:, :1], d_b[:, :1]).squeeze(1) if ctx.needs_input_grad[2] else None
        return d_a, d_b, d_start


def _apply(a: Tensor, h: Tensor, b: Tensor | None = None) -> Tensor:
    """`A h + b`, lane by lane: `(N, T, K, K, L)` and `(N, T, K, L)`."""
    y = torch.zeros_like(h) if b is None else b
    for j in range(h.shape[2]):
        y = torch.addcmul(y, a[:, :, :, j], h[:, :, j : j + 1])
    return y


def _product(a: Tensor, b: Tensor) -> Tensor:
    """`A B`, lane by lane."""
    y = a[:, :, :, :1] * b[:, :, :1]
    for j in range(1, a.shape[3]):
        y.addcmul_(a[:, :, :, j : j + 1], b[:, :, j : j + 1])
    return y


def _fill(states: Tensor, a: Tensor, b: Tensor, first: Tensor, forwards: bool) -> None:
    """Writes all states, from the one that comes first in the direction of the recurrence; `b` there is not read."""
    time = b.shape[1]
    if time <= _SHORT:
        order = range(time) if forwards else range(time - 1, -1, -1)
        for t in order:
            first = _apply(a[:, t : t + 1], first, b[:, t : t + 1]) if t != order[0] else first
            states[:, t : t + 1] = first
        return
    half = time // 2
    begin = slice(0, 2 * half, 2) if forwards else slice(time - 2 * half + 1, None, 2)
    end = slice(1, None, 2) if forwards else slice(time - 2 * half, time - 1, 2)
    at = slice(0, 1) if forwards else slice(-1, None)
    a_end, b_end, outer = a[:, end], b[:, end], states[:, end]
    outer_first = _apply(a_end[:, at], first, b_end[:, at])
    _fill(outer, _product(a_end, a[:, begin]), _apply(a_end, b[:, begin], b_end), outer_first, forwards)
    states[:, at] = first
    if forwards:
        rest, before = slice(2, None, 2), outer[:, : (time - 1) // 2]
    else:
        rest, before = slice((time - 1) % 2, time - 2, 2), outer[:, half - (time - 1) // 2 :]
    states[:, rest] = _apply(a[:, rest], before, b[:, rest])
