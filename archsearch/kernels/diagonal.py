"""Impulse responses of diagonal linear systems."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["impulse_response", "last_state"]

_CHUNK = 256  # steps whose powers are held at a time


def impulse_response(log_decay: Tensor, angle: Tensor, gain: Tensor, time: int) -> Tensor:
    """`K_l = Re Σ_n gain_n exp(l (log_decay_n + i angle_n))` for l = 0 … time − 1.

    With l = a·s + b, the powers fall into about 2√T instead of T exponentials a mode, and one batched product puts them
    together. Angles grow with l, so they are formed in double precision and rounded as cosines and sines.

    Args:
        log_decay, angle: `(E, D, N)` in double precision, a step's change of each mode.
        gain: `(E, D, N, 2)`, real and imaginary parts.

    Returns:
        `(E, D, time)` in the precision of `gain`.
    """
    stride = max(1, math.isqrt(time))
    rows = -(-time // stride)
    steps = torch.arange(max(rows, stride), dtype=log_decay.dtype, device=log_decay.device)
    coarse_r, coarse_i = _powers(log_decay * stride, angle * stride, steps[:rows], gain.dtype)
    fine_r, fine_i = _powers(log_decay, angle, steps[:stride], gain.dtype)
    gain_r, gain_i = gain.unbind(-1)
    gain_r, gain_i = gain_r.unsqueeze(-2), gain_i.unsqueeze(-2)
    left = torch.cat([gain_r * coarse_r - gain_i * coarse_i, -(gain_r * coarse_i + gain_i * coarse_r)], -1)
    right = torch.cat([fine_r, fine_i], -1)
    return (left @ right.mT).flatten(-2)[..., :time]


def last_state(log_decay: Tensor, angle: Tensor, x: Tensor) -> Tensor:
    """`h = Σ_s exp((T − 1 − s) (log_decay + i angle)) x_s`, what `h ← exp(...) h + x_s` leaves after all T steps.

    Args:
        log_decay, angle: `(E, D, N)` in double precision, a step's change of each mode.
        x: `(E, B, T, D)`.

    Returns:
        `(E, B, D, N, 2)`, real and imaginary parts, in the precision of `x`.
    """
    h_r = h_i = x.new_zeros(())
    for part in x.split(_CHUNK, 2):
        steps = torch.arange(part.shape[2] + 1, dtype=log_decay.dtype, device=log_decay.device)
        a_r, a_i = _powers(log_decay, angle, steps, x.dtype)
        back = part.flip(2).permute(0, 3, 1, 2)
        on_r, on_i = a_r[..., -1:, :], a_i[..., -1:, :]
        h_r, h_i = on_r * h_r - on_i * h_i + back @ a_r[..., :-1, :], on_r * h_i + on_i * h_r + back @ a_i[..., :-1, :]
    return torch.stack([h_r, h_i], -1).transpose(1, 2)


def _powers(log_decay: Tensor, angle: Tensor, steps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of `exp(l (log_decay + i angle))`, `(E, D, L, N)` for L steps."""
    at = steps.unsqueeze(-1)
    size = torch.exp(log_decay.unsqueeze(-2) * at)
    turn = angle.unsqueeze(-2) * at
    return (size * torch.cos(turn)).to(dtype), (size * torch.sin(turn)).to(dtype)
