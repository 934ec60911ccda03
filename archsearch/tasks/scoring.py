"""Sums of scores over one batch, copy by copy: what a task's `judge` is made of.

Legend of shapes: E copies, B batch, T time, S size of the output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["class_sums"]


def class_sums(outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Hits, cross-entropy in nats and number of the targets that count, per copy.

    Args:
        outputs: logits `(E, B, T, S)` or `(E, B, S)`.
        targets: classes `(B, T)` or `(B,)`.
        mask: which of them count, `(B, T)` or `(B,)`; `None` for all.

    Returns:
        `(hits, loss_sum, count)`, each `(E,)` float64.
    """
    copies = outputs.shape[0]
    if mask is None:
        logits, wanted = outputs.flatten(1, -2), targets.flatten()
    else:
        logits, wanted = outputs[:, mask], targets[mask]
    hits = (logits.argmax(-1) == wanted).sum(1, dtype=torch.float64)
    every = wanted.expand(copies, -1)
    loss = F.cross_entropy(logits.float().flatten(0, 1), every.flatten(), reduction="none")
    loss_sum = loss.view(copies, -1).sum(1, dtype=torch.float64)
    return hits, loss_sum, torch.full_like(hits, wanted.numel())
