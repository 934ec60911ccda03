"""Affine maps of one copy or many."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["linear"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`y = x Wᵀ + b`, each copy with its own weights.

    One copy goes to the plain `F.linear`, several to one batched product.

    Args:
        x: `(E, ..., I)`, or `(1, ..., I)` for one input that all copies read.
        weight: `(E, O, I)`.
        bias: `(E, O)`.

    Returns:
        `(E, ..., O)`.
    """
    copies = weight.shape[0]
    if copies == 1:
        return F.linear(x, weight.squeeze(0), None if bias is None else bias.squeeze(0))
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    if x.shape[0] != copies:
        flat = flat.expand(copies, -1, -1)
    y = torch.bmm(flat, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)
    return y.view(copies, *x.shape[1:-1], weight.shape[1])
