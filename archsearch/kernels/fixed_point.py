"""Solves z = f(z) for many rows at once, each row on its own, by Anderson's acceleration or by plain iteration.

A row is one time step of one sequence of one copy. Mixing coefficients and the decision to stop belong to a row, so no
row changes with what else is in the batch. Where f carries rows of one sequence into each other in one direction (a
causal body), a row stops only once all rows that it may depend on have: later steps then never reach earlier ones.

Legend of shapes: E copies, B batch, T time, D numbers of a row, M iterates that are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["SOLVERS", "Along", "solve"]

SOLVERS = ("anderson", "iterate")
MEMORY = 5
Along = Literal["", "past", "future", "all"]


def solve(
    f: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    steps: int,
    tolerance: float,
    solver: str = "anderson",
    along: Along = "",
    memory: int = MEMORY,
) -> Tensor:
    """The fixed point of `f` from the start `z`, `(E, B, T, *shape)`, as far as `steps` evaluations lead.

    A row has converged where |f(z) − z| ≤ tolerance · |f(z)| in the Euclidean norm, and stays as it is from then on. Of
    a row that does not converge the iterate with the shortest residual |f(z) − z| is given. Of a gradient whose series
    diverges that keeps the leading terms, at worst one alone (Fung et al. 2022, arXiv:2103.12803, eq. 7).

    Args:
        solver: `anderson` (Anderson 1965; Walker and Ni 2011, eq. 1.2, with all of f taken) or `iterate`.
        along: the rows that a row waits for: none, those before it, those after it, or all of its sequence.
        memory: how many iterates Anderson's acceleration combines.
    """
    shape, lead = z.shape, 3
    rows = z.flatten(lead) if z.ndim > lead else z.unsqueeze(-1)
    done = torch.zeros(rows.shape[:lead], dtype=torch.bool, device=z.device)
    best, shortest, closer = rows, rows.new_full(rows.shape[:lead], torch.inf), done
    past = rows.new_empty(2, *rows.shape[:lead], memory if solver == "anderson" else 0, rows.shape[lead])
    for k in range(steps):
        value = f(rows.view(shape)).reshape(rows.shape)
        residual = value - rows
        length = residual.norm(dim=-1)
        near = length.isfinite() & (length <= tolerance * value.norm(dim=-1))
        closer = length < shortest
        best, shortest = torch.where(closer.unsqueeze(-1), rows, best), torch.where(closer, length, shortest)
        done = done | ~_spread(~near, along)
        if bool(done.all()):
            break
        if solver == "anderson":
            past[0, ..., k % memory, :], past[1, ..., k % memory, :] = value, residual
            value = _mixed(*past[..., : k + 1, :])
        rows = torch.where(done.unsqueeze(-1), rows, value)
    return torch.where((done | closer).unsqueeze(-1), rows, best).view(shape)


def _spread(far: Tensor, along: Along) -> Tensor:
    """Rows that are far from their fixed point, or wait for one that is; `(E, B, T)`."""
    if along == "past":
        return far.cummax(2).values
    if along == "future":
        return far.flip(2).cummax(2).values.flip(2)
    return far.any(2, keepdim=True).expand_as(far) if along == "all" else far


def _mixed(values: Tensor, residuals: Tensor) -> Tensor:
    """The combination of `values`, `(E, B, T, M, D)`, of coefficients of sum 1 whose residual is shortest."""
    if values.shape[-2] == 1:
        return values[..., 0, :]
    gram = residuals @ residuals.transpose(-1, -2)
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    # In units of its longest residual, so that a row near its fixed point is as well conditioned as one far from it.
    gram = gram / diagonal.amax(-1).clamp_min(torch.finfo(gram.dtype).tiny)[..., None, None]
    gram.diagonal(dim1=-2, dim2=-1).add_(torch.finfo(gram.dtype).eps ** 0.75)
    weights: Tensor = torch.linalg.solve_ex(gram, torch.ones_like(gram[..., :1])).result
    weights = weights / weights.sum(-2, keepdim=True)
    return (weights * values).sum(-2)
