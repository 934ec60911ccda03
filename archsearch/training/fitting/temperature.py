"""How sure scores are: the factor on them under which their cross-entropy is least.

Legend of shapes: E copies, R rows, S classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sharpness"]

LOW, HIGH, STEPS = 1e-2, 1e2, 24
ROWS = 1024
"""So many rows tell one number well enough."""


def sharpness(scores: Tensor, classes: Tensor) -> Tensor:
    """The factor of each copy, `(E,)`, between 0.01 and 100; what has the most points wins with any.

    Args:
        scores: `(E, R, S)`; those of a copy may be NaN, whose factor means nothing.
        classes: `(R,)`.
    """
    low = scores.new_full((scores.shape[0],), LOW).log()
    high = scores.new_full((scores.shape[0],), HIGH).log()
    right = scores.gather(-1, classes.expand(scores.shape[0], -1).unsqueeze(-1)).squeeze(-1)
    for _ in range(STEPS):
        middle = (low + high) / 2
        # The cross-entropy is convex in the factor, and this is its derivative.
        chances = torch.softmax(scores * middle.exp()[:, None, None], -1)
        rising = ((chances * scores).sum(-1) - right).mean(1) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return ((low + high) / 2).exp()
