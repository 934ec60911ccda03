"""Solutions as values: found without a record of how, and differentiated by the equation that they satisfy.

If `F(x, θ) = 0` and J is the derivative of F by x, the gradient of a loss by θ is that of `−J⁻¹ F(x*, θ)` with x* and J
held fixed. So a solver needs no graph of its own, and a backward pass costs one linear solve, however long the solver
took (Bai et al. 2019, arXiv:1909.01377; Amos and Kolter 2017, arXiv:1703.00443).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["attach", "solve_positive"]

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


def solve_positive(matrix: Tensor, *right: Tensor) -> tuple[Tensor, ...]:
    """`A⁻¹ b` for symmetric positive definite A; not a number where A is not.

    A matrix that fails spoils its own solution only.

    Args:
        matrix: `(..., R, R)`, of which the lower half is read.
        right: `(..., R)` each.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    both = torch.cholesky_solve(torch.stack(right, -1), factor)
    return both.masked_fill(failed.ne(0)[..., None, None], float("nan")).unbind(-1)
