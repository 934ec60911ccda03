"""Linear attention with decays in chunks, one node of the autograd tape, the backward pass written out.

    S_t = g_t ⊙ S_{t−1} + k_t v_tᵀ        y_t = S_tᵀ q_t

N sequences, T time, M chunks of C steps, R rows, V columns; A is 1 for a decay a sequence and R for one a row. With F
the running sum of `log g` in a chunk, seen from the middle of the chunk, `q̂ = q exp(F)` and `k̂ = k exp(−F)` make a
chunk one without decay (Yang et al. 2023, arXiv:2312.06635, section 4); `enter` and `leave` are what is left of a state
from the start of a chunk to its middle and from there to its end. That holds while the exponents are in range: `fits`.

The gradient of `log g_t` needs no factor of its own: it is an exponent of each product `q_t · k_s` between whose steps
it stands, hence the sum over the rest of the chunk of `q̂ · dq̂ − k̂ · dk̂`, and `S · dS` at the end of the chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.chunk_states import cut

__all__ = ["exponent_gradient", "factors", "fits", "half", "scaled_attention"]

_HALF = 16  # steps to either side of the middle of a chunk
_RANGE = 60.0  # exponents to either side of the middle of a chunk that single precision holds, and products of them


def fits(log_g: Tensor) -> bool:
    """Whether no factor of any chunk leaves its range: false for what is not a number, too."""
    return bool(cut(log_g.detach(), half(log_g.shape[1], _HALF)).sum(2).amin() >= -_RANGE)


def half(time: int, most: int) -> int:
    """Half of a chunk's steps."""
    return max(1, min(most, time // 2))


def factors(log_g: Tensor | None, length: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`exp(F)`, `(N, M, C, A)`, and `enter` and `leave`, `(N, M, A, 1)`."""
    if log_g is None:
        return None, None, None
    since = cut(log_g, length).cumsum(2)
    middle = since[:, :, length // 2 - 1 : length // 2]
    ahead = since - middle
    return ahead.exp(), middle.exp().mT, ahead[:, :, -1:].exp().mT


def exponent_gradient(own: Tensor, states: Tensor, d_states: Tensor, grown: Tensor) -> Tensor:
    """The gradient of `log g`, `(N, M · C, A)`.

    Args:
        own: what each step's exponent adds to the loss, `(N, M, C, R)`.
        states, d_states: `(M + 1, N, R, V)`.
        grown: `(N, M, C, A)`.
    """
    whole = (states[1:] * d_states[1:]).sum(-1).transpose(0, 1).unsqueeze(2)
    if grown.shape[-1] == 1:
        own, whole = own.sum(-1, keepdim=True), whole.sum(-1, keepdim=True)
    return (own.sum(2, keepdim=True) + whole + own - own.cumsum(2)).flatten(1, 2)


def scaled_attention(q: Tensor, k: Tensor, v: Tensor, log_g: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All readings from an empty state, and the state after the last step.

    Args:
        q, k: `(N, T, R)`.
        v: `(N, T, V)`.
        log_g: `(N, T, A)`, at most 0; `None` where nothing is forgotten.

    Returns:
        `(N, T, V)` and `(N, R, V)`.
    """
    y, last = _ScaledAttention.apply(q, k, v, log_g)  # type: ignore[no-untyped-call]
    return y, last


class _ScaledAttention(torch.autograd.Function):
    """Works on chunks with N and M as one axis of matrices; states have M first, so that a step is one block."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_g: Tensor | None) -> tuple[Tensor, Tensor]:
        n, time = q.shape[:2]
        length = 2 * half(time, _HALF)
        q, k, v = (cut(x, length) for x in (q, k, v))
        m = q.shape[1]
        grown, enter, leave = factors(log_g, length)
        if grown is not None:
            q, k = q * grown, k / grown
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        written = (k.mT @ v).view(n, m, k.shape[-1], -1)
        states = _states(written, enter, leave)
        inside = (q @ k.mT).tril_()
        before = states[:-1].transpose(0, 1)
        y = torch.baddbmm(q @ (before if enter is None else before * enter).reshape(n * m, -1, v.shape[-1]), inside, v)
        ctx.save_for_backward(q, k, v, inside, states, grown, enter, leave)
        ctx.time = time
        return y.view(n, m * length, -1)[:, :time], states[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        q, k, v, inside, states, grown, enter, leave = ctx.saved_tensors
        m, n, length, time = states.shape[0] - 1, states.shape[1], q.shape[1], ctx.time
        d_y = cut(g, length).flatten(0, 1)
        read = (q.mT @ d_y).view(n, m, *states.shape[2:])
        d_states = _states_backwards(read, g_last, enter, leave)  # (M + 1, N, R, V)
        after = d_states[1:].transpose(0, 1)
        d_written = (after if leave is None else after * leave).reshape(n * m, *states.shape[2:])
        before = states[:-1].transpose(0, 1)
        before = (before if enter is None else before * enter).reshape(n * m, *states.shape[2:])
        d_inside = (d_y @ v.mT).tril_()
        d_q = torch.baddbmm(d_y @ before.mT, d_inside, k)
        d_k = torch.baddbmm(v @ d_written.mT, d_inside.mT, q)
        d_v = torch.baddbmm(k @ d_written, inside.mT, d_y)
        d_log_g = None
        if grown is not None:
            d_log_g = exponent_gradient((q * d_q - k * d_k).view(n, m, length, -1), states, d_states, grown)[:, :time]
            d_q, d_k = d_q.view(n, m, length, -1) * grown, d_k.view(n, m, length, -1) / grown
        d_q, d_k, d_v = (x.view(n, m * length, -1)[:, :time] for x in (d_q, d_k, d_v))
        return d_q, d_k, d_v, d_log_g


def _states(written: Tensor, enter: Tensor | None, leave: Tensor | None) -> Tensor:
    """The states before each chunk and after the last, `(M + 1, N, R, V)`."""
    n, m, *shape = written.shape
    states = written.new_empty(m + 1, n, *shape)
    states[0].zero_()
    if enter is None or leave is None:
        for j, new_j in enumerate(written.unbind(1)):
            torch.add(states[j], new_j, out=states[j + 1])
        return states
    new, kept = (written * leave).unbind(1), (enter * leave).unbind(1)
    for j in range(m):
        torch.addcmul(new[j], kept[j], states[j], out=states[j + 1])
    return states


def _states_backwards(read: Tensor, last: Tensor, enter: Tensor | None, leave: Tensor | None) -> Tensor:
    """The gradients of the states, `(M + 1, N, R, V)`."""
    n, m, *shape = read.shape
    d = read.new_empty(m + 1, n, *shape)
    d[m] = last
    if enter is None or leave is None:
        for j, r in zip(range(m - 1, -1, -1), reversed(read.unbind(1)), strict=True):
            torch.add(r, d[j + 1], out=d[j])
        return d
    new, kept = (read * enter).unbind(1), (enter * leave).unbind(1)
    for j in range(m - 1, -1, -1):
        torch.addcmul(new[j], kept[j], d[j + 1], out=d[j])
    return d
