"""State-space duality: a selective scan with one decay a head, as products of matrices in chunks.

G sequences (copies × batch), T time, M chunks of C steps, H heads, P features of a head, N states of a feature. With a
decay that a whole head shares, `h_t = a_t h_{t−1} + B_t u_tᵀ`, `y_t = h_tᵀ C_t` is, within a chunk, `(L ∘ C Bᵀ) u` with
`L_ts = a_{s+1} … a_t` (Dao and Gu 2024, arXiv:2405.21060, section 6). B and C belong to all heads, so that their
product, what a chunk writes and what it reads of the state before it are one product each for all heads together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels import backends
from archsearch.kernels.dispatch import chunk_length
from archsearch.kernels.linear_attention import cut
from archsearch.kernels.precision import exact, single
from archsearch.kernels.scan import scan
from archsearch.kernels.selective_scan import decay_of

__all__ = ["ssd"]


def ssd(u: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, *, signed: bool = False) -> tuple[Tensor, Tensor]:
    """All outputs, and the state after the last step.

    Args:
        u: `(G, T, H, P)`, what enters the state, its step size already in it.
        log_decay: `(G, T, H)`, `Δ_t A`.
        b, c: `(G, T, N)`.
        signed: decays are `2 exp(Δ_t A) − 1` and not `exp(Δ_t A)`.

    Returns:
        `(G, T, H, P)` and `(G, N, H, P)`.
    """
    fast = None if signed else backends.find("ssd", u)
    if fast is not None:
        return fast(u, log_decay, b, c)  # type: ignore[no-any-return]
    time, (h, p) = u.shape[1], u.shape[2:]
    length = min(chunk_length(u.device, b.shape[2]), time)
    with exact(u.device):
        u_gmcx, log_gmch, b_gmcn, c_gmcn = (cut(single(v), length) for v in (u.flatten(2), log_decay, b, c))
        factors = decay_of(log_gmch.transpose(2, 3), signed)
        between = _between(factors)
        since = between[..., 0] * factors[..., :1]  # (G, M, H, C), what is left of the state before the chunk
        u_gmchp = u_gmcx.unflatten(3, (h, p))

        kept = u_gmchp * between[..., -1, :].transpose(2, 3).unsqueeze(4)
        written = b_gmcn.mT @ kept.flatten(3)
        before, last = _Carry.apply(since[..., -1], written.unflatten(3, (h, p)))  # type: ignore[no-untyped-call]
        y = (c_gmcn @ before.flatten(3)).unflatten(3, (h, p)) * since.transpose(2, 3).unsqueeze(4)
        weights = (c_gmcn @ b_gmcn.mT).unsqueeze(2) * between
        y = y + (weights @ u_gmchp.transpose(2, 3)).transpose(2, 3)
    return y.flatten(1, 2)[:, :time].to(u.dtype), last.to(u.dtype)


def _between(factors: Tensor) -> Tensor:
    """`L_ts = a_{s+1} … a_t`, zero above the diagonal: `(G, M, H, C)` to `(G, M, H, C, C)`.

    One recurrence from every step on, since factors may be negative or zero, and sums of their logarithms lose digits.
    """
    g, m, h, c = factors.shape
    one = torch.eye(c, dtype=factors.dtype, device=factors.device).expand(g * m * h, c, c)
    return scan(factors.reshape(-1, c, 1).expand(-1, c, c), one).view(g, m, h, c, c)


class _Carry(torch.autograd.Function):
    """`S_{m+1} = a_m S_m + W_m` from zero, a chunk after the other: `(G, M, H)` and `(G, M, N, H, P)` to all of S."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
        before = torch.empty_like(written)
        state = torch.zeros_like(written[:, 0])
        for a_m, w_m, out in zip(a[:, :, None, :, None].unbind(1), written.unbind(1), before.unbind(1), strict=True):
            out.copy_(state)
            state = torch.addcmul(w_m, a_m, state)
        ctx.save_for_backward(a, before)
        ctx.mark_non_differentiable(state)
        return before, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        a, before = ctx.saved_tensors
        d_written = torch.empty_like(g)
        d_state = torch.zeros_like(g[:, 0])
        steps = zip(a[:, :, None, :, None].unbind(1), g.unbind(1), d_written.unbind(1), strict=True)
        for a_m, g_m, out in reversed(list(steps)):
            out.copy_(d_state)
            d_state = torch.addcmul(g_m, a_m, d_state)
        return (d_written * before).sum((2, 4)), d_written
