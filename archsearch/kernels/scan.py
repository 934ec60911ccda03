"""First-order linear recurrences `h_t = a_t ⊙ h_{t−1} + b_t` over all time steps, the backward pass written out.

N sequences, T time, L lanes. Three formulations, chosen by `dispatch.scan_chunk`: on a CPU chunks of time that run side
by side (`archsearch.kernels.chunk_scan`), or, with many lanes, where the scan is bound by memory, one step after the
other; on a GPU the odd/even scan (Blelloch 1990), whose 2 log₂ T rounds each take every other step into its neighbour.
None divides, takes logarithms or multiplies more decays than the recurrence itself, so that a decay may be zero,
negative or above one.

The gradient obeys the same recurrence backwards: `ḣ_t = g_t + a_{t+1} ḣ_{t+1}`, then `b̄_t = ḣ_t`, `ā_t = ḣ_t h_{t−1}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.chunk_scan import AFFINE, GATED, Kind, fill_in_chunks
from archsearch.kernels.dispatch import scan_chunk
from archsearch.kernels.precision import single

__all__ = ["blocks", "cumulate", "fill", "gated_scan", "scan"]

_SHORT = 4  # steps below which another round of the scan costs more than the steps
_BLOCK = 1 << 18  # numbers of one operand that an odd/even scan works on at a time on a CPU


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


def gated_scan(gate: Tensor, new: Tensor, start: Tensor | None = None) -> Tensor:
    """The states of `h_t = (1 − z_t) h_{t−1} + z_t c_t`, in which neither `1 − z` nor `z c` is held.

    Args:
        gate, new: z and c, `(N, T, L)`.
        start: the state before the first step, `(N, L)`; zero if `None`.

    Returns:
        `(N, T, L)`.
    """
    first = None if start is None else single(start)
    states: Tensor = _GatedScan.apply(single(gate), single(new), first)  # type: ignore[no-untyped-call]
    return states.to(new.dtype)


class _Scan(torch.autograd.Function):
    """Saves the decays, the states and the start."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor | None) -> Tensor:
        states = torch.empty_like(b, memory_format=torch.contiguous_format)
        _run(states, a, b, start, AFFINE)
        ctx.save_for_backward(a, states, start)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        a, states, start = ctx.saved_tensors
        d_b = _backwards(a, g)
        d_a = None
        if ctx.needs_input_grad[0]:
            d_a = torch.empty_like(states)
            torch.mul(d_b[:, 1:], states[:, :-1], out=d_a[:, 1:])
            d_a[:, 0] = 0.0 if start is None else d_b[:, 0] * start
        d_start = d_b[:, 0] * a[:, 0] if ctx.needs_input_grad[2] else None
        return d_a, d_b, d_start


class _GatedScan(torch.autograd.Function):
    """Saves the gates, what they let in, the states and the start."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, c: Tensor, start: Tensor | None) -> Tensor:
        states = torch.empty_like(c, memory_format=torch.contiguous_format)
        _run(states, z, c, start, GATED)
        ctx.save_for_backward(z, c, states, start)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        z, c, states, start = ctx.saved_tensors
        kept = 1.0 - z
        d = _backwards(kept, g)
        d_start = d[:, 0] * kept[:, 0] if ctx.needs_input_grad[2] else None
        d_z = kept  # which is not needed any more
        torch.sub(c[:, 1:], states[:, :-1], out=d_z[:, 1:])
        d_z[:, 0] = c[:, 0] if start is None else c[:, 0] - start
        return d_z.mul_(d), d.mul_(z), d_start


def _run(states: Tensor, a: Tensor, b: Tensor, start: Tensor | None, kind: Kind, forwards: bool = True) -> None:
    """Writes all states, from the state before the first step in the direction of the recurrence."""
    n, time, lanes = states.shape
    length = scan_chunk(states.device, n * lanes, time)
    first = states.new_zeros(n, lanes) if start is None else start
    if length:
        fill_in_chunks(states, a, b, first, length, kind, forwards=forwards)
        return
    if kind is GATED:
        a, b = 1.0 - a, a * b
    at = slice(0, 1) if forwards else slice(-1, None)
    fill(states, a, b, torch.addcmul(b[:, at], a[:, at], first.unsqueeze(1)), forwards=forwards, parallel=True)


def _backwards(a: Tensor, g: Tensor) -> Tensor:
    """`ḣ_t = g_t + a_{t+1} ḣ_{t+1}`."""
    d = torch.empty_like(g, memory_format=torch.contiguous_format)
    d[:, -1] = g[:, -1]
    if g.shape[1] > 1:
        _run(d[:, :-1], a[:, 1:], g[:, :-1], g[:, -1], AFFINE, forwards=False)
    return d


def blocks(x: Tensor) -> Iterator[slice]:
    """The sequences of `x`, `(N, ...)`: on a CPU in slices that stay in a processor's cache, else in one."""
    size = max(1, _BLOCK // max(1, x[0].numel())) if x.device.type == "cpu" else x.shape[0]
    for n in range(0, x.shape[0], size):
        yield slice(n, n + size)


def fill(states: Tensor, a: Tensor, b: Tensor, first: Tensor, *, forwards: bool, parallel: bool) -> None:
    """Writes all states, from the one that comes first in the direction of the recurrence; `b` there is not read.

    `states` may be `b` itself, whose numbers are then overwritten.
    """
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
