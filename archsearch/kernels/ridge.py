"""Ridge regression on all that was seen, solved at every step: `x_t = (Λ + Σ_s d_ts k_s b_sᵀ)⁻¹ q_t`, b = β k.

N sequences (copies × batch × heads), T time, R features of a key. The matrices of all steps are formed in blocks of
time that stay small, factored and forgotten, in the backward pass once more; between blocks one is carried. The
gradient is that of the equation `A_t x_t = q_t` (see `archsearch.kernels.implicit`), and `A_t x_t` is linear attention
with x for a query, so that it runs in chunks.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from archsearch.kernels.implicit import attach, solve_positive
from archsearch.kernels.linear_attention import chunked, read, states
from archsearch.kernels.scan import cumulate, scan

__all__ = ["ridge"]

_BLOCK = 1 << 20  # numbers of the matrices that are formed at a time


def ridge(q: Tensor, k: Tensor, b: Tensor, penalty: Tensor, decay: Tensor | None = None) -> Tensor:
    """The coefficients with which the regression of every step answers its query.

    Args:
        q, k, b: `(N, T, R)`, b a multiple of k at every step.
        penalty: the diagonal of Λ, `(N, R)`, above zero.
        decay: what is left of the sums at every step, `(N, T, 1)`.

    Returns:
        `(N, T, R)`.
    """
    solve = partial(_solve, k.detach(), b.detach(), penalty.detach(), None if decay is None else decay.detach())
    x = solve(q.detach())
    chunks = chunked(k, b, decay)
    residual = torch.addcmul(read(x, chunks, states(chunks)), x, penalty.unsqueeze(1)) - q
    return attach(x, residual, solve)


@torch.no_grad()
def _solve(k: Tensor, b: Tensor, penalty: Tensor, decay: Tensor | None, right: Tensor) -> Tensor:
    """`A_t⁻¹ right_t` at every step, `(N, T, R)`."""
    n, r = k.shape[0], k.shape[2]
    block = max(1, _BLOCK // (n * r * r))
    given = [x.split(block, 1) for x in (k, b, right)]
    kept = [None] * len(given[0]) if decay is None else decay.split(block, 1)
    ridged, state, solutions = torch.diag_embed(penalty).flatten(1), None, []
    for k_c, b_c, right_c, g in zip(*given, kept, strict=True):
        written = (k_c.unsqueeze(-1) * b_c.unsqueeze(-2)).flatten(2)
        sums = cumulate(written, state) if g is None else scan(g.expand_as(written), written, state)
        state = sums[:, -1]
        x = solve_positive((sums + ridged.unsqueeze(1)).unflatten(2, (r, r)), right_c)
        solutions.append(x)
    return torch.cat(solutions, 1)
