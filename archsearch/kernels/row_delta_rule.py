"""The delta rule with a decay for each row, and a key to erase that differs from the key to write, in chunks.

    u_t = S_{t−1}ᵀ w_t        S_t = diag(g_t) S_{t−1} + b_t u_tᵀ + k_t v_tᵀ        y_t = S_tᵀ q_t

With `w = κ̂` and `b = −a ⊙ κ̂` that is RWKV-7 (Peng et al. 2025, arXiv:2503.14456, equation 17). N sequences, T time, M
chunks of C steps, R rows, V columns. With F the running sum of `log g` in a chunk, a query is multiplied by `exp(F)`
and a key by `exp(−F)`, both seen from the middle of the chunk: then a chunk is a delta rule without decay (Yang et al.
2023, arXiv:2312.06635, section 4). The chunk is as long as these factors stay in range, so nothing overflows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.kernels.chunk_states import carry, cut, unit_inverse
from archsearch.kernels.dispatch import system_chunk
from archsearch.kernels.gated import at_most_zero

__all__ = ["FORGOTTEN", "row_delta_rule"]

FORGOTTEN = -40.0
"""The least logarithm of a decay: `exp(−40)` of a state is nothing beside what single precision holds."""

_RANGE = 40.0  # largest exponent of a factor; two of them and what they multiply stay finite in single precision


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Everything of a chunk as seen from its middle, `(N, M, C, ·)`, and what leads there and on."""

    q: Tensor
    w: Tensor
    b: Tensor
    k: Tensor
    v: Tensor
    enter: Tensor  # (N, M, R, 1): what is left of the state before the chunk at its middle
    leave: Tensor  # (N, M, R, 1): from its middle to its end


def row_delta_rule(
    q: Tensor, w: Tensor, b: Tensor, k: Tensor, v: Tensor, log_g: Tensor, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All readings, and the state after the last step.

    Args:
        q, w, b, k: `(N, T, R)`.
        v: `(N, T, V)`.
        log_g: `(N, T, R)`; what is above 0 counts as 0, what is below `FORGOTTEN` as that.
        start: the state before the first step, `(N, R, V)`; zero if `None`.

    Returns:
        `(N, T, V)` and `(N, R, V)`.
    """
    log_g = at_most_zero(log_g, FORGOTTEN)
    length = _length(log_g)
    c = _scaled(*(cut(x, length) for x in (q, w, b, k, v, log_g)))
    inverse = unit_inverse(c.w @ c.b.mT)
    reads = inverse @ c.w  # u = reads · S + given
    given = inverse @ ((c.w @ c.k.mT).tril(-1) @ c.v)
    whole = torch.eye(c.b.shape[-1], dtype=c.b.dtype, device=c.b.device) + c.b.mT @ reads
    before, after = carry(c.leave * whole * c.enter.mT, c.leave * (c.b.mT @ given + c.k.mT @ c.v), start)
    before = c.enter * before
    u = given + reads @ before
    y = c.q @ before + (c.q @ c.b.mT).tril() @ u + (c.q @ c.k.mT).tril() @ c.v
    return y.flatten(1, 2)[:, : q.shape[1]], after


def _length(log_g: Tensor) -> int:
    """The longest chunk, a power of two, in which no factor leaves its range."""
    least = max(-float(log_g.detach().amin()), 1e-3)
    longest, length = system_chunk(log_g.device, log_g.shape[2], log_g.shape[1]), 2
    # Half of a chunk lies on each side of its middle. What is not a number takes the shortest chunk.
    while 2 * length <= longest and length * least <= _RANGE:
        length *= 2
    return length


def _scaled(q: Tensor, w: Tensor, b: Tensor, k: Tensor, v: Tensor, log_g: Tensor) -> _Scaled:
    since = log_g.cumsum(2)
    # The middle cancels from every product of two factors, and so does its gradient.
    middle = since[:, :, log_g.shape[2] // 2 - 1 : log_g.shape[2] // 2].detach()
    ahead = since - middle
    grown = torch.exp(-ahead)
    enter, leave = middle.exp().mT, ahead[:, :, -1:].exp().mT
    return _Scaled(q * ahead.exp(), w * (ahead - log_g).exp(), b * grown, k * grown, v, enter, leave)
