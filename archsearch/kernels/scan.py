"""First-order linear recurrences `h_t = a_t ⊙ h_{t−1} + b_t` over all time steps, the backward pass written out.

N sequences, T time, L lanes. Two formulations, chosen by `dispatch.scan_in_parallel`: with few lanes the odd/even scan
(Blelloch 1990), whose 2 log₂ T rounds each take every other step into its neighbour; with many lanes, where the scan is
bound by memory, one step after the other. Neither divides, takes logarithms or multiplies more decays than the
recurrence itself, so that a decay may be zero, negative or above one.

The gradient obeys the same recurrence backwards: `ḣ_t = g_t + a_{t+1} ḣ_{t+1}`, then `b̄_t = ḣ_t`, `ā_t = ḣ_t h_{t−1}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.dispatch import scan_in_parallel
from archsearch.kernels.precision import single

__all__ = ["blocks", "cumulate", "scan"]

_SHORT = 4  # steps below which another round of the scan costs more than the steps
_BLOCK = 1 << 18  # numbers of one operand that are worked on at a time: 16 × 1024 × 64 takes 0.35 of the time in blocks


def scan(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """The states of `h_t = a_t h_{t−1} + b_t`.

    Args:
        a, b: `(N, T, L)`; `a` may be an expanded view.
        start: the state before the first step, `(N, L)`; zero if `None`.

    Returns:
        `(N, T, L)`.
    """
    first = None if start is None else single(start)
    states: Tensor = _Scan.apply(single(a), single(b), first)  # type: ignore[no-untyped-call]
    return states.to(b.dtype)


def cumulate(b: Tensor, start: Tensor | None = None) -> Tensor:
    """What `scan` gives where every `a` is one: running sums."""
    sums = single(b).cumsum(1)
    return (sums if start is None else sums + start.unsqueeze(1)).to(b.dtype)


class _Scan(torch.autograd.Function):
    """Saves the decays, the states and the start. Sequences go in blocks that stay in a processor's cache."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor | None) -> Tensor:
        states = torch.empty_like(b, memory_format=torch.contiguous_format)
        parallel = scan_in_parallel(b.device, b.shape[2], b.shape[1])
        for n in blocks(b, parallel):
            first = b[n, :1] if start is None else torch.addcmul(b[n, :1], a[n, :1], start[n].unsqueeze(1))
            _fill(states[n], a[n], b[n], first, forwards=True, parallel=parallel)
        ctx.save_for_backward(a, states, start)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        a, states, start = ctx.saved_tensors
        d_b = torch.empty_like(states)
        d_a = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        parallel = scan_in_parallel(g.device, g.shape[2], g.shape[1])
        for n in blocks(states, parallel):
            # Step t of the recurrence backwards multiplies by a_{t+1}; what stands at the last place is never read.
            later = torch.cat([a[n, 1:], a[n, -1:]], 1)
            _fill(d_b[n], later, g[n], g[n, -1:], forwards=False, parallel=parallel)
            if d_a is not None:
                torch.mul(d_b[n, 1:], states[n, :-1], out=d_a[n, 1:])
                d_a[n, 0] = 0.0 if start is None else d_b[n, 0] * start[n]
        d_start = d_b[:, 0] * a[:, 0] if ctx.needs_input_grad[2] else None
        return d_a, d_b, d_start


def blocks(x: Tensor, parallel: bool) -> Iterator[slice]:
    """The sequences of `x`, `(N, ...)`: for a scan on a CPU in slices of at most about a megabyte, else in one."""
    size = max(1, _BLOCK // max(1, x[0].numel())) if parallel and x.device.type == "cpu" else x.shape[0]
    for n in range(0, x.shape[0], size):
        yield slice(n, n + size)


def _fill(states: Tensor, a: Tensor, b: Tensor, first: Tensor, *, forwards: bool, parallel: bool) -> None:
    """Writes all states, from the one that comes first in the direction of the recurrence; `b` there is not read."""
    (_odd_even if parallel else _step_by_step)(states, a, b, first, forwards)


def _step_by_step(states: Tensor, a: Tensor, b: Tensor, first: Tensor, forwards: bool) -> None:
    steps = list(zip(a.unbind(1), b.unbind(1), states.unbind(1), strict=True))
    if not forwards:
        steps.reverse()
    h = steps[0][2].copy_(first.squeeze(1))
    for a_t, b_t, new in steps[1:]:
        h = torch.addcmul(b_t, a_t, h, out=new)


def _odd_even(states: Tensor, a: Tensor, b: Tensor, first: Tensor, forwards: bool) -> None:
    """Halves the sequence: pairs of steps are one step of twice the stride; then fills in the steps between.

    Pairs end in time order at 1, 3, 5, ... forwards, and at T − 2, T − 4, ... backwards.
    """
    time = b.shape[1]
    if time <= _SHORT:
        _step_by_step(states, a, b, first, forwards)
        return
    half = time // 2
    begin = slice(0, 2 * half, 2) if forwards else slice(time - 2 * half + 1, None, 2)
    end = slice(1, None, 2) if forwards else slice(time - 2 * half, time - 1, 2)
    at = slice(0, 1) if forwards else slice(-1, None)
    a_end, b_end = a[:, end], b[:, end]
    outer = states[:, end]
    outer_first = torch.addcmul(b_end[:, at], a_end[:, at], first)
    _odd_even(outer, a[:, begin] * a_end, torch.addcmul(b_end, a_end, b[:, begin]), outer_first, forwards)
    states[:, at] = first
    if forwards:
        rest, before = slice(2, None, 2), outer[:, : (time - 1) // 2]
    else:
        rest, before = slice((time - 1) % 2, time - 2, 2), outer[:, half - (time - 1) // 2 :]
    torch.addcmul(b[:, rest], a[:, rest], before, out=states[:, rest])
