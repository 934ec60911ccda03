"""Solutions as values: found without a record of how, and differentiated by the equation that they satisfy.

If `F(x, θ) = 0` and J is the derivative of F by x, the gradient of a loss by θ is that of `−J⁻¹ F(x*, θ)` with x* and J
held fixed. So a solver needs no graph of its own, and a backward pass costs one linear solve, however long the solver
took (Bai et al. 2019, arXiv:1909.01377; Amos and Kolter 2017, arXiv:1703.00443).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Factored", "attach", "solve_positive"]

Solve = Callable[[Tensor], Tensor]


def attach(solution: Tensor, residual: Tensor, solve: Solve) -> Tensor:
    """`solution`, with the gradient of the equation that it solves.

    Args:
        solution: x*, without a graph.
        residual: F(x*, θ), with a graph to θ and none to x*.
        solve: `g -> J⁻ᵀ g`, in the shape of the residual, J the derivative of F by x and by what else is unknown.
    """
    attached: Tensor = _Attach.apply(solution, residual, solve)  # type: ignore[no-untyped-call]
    return attached


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, solution: Tensor, residual: Tensor, solve: Solve) -> Tensor:
        ctx.solve = solve
        return solution.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor, None]:
        return None, -ctx.solve(g), None


@dataclass(frozen=True, slots=True)
class Factored:
    """Symmetric positive definite matrices, factored once for several right sides.

    A matrix that is none, or holds what is not a number, spoils its own solutions only: they are not numbers.
    """

    factor: Tensor
    failed: Tensor

    @staticmethod
    def of(matrix: Tensor) -> Factored:
        """`(..., R, R)`, of which the lower half is read."""
        return Factored(*torch.linalg.cholesky_ex(matrix))

    def solve(self, right: Tensor) -> Tensor:
        """`A⁻¹ right`, `(..., R)`."""
        found = torch.cholesky_solve(right.unsqueeze(-1), self.factor).squeeze(-1)
        return found.masked_fill(self.failed.ne(0).unsqueeze(-1), float("nan"))


def solve_positive(matrix: Tensor, right: Tensor) -> Tensor:
    """`A⁻¹ right` for one right side, `(..., R)`; see `Factored`."""
    return Factored.of(matrix).solve(right)
