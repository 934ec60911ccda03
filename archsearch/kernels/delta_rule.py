"""The delta rule in chunks: what is written holds a reading of the state that it is written to.

    u_t = p_t + S_{t−1}ᵀ w_t        S_t = g_t S_{t−1} + k_t u_tᵀ

With `w = −β k` and `p = β v` that is DeltaNet (Yang et al. 2024, arXiv:2406.06484), with a decay `g` and `w = −β g k`
gated DeltaNet (Yang et al. 2024, arXiv:2412.06464). Within a chunk the u of all steps obey one triangular system, `(1 −
A) u = p + W S` with `A_ts = (decay from s to t − 1) w_t · k_s`, which is solved for all chunks at once; then one state
after the other is carried over the chunks. N, T, M, C, R, V as in `archsearch.kernels.linear_attention`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from archsearch.kernels.linear_attention import Chunks, Decay, RowDecay, scores

__all__ = ["delta_rule"]


def delta_rule(w: Tensor, p: Chunks) -> tuple[Chunks, Tensor]:
    """What is written, and the state before each chunk.

    Args:
        w: what reads the state, `(N, T, R)`.
        p: chunks with `p` in the place of `v`; a factor a row is not taken.

    Returns:
        Chunks with u in the place of `v`; states, `(N, M, R, V)`.
    """
    reads, k, decay = p.cut(w), p.k, p.decay
    assert not isinstance(decay, RowDecay)
    earlier = None if decay is None else decay.earlier()
    inner = -_before(reads, k, earlier)
    system = inner + torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
    outer = reads if earlier is None else reads * earlier.since
    both = torch.linalg.solve_triangular(system, torch.cat([p.v, outer], -1), upper=False, unitriangular=True)
    given, taken = both.split([p.v.shape[-1], outer.shape[-1]], -1)
    last = k if decay is None else k * decay.between[:, :, -1]
    steps = last.mT @ taken  # (N, M, R, R): what a chunk makes of the state before it
    if decay is None:
        steps = steps + torch.eye(steps.shape[-1], dtype=steps.dtype, device=steps.device)
    else:
        steps = steps + torch.diag_embed(decay.whole.expand(*steps.shape[:-1]))
    written = last.mT @ given
    state = written.new_zeros(written.shape[0], *written.shape[2:]) if p.start is None else p.start
    before = [state]
    for step, new in zip(steps.unbind(1)[:-1], written.unbind(1)[:-1], strict=True):
        state = torch.baddbmm(new, step, state)
        before.append(state)
    states = torch.stack(before, 1)
    return replace(p, v=given + taken @ states), states


def _before(w: Tensor, k: Tensor, earlier: Decay | None) -> Tensor:
    """`A`, `(N, M, C, C)`, zero but below the diagonal."""
    return (w @ k.mT).tril(-1) if earlier is None else scores(w, k, earlier)
