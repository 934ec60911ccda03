"""Vectors of several heads as the sequences of matrices' kernels, and back.

N sequences (copies × batch × heads), T time, A features of one head.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["fold_heads", "unfold_heads"]


def fold_heads(x: Tensor, heads: int) -> Tensor:
    """`(E, B, T, H · A)` to `(E · B · H, T, A)`."""
    split: Tensor = x.unflatten(3, (heads, -1))
    return split.transpose(2, 3).flatten(0, 2)


def unfold_heads(x: Tensor, copies: int, heads: int) -> Tensor:
    """`(E · B · H, T, A)` to `(E, B, T, H · A)`."""
    split: Tensor = x.unflatten(0, (copies, -1, heads))
    return split.transpose(2, 3).flatten(3)
