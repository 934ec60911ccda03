"""Least squares with a penalty, from sums over batches in float64.

Legend of shapes: E copies, R rows of a batch, D features, S size of the answer.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Moments", "left_out", "relative_penalties", "residual", "solve"]

POWERS = tuple(range(-8, 2))
"""Of ten: what the penalties are that validation chooses from, as shares of the mean eigenvalue of the features."""


class Moments:
    """Sums of products of features and targets, taken around the mean of the first batch so that little cancels.

    Args:
        copies, width, outputs: E, D, S.
        device: where the sums live; it must have float64.
    """

    def __init__(self, copies: int, width: int, outputs: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.rows = 0
        self._origin: tuple[Tensor, Tensor] | None = None
        self._x, self._y = zeros(copies, width), zeros(outputs)
        self._xx, self._xy = zeros(copies, width, width), zeros(copies, width, outputs)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Takes in the rows `(E, R, D)` and their targets `(R, S)`."""
        if not y.shape[0]:
            return
        x, y = x.to(self._x), y.to(self._y)
        if self._origin is None:
            self._origin = x.mean(1), y.mean(0)
        x, y = x - self._origin[0].unsqueeze(1), y - self._origin[1]
        self.rows += y.shape[0]
        self._x += x.sum(1)
        self._y += y.sum(0)
        self._xx.baddbmm_(x.mT, x)
        self._xy += x.mT @ y

    def centred(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gram matrix `(E, D, D)` and products `(E, D, S)` around the means, and the means `(E, D)`, `(S,)`."""
        assert self._origin is not None, "no row was added"
        x, y = self._x / self.rows, self._y / self.rows
        gram = self._xx - self.rows * x.unsqueeze(2) * x.unsqueeze(1)
        cross = self._xy - self.rows * x.unsqueeze(2) * y
        return gram, cross, self._origin[0] + x, self._origin[1] + y


def solve(moments: Moments, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Minimises Σ ‖y − W x − b‖² + penalty · ‖W‖² by Cholesky; b carries no penalty.

    Args:
        penalty: `(E,)`.

    Returns:
        W `(E, S, D)` and b `(E, S)` in float64; NaN in copies whose matrix is not positive definite.
    """
    gram, cross, x, y = moments.centred()
    factor, failed = _cholesky(gram, penalty)
    weight = torch.cholesky_solve(cross, factor).mT
    weight = torch.where((failed == 0)[:, None, None], weight, torch.full_like(weight, torch.nan))
    return weight, y - (weight @ x.unsqueeze(-1)).squeeze(-1)


def residual(moments: Moments, penalty: Tensor, weight: Tensor) -> Tensor:
    """How far W `(E, S, D)` is from the normal equations, `(E,)`: ‖(G + penalty) Wᵀ − C‖ / ‖C‖ in float64."""
    gram, cross, _, _ = moments.centred()
    missed = gram @ weight.mT + penalty.to(gram)[:, None, None] * weight.mT - cross
    found: Tensor = missed.norm(dim=(1, 2)) / cross.norm(dim=(1, 2)).clamp(min=torch.finfo(gram.dtype).tiny)
    return found


def left_out(moments: Moments, penalty: Tensor, x: Tensor, y: Tensor, scores: Tensor) -> Tensor:
    """The scores that rows would get from the solution without them: y − (y − ŷ) / (1 − h), h their leverages.

    Args:
        x: rows `(E, R, D)` that are among the moments; y: their targets `(R, S)`; scores: ŷ, `(E, R, S)`.
    """
    gram, _, mean, _ = moments.centred()
    factor, _ = _cholesky(gram, penalty)
    centred = x.to(gram) - mean.unsqueeze(1)
    pulled = torch.linalg.solve_triangular(factor, centred.mT, upper=False)
    leverage = pulled.square().sum(1) + 1.0 / moments.rows
    found: Tensor = y - (y - scores) / (1.0 - leverage).clamp(min=1e-6).unsqueeze(-1)
    return found


def _cholesky(gram: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """The factor of each copy, and where it failed."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(gram + penalty.to(gram)[:, None, None] * eye)
    return factor, failed


def relative_penalties(moments: Moments) -> list[Tensor]:
    """The penalties to choose from, each `(E,)`: they grow with the features, so that scaling these changes nothing."""
    gram = moments.centred()[0]
    mean = gram.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=torch.finfo(torch.float64).tiny)
    return [mean * 10.0**power for power in POWERS]
