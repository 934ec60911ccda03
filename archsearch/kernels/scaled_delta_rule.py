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

from archsearch.kernels.scaled_attention import chunks_first, exponent_gradient, factors, time_first

__all__ = ["scaled_delta_rule"]


def scaled_delta_rule(
    q: Tensor, w: Tensor, k: Tensor, p: Tensor, log_g: Tensor | None, length: int
) -> tuple[Tensor, Tensor]:
    """All readings from an empty state, and the state after the last step.

    Args:
        q, w, k: `(E, B, T, H, R)`.
        p: `(E, B, T, H, V)`.
        log_g: `(E, B, T, H, A)`, at most 0, see `fits`; `None` where nothing is forgotten.
        length: C, even; see `dispatch.system_chunk`.

    Returns:
        `(E, B, T, H, V)` and `(E, B, H, R, V)`.
    """
    y, last = _ScaledDeltaRule.apply(q, w, k, p, log_g, length)  # type: ignore[no-untyped-call]
    return y, last


class _ScaledDeltaRule(torch.autograd.Function):
    """Chunks come first in memory, `(M, G · H, ...)`, so that each product of the loop over them reads whole blocks."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, w: Tensor, k: Tensor, p: Tensor, log_g: Tensor | None, length: int
    ) -> tuple[Tensor, Tensor]:
        ctx.outer = outer = q.shape[:3]
        f = factors(log_g, length)
        q, w = (chunks_first(x, length, f.grown) for x in (q, w))
        k, p = chunks_first(k, length, f.grown, over=True), chunks_first(p, length)
        ctx.shape = p.shape
        q, w, k, p = (x.flatten(1, 2) for x in (q, w, k, p))
        one = torch.eye(length, dtype=q.dtype, device=q.device).expand(*q.shape[:2], length, length)
        inverse = torch.linalg.solve_triangular(-(w @ k.mT), one, upper=False, unitriangular=True)
        u, reads = inverse @ p, inverse @ w
        states = p.new_empty(q.shape[0] + 1, q.shape[1], q.shape[3], p.shape[3])
        states[0].zero_()
        for j in range(q.shape[0]):
            torch.baddbmm(u[j], reads[j], states[j], out=u[j])
            torch.baddbmm(states[j], k[j].mT, u[j], out=states[j + 1])
            if f.kept is not None:
                states[j + 1].mul_(f.kept[j])
        inside = (q @ k.mT).tril_()
        y = q @ states[:-1]
        y.flatten(0, 1).baddbmm_(inside.flatten(0, 1), u.flatten(0, 1))
        ctx.save_for_backward(q, w, k, u, inverse, reads, inside, states, *f)
        return time_first(y.view(ctx.shape), outer), states[-1].view(*outer[:2], *ctx.shape[2:3], *states.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor | None, ...]:
        q, w, k, u, inverse, reads, inside, states, grown, kept = ctx.saved_tensors
        m, shape, outer = q.shape[0], ctx.shape[:-1], ctx.outer
        d_y = chunks_first(g, shape[-1]).flatten(1, 2)
        d_u, d_before = inside.mT @ d_y, q.mT @ d_y
        d_states = torch.empty_like(states)
        d_states[m] = g_last.flatten(0, 2)
        d_written = d_states[1:] if kept is None else torch.empty_like(d_before)
        for j in range(m - 1, -1, -1):
            if kept is not None:
                torch.mul(d_states[j + 1], kept[j], out=d_written[j])
            torch.baddbmm(d_u[j], k[j], d_written[j], out=d_u[j])
            d_before[j] += d_written[j]
            torch.baddbmm(d_before[j], reads[j].mT, d_u[j], out=d_states[j])
        before = states[:-1]
        d_inside = (d_y @ u.mT).tril_()
        d_p = inverse.mT @ d_u
        d_a = (d_p @ u.mT).tril_(-1)
        d_q = _sum((d_inside, k), (d_y, before.mT))
        d_w = _sum((d_a, k), (d_p, before.mT))
        d_k = _sum((d_inside.mT, q), (d_a.mT, w), (u, d_written.mT))
        d_log_g = None
        if grown is not None:
            own = (q * d_q).addcmul_(w, d_w).addcmul_(k, d_k, value=-1.0)
            d_log_g = exponent_gradient(own.view(*shape, -1), states, d_states, grown, outer)
        d_q, d_w, d_k, d_p = (x.view(*shape, -1) for x in (d_q, d_w, d_k, d_p))
        d_q, d_w = time_first(d_q, outer, grown), time_first(d_w, outer, grown)
        return d_q, d_w, time_first(d_k, outer, grown, over=True), time_first(d_p, outer), d_log_g, None


def _sum(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The sum of products of matrices, in one tensor."""
    (a, b), *rest = pairs
    total = a @ b
    for a, b in rest:
        total.flatten(0, 1).baddbmm_(a.flatten(0, 1), b.flatten(0, 1))
    return total
