"""The delta rule with decays in scaled chunks, one node of the autograd tape, the backward pass written out.

    u_t = p_t + g_t S_{t−1}ᵀ w_t        S_t = g_t S_{t−1} + k_t u_tᵀ        y_t = S_tᵀ q_t

With `w = −β k` and `p = β v` that is (gated) DeltaNet (Yang et al. 2024, arXiv:2406.06484, arXiv:2412.06464). Scaled as
in `archsearch.kernels.scaled_attention`, a chunk is a delta rule without decay: `u = X (p + ŵ Ŝ)` with `X = (1 − A)⁻¹`
and `A_ts = ŵ_t · k̂_s` for s < t, Ŝ the state before the chunk. With ū the gradient of u, `r = Xᵀ ū` is that of p, and
`Ā = r uᵀ`: the gradient needs no other inverse. N, T, M, C, R, V, A as there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.chunk_states import cut
from archsearch.kernels.scaled_attention import exponent_gradient, factors, half

__all__ = ["scaled_delta_rule"]

_HALF = 8  # steps to either side of the middle of a chunk


def scaled_delta_rule(q: Tensor, w: Tensor, k: Tensor, p: Tensor, log_g: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All readings from an empty state, and the state after the last step.

    Args:
        q, w, k: `(N, T, R)`.
        p: `(N, T, V)`.
        log_g: `(N, T, A)`, at most 0, see `fits`; `None` where nothing is forgotten.

    Returns:
        `(N, T, V)` and `(N, R, V)`.
    """
    y, last = _ScaledDeltaRule.apply(q, w, k, p, log_g)  # type: ignore[no-untyped-call]
    return y, last


class _ScaledDeltaRule(torch.autograd.Function):
    """Chunks come first in memory, `(M, N, ...)`, so that each product of the loop over them reads whole blocks."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, w: Tensor, k: Tensor, p: Tensor, log_g: Tensor | None) -> tuple[Tensor, Tensor]:
        n, time = q.shape[:2]
        length = 2 * half(time, _HALF)
        q, w, k, p = (cut(x, length) for x in (q, w, k, p))
        grown, enter, leave = factors(log_g, length)
        if grown is not None:
            q, w, k = q * grown, w * grown, k / grown
        q, w, k, p = (x.transpose(0, 1).contiguous() for x in (q, w, k, p))
        one = torch.eye(length, dtype=q.dtype, device=q.device).expand(*q.shape[:2], length, length)
        inverse = torch.linalg.solve_triangular(-(w @ k.mT), one, upper=False, unitriangular=True)
        u, reads = inverse @ p, inverse @ w
        states = p.new_empty(q.shape[0] + 1, n, q.shape[3], p.shape[3])
        states[0].zero_()
        before = states[:-1] if enter is None else torch.empty_like(states[:-1])
        on = _turned(enter), _turned(leave)
        for j in range(q.shape[0]):
            if on[0] is not None:
                torch.mul(states[j], on[0][j], out=before[j])
            torch.baddbmm(u[j], reads[j], before[j], out=u[j])
            torch.baddbmm(before[j], k[j].mT, u[j], out=states[j + 1])
            if on[1] is not None:
                states[j + 1].mul_(on[1][j])
        inside = (q @ k.mT).tril_()
        y = q @ before + inside @ u
        ctx.save_for_backward(q, w, k, u, inverse, reads, inside, states, before, grown, *on)
        ctx.time = time
        return y.transpose(0, 1).flatten(1, 2)[:, :time], states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        q, w, k, u, inverse, reads, inside, states, before, grown, enter, leave = ctx.saved_tensors
        m, length = q.shape[0], q.shape[2]
        d_y = cut(g, length).transpose(0, 1).contiguous()
        d_u, d_before = inside.mT @ d_y, q.mT @ d_y
        d_states = torch.empty_like(states)
        d_states[m] = g_last
        d_written = d_states[1:] if leave is None else torch.empty_like(before)
        for j in range(m - 1, -1, -1):
            if leave is not None:
                torch.mul(d_states[j + 1], leave[j], out=d_written[j])
            torch.baddbmm(d_u[j], k[j], d_written[j], out=d_u[j])
            d_before[j] += d_written[j]
            torch.baddbmm(d_before[j], reads[j].mT, d_u[j], out=d_states[j])
            if enter is not None:
                d_states[j].mul_(enter[j])
        d_inside = (d_y @ u.mT).tril_()
        d_p = inverse.mT @ d_u
        d_a = (d_p @ u.mT).tril_(-1)
        d_q = d_inside @ k + d_y @ before.mT
        d_w = d_a @ k + d_p @ before.mT
        d_k = d_inside.mT @ q + d_a.mT @ w + u @ d_written.mT
        d_log_g = None
        if grown is not None:
            own = (q * d_q + w * d_w - k * d_k).transpose(0, 1)
            d_log_g = exponent_gradient(own, states, d_states, grown)[:, : ctx.time]
            up = grown.transpose(0, 1)
            d_q, d_w, d_k = d_q * up, d_w * up, d_k / up
        d_q, d_w, d_k, d_p = (x.transpose(0, 1).flatten(1, 2)[:, : ctx.time] for x in (d_q, d_w, d_k, d_p))
        return d_q, d_w, d_k, d_p, d_log_g


def _turned(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.transpose(0, 1)
