"""Linear attention with decays in chunks, one node of the autograd tape, the backward pass written out.

    S_t = g_t ⊙ S_{t−1} + k_t v_tᵀ        y_t = S_tᵀ q_t

E copies, B batch, G = E·B, H heads, T time, M chunks of C steps, R rows, V columns; A is 1 for a decay a head and R for
one a row. With F the running sum of `log g` in a chunk, seen from the middle of the chunk, `q̂ = q exp(F)` and `k̂ = k
exp(−F)` make a chunk one without decay (Yang et al. 2023, arXiv:2312.06635, section 4). The state before a chunk is
held as what is left of it at the middle, Ŝ, so that `Ŝ_{j+1} = kept_j (Ŝ_j + k̂ᵀ v)`, `kept_j` from one middle to the
next. That holds while the exponents are in range: `fits`.

The gradient of `log g_t` needs no factor of its own: it is an exponent of each product `q_t · k_s` between whose steps
it stands, hence the sum over the rest of the chunk of `q̂ · dq̂ − k̂ · dk̂`, and `S · dS` at the end of the chunk.

Inputs come as `(E, B, T, H, A)` and go to `(M, G, H, C, A)` with the one pass that scales them, and back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Factors", "chunks_first", "exponent_gradient", "factors", "fits", "scaled_attention", "time_first"]

_RANGE = 60.0  # exponents to either side of the middle of a chunk that single precision holds, and products of them


class Factors(NamedTuple):
    """What scales a chunk, empty where nothing is forgotten.

    Args:
        grown: `exp(F)`, `(M, G, H, C, A)`.
        kept: of a state at the middle of a chunk, at that of the next or the end of the last, `(M, G · H, A, 1)`.
    """

    grown: Tensor | None = None
    kept: Tensor | None = None


def fits(log_g: Tensor, length: int) -> bool:
    """Whether no factor of chunks of `length` steps leaves its range: false for what is not a number, too.

    Args:
        log_g: `(E, B, T, H, A)`.
    """
    return bool(_cut(log_g.detach().flatten(0, 1), length // 2).sum(2).amin() >= -_RANGE)


def _cut(x: Tensor, length: int) -> Tensor:
    """`(G, T, H, A)` to `(G, M, C, H, A)`, filled up with zeros."""
    gap = -x.shape[1] % length
    whole = F.pad(x, (0, 0, 0, 0, 0, gap)) if gap else x
    chunks: Tensor = whole.unflatten(1, (-1, length))
    return chunks


def chunks_first(x: Tensor, length: int, scale: Tensor | None = None, *, over: bool = False) -> Tensor:
    """`(E, B, T, H, A)` to `(M, G, H, C, A)`, times `scale` of that shape, or over it."""
    view = _cut(x.flatten(0, 1), length).permute(1, 0, 3, 2, 4)
    out = torch.empty(view.shape, dtype=x.dtype, device=x.device)
    if scale is None:
        return out.copy_(view)
    return torch.div(view, scale, out=out) if over else torch.mul(view, scale, out=out)


def time_first(x: Tensor, outer: tuple[int, ...], scale: Tensor | None = None, *, over: bool = False) -> Tensor:
    """The way back, `(E, B, T, H, A)`, with E, B and T given by `outer`."""
    m, g, h, c, a = x.shape
    out = x.new_empty(g, m, c, h, a)
    view = out.permute(1, 0, 3, 2, 4)
    if scale is None:
        view.copy_(x)
    else:
        (torch.div if over else torch.mul)(x, scale, out=view)
    return out.view(*outer[:2], m * c, h, a)[:, :, : outer[2]]


def factors(log_g: Tensor | None, length: int) -> Factors:
    """Of `(E, B, T, H, A)`."""
    if log_g is None:
        return Factors()
    ahead = _cut(log_g.flatten(0, 1), length).cumsum(2)
    middle = ahead[:, :, length // 2 - 1 : length // 2].clone()
    grown = ahead.sub_(middle).exp_().permute(1, 0, 3, 2, 4)
    kept = grown[:, :, :, -1].clone(memory_format=torch.contiguous_format)
    kept[:-1] *= middle[:, 1:, 0].transpose(0, 1).exp()
    return Factors(grown, kept.flatten(1, 2).unsqueeze(-1))


def exponent_gradient(own: Tensor, states: Tensor, d_states: Tensor, grown: Tensor, outer: tuple[int, ...]) -> Tensor:
    """The gradient of `log g`, `(E, B, T, H, A)`; `outer` as in `time_first`.

    Args:
        own: what each step's exponent adds to the loss, `(M, G, H, C, R)`; overwritten.
        states, d_states: `(M + 1, G · H, R, V)`.
    """
    whole = (states[1:] * d_states[1:]).sum(-1).view(*own.shape[:3], 1, -1)
    if grown.shape[-1] == 1:
        own, whole = own.sum(-1, keepdim=True), whole.sum(-1, keepdim=True)
    so_far = own.cumsum(3)
    own.sub_(so_far).add_(so_far[:, :, :, -1:] + whole)
    return time_first(own, outer)


def scaled_attention(q: Tensor, k: Tensor, v: Tensor, log_g: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
    """All readings from an empty state, and the state after the last step.

    Args:
        q, k: `(E, B, T, H, R)`.
        v: `(E, B, T, H, V)`.
        log_g: `(E, B, T, H, A)`, at most 0; `None` where nothing is forgotten.
        length: C, even; see `dispatch.scaled_chunk`.

    Returns:
        `(E, B, T, H, V)` and `(E, B, H, R, V)`.
    """
    y, last = _ScaledAttention.apply(q, k, v, log_g, length)  # type: ignore[no-untyped-call]
    return y, last


class _ScaledAttention(torch.autograd.Function):
    """Products take M, G and H as one axis; chunks come first in memory, so that a step of states is one block."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_g: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        f = factors(log_g, length)
        ctx.outer = outer = q.shape[:3]
        q, k, v = chunks_first(q, length, f.grown), chunks_first(k, length, f.grown, over=True), chunks_first(v, length)
        shape = v.shape
        q, k, v = (x.flatten(0, 2) for x in (q, k, v))
        states = _states((k.mT @ v).unflatten(0, (shape[0], -1)), f.kept)
        inside = (q @ k.mT).tril_()
        y = (q @ states[:-1].flatten(0, 1)).baddbmm_(inside, v)
        ctx.save_for_backward(q, k, v, inside, states, *f)
        ctx.shape = shape
        return time_first(y.view(shape), outer), states[-1].view(*outer[:2], *shape[2:3], *states.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, inside, states, grown, kept = ctx.saved_tensors
        shape, outer = ctx.shape[:-1], ctx.outer
        d_y = chunks_first(g, shape[-1]).flatten(0, 2)
        d_states, d_written = _states_backwards((q.mT @ d_y).unflatten(0, (shape[0], -1)), g_last.flatten(0, 2), kept)
        d_written = d_written.flatten(0, 1)
        d_inside = (d_y @ v.mT).tril_()
        d_q = (d_y @ states[:-1].flatten(0, 1).mT).baddbmm_(d_inside, k)
        d_k = (v @ d_written.mT).baddbmm_(d_inside.mT, q)
        d_v = (k @ d_written).baddbmm_(inside.mT, d_y)
        d_log_g = None
        if grown is not None:
            own = (q * d_q).addcmul_(k, d_k, value=-1.0).view(*shape, -1)
            d_log_g = exponent_gradient(own, states, d_states, grown, outer)
        d_q, d_k, d_v = (x.view(*shape, -1) for x in (d_q, d_k, d_v))
        d_q, d_k = time_first(d_q, outer, grown), time_first(d_k, outer, grown, over=True)
        return d_q, d_k, time_first(d_v, outer), d_log_g, None


def _states(written: Tensor, kept: Tensor | None) -> Tensor:
    """Ŝ of each chunk, and the state after the last, `(M + 1, G · H, R, V)`."""
    states = written.new_empty(written.shape[0] + 1, *written.shape[1:])
    states[0].zero_()
    for j, new in enumerate(written.unbind(0)):
        torch.add(states[j], new, out=states[j + 1])
        if kept is not None:
            states[j + 1].mul_(kept[j])
    return states


def _states_backwards(read: Tensor, last: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradients of Ŝ, `(M + 1, G · H, R, V)`, and of what is added to it, `(M, G · H, R, V)`."""
    m = read.shape[0]
    d = read.new_empty(m + 1, *read.shape[1:])
    d[m] = last
    d_written = d[1:] if kept is None else torch.empty_like(read)
    for j in range(m - 1, -1, -1):
        if kept is not None:
            torch.mul(d[j + 1], kept[j], out=d_written[j])
        torch.add(d_written[j], read[j], out=d[j])
    return d, d_written
