"""How far the answers of copies are apart, from sums over batches.

Legend of shapes: E copies, R rows, S size of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["Agreement"]

DIRECTIONS = 4


class Agreement:
    """What the answers of copies on the same rows have in common.

    Args:
        answers: `(E, R, S)` batch by batch.

    Attributes:
        cosines: of every copy with each, around the mean answer; `None` where all answers of one are the same.
        sketches: of every copy the products of its answers, scaled to length 1, with fixed random directions: numbers
            about 1 in size, which agree to some digits where two machines have found the same solution.
    """

    def __init__(self, answers: Iterable[Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        gram, sums, sketch = (torch.zeros((), dtype=torch.float64) for _ in range(3))
        rows = 0
        for batch in answers:
            y = batch.double().cpu()
            flat = y.flatten(1)
            gram, sums, rows = gram + flat @ flat.mT, sums + y.sum(1), rows + y.shape[1]
            sketch = sketch + flat @ torch.randn(flat.shape[1], DIRECTIONS, generator=generator).double()
        about = gram - sums @ sums.mT / max(rows, 1)
        known = about.diagonal() > 1e-12 * gram.diagonal()
        scale = about.diagonal().clamp(min=1e-300).sqrt()
        lengths = gram.diagonal().clamp(min=1e-300).sqrt()
        self.cosines: list[list[float | None]] = [
            [float(v) if known[i] and known[j] else None for j, v in enumerate(row)]
            for i, row in enumerate((about / (scale * scale[:, None])).clamp(-1, 1))
        ]
        self.sketches: list[list[float]] = (sketch / lengths[:, None]).tolist()
