"""Diagonal complex systems that do not change along time: `h_t = λ h_{t−1} + u_t`, a mode after the other, in products.

G groups of systems (copies), P modes, S sequences, T time, C steps of a chunk. Since λ is the same at every step, the
states of a chunk are one product of what enters with the powers `λ^{t−s}`; the states at the ends of the chunks obey
the same recurrence with `λ^C`, over a sequence C times as short. Complex numbers are pairs of real ones, so that a
product is one real product of twice the size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CHUNK", "run_modes"]

CHUNK = 16  # on one CPU thread, with 32 modes and 16 sequences, 8 and 32 take 1.2 to 1.8 times as long


def run_modes(log_decay: Tensor, angle: Tensor, u: Tensor) -> Tensor:
    """The states of all steps, from zero.

    Args:
        log_decay, angle: `(G, P)` in double precision, the logarithm of λ.
        u: `(G, P, S, T, 2)`, real and imaginary parts.

    Returns:
        `(G, P, S, T, 2)`.
    """
    g, p, s, t, _ = u.shape
    length = min(CHUNK, t)
    powers = _powers(log_decay, angle, length, u.dtype)
    chunks = -(-t // length)
    x = F.pad(u, (0, 0, 0, chunks * length - t)).reshape(g * p, s * chunks, length * 2)
    own = torch.bmm(x, _products(powers[:, :, :-1]).flatten(0, 1))
    states = own.view(g, p, s, chunks, length, 2)
    if chunks > 1:
        ends = run_modes(log_decay * length, angle * length, states[:, :, :, :-1, -1])
        fades = _turns(powers[:, :, 1:]).flatten(3).flatten(0, 1)  # (G·P, 2, C·2)
        carried = torch.bmm(ends.reshape(g * p, s * (chunks - 1), 2), fades).view(g, p, s, chunks - 1, length, 2)
        states = states + F.pad(carried, (0, 0, 0, 0, 1, 0))
    return states.flatten(3, 4)[:, :, :, :t]


def _powers(log_decay: Tensor, angle: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """`λ^0 … λ^C`, `(G, P, C + 1, 2)`."""
    steps = torch.arange(length + 1, dtype=log_decay.dtype, device=log_decay.device)
    size, turn = torch.exp(log_decay.unsqueeze(-1) * steps), angle.unsqueeze(-1) * steps
    return torch.stack([size * torch.cos(turn), size * torch.sin(turn)], -1).to(dtype)


def _turns(powers: Tensor) -> Tensor:
    """What a row of two parts is multiplied with: `(G, P, 2, L, 2)` of powers `(G, P, L, 2)`."""
    re, im = powers.unbind(-1)
    return torch.stack([torch.stack([re, im], -1), torch.stack([-im, re], -1)], 2)


def _products(powers: Tensor) -> Tensor:
    """From the inputs of a chunk to its states, `(G, P, 2 C, 2 C)`: `λ^{t−s}` in row s, column t, zero for s > t."""
    c = powers.shape[2]
    steps = torch.arange(c, device=powers.device)
    gap = steps - steps.unsqueeze(1)  # rows s, columns t
    blocks = _turns(powers)[:, :, :, gap.clamp(min=0)]  # (G, P, 2, C, C, 2)
    blocks = blocks * (gap >= 0).unsqueeze(-1).to(powers.dtype)
    return blocks.transpose(2, 3).reshape(*powers.shape[:2], 2 * c, 2 * c)
