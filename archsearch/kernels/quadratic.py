"""Small quadratic programs, many at once: `min ½ zᵀQz + pᵀz` so that `Gz ≤ h`.

N families of programs that share Q, G and h; M programs of each, which differ in p; C variables, K constraints. The
solver is the primal-dual interior point method with Mehrotra's predictor and corrector (Mehrotra 1992), a fixed number
of iterations, from a point that is known to be inside. The gradient is that of the Karush-Kuhn-Tucker conditions (Amos
and Kolter 2017, arXiv:1703.00443, equations 6 to 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from archsearch.kernels.implicit import Factored, attach

__all__ = ["Programs", "Solution", "interior_point", "minimise"]

_BLOCK = 1 << 21  # numbers of the matrices that are formed at a time
_INSIDE = 0.99  # of the way to the nearest bound
_ARRIVED = 0.8  # a program whose gap is below this power of rounding moves no more
_LEAST_RATIO = 1e-10  # of slack to price in the matrix of a step, so that bounds that say the same leave it regular


@dataclass(frozen=True, slots=True)
class Programs:
    """What the programs of a family share.

    Args:
        q: `(N, C, C)`, symmetric and positive definite.
        g: `(N, K, C)`.
        inside: a point with room to all bounds, `(N, C)`.
        room: how much, `(N, K)`, above zero; so `h = G inside + room`.
    """

    q: Tensor
    g: Tensor
    inside: Tensor
    room: Tensor

    @property
    def h(self) -> Tensor:
        """The bounds, `(N, K)`."""
        return (self.g @ self.inside.unsqueeze(-1)).squeeze(-1) + self.room

    def detach(self) -> Programs:
        """The same without a graph."""
        return Programs(self.q.detach(), self.g.detach(), self.inside.detach(), self.room.detach())


@dataclass(frozen=True, slots=True)
class _System:
    """The linear system of a step, its variables eliminated by Q, which all programs of a family share.

    What is left is `W + diag(slack / dual)` with `W = G Q⁻¹ Gᵀ`. It stays well conditioned where constraints are met
    with equality and slacks go to zero, which `Q + Gᵀ diag(dual / slack) G` does not.
    """

    programs: Programs
    inverse: Tensor
    reduced: Tensor
    inner: Tensor

    @staticmethod
    def of(programs: Programs) -> _System:
        one = torch.eye(programs.q.shape[-1], dtype=programs.q.dtype, device=programs.q.device)
        inverse = Factored.of(programs.q.unsqueeze(1)).solve(one.expand_as(programs.q))
        reduced = programs.g @ inverse
        return _System(programs, inverse, reduced, reduced @ programs.g.mT)

    def factored(self, ratio: Tensor) -> Factored:
        """What is left, for ratios of slack to price `(N, M, K)`."""
        return Factored.of(self.inner.unsqueeze(1) + torch.diag_embed(ratio.clamp(min=_LEAST_RATIO)))

    def solve(self, left: Factored, right: Tensor, extra: Tensor) -> tuple[Tensor, Tensor]:
        """`dz` and `y` of `Q dz + Gᵀ y = right`, `diag(ratio) y − G dz = extra`."""
        y = left.solve(extra + right @ self.reduced.mT)
        return (right - y @ self.programs.g) @ self.inverse, y


@dataclass(frozen=True, slots=True)
class Solution:
    """A point `z`, `(N, M, C)`, the prices `dual` of the constraints and what is left to their bounds, `(N, M, K)`."""

    z: Tensor
    dual: Tensor
    slack: Tensor


def minimise(p: Tensor, programs: Programs, iterations: int) -> Tensor:
    """The minimisers, `(N, M, C)`, of programs with the linear terms `p`, `(N, M, C)`."""
    fixed = programs.detach()
    found = interior_point(p.detach(), fixed, iterations)
    stationary = found.z @ programs.q + p + found.dual @ programs.g
    over = found.z @ programs.g.mT - programs.h.unsqueeze(1)
    solve = partial(_conditions, fixed, found.slack / found.dual)
    return attach(found.z, torch.cat([stationary, over], -1), solve)


@torch.no_grad()
def _conditions(programs: Programs, ratio: Tensor, right: Tensor) -> Tensor:
    """What a gradient by the minimisers is by stationarity and by the constraints, side by side: `(N, M, C + K)`."""
    system, size = _System.of(programs), _block(programs)
    parts = zip(ratio.split(size, 1), right.split(size, 1), strict=True)
    return torch.cat([torch.cat(system.solve(system.factored(s), r, torch.zeros_like(s)), -1) for s, r in parts], 1)


@torch.no_grad()
def interior_point(p: Tensor, programs: Programs, iterations: int) -> Solution:
    """Solutions with their prices; see `minimise`."""
    system = _System.of(programs)
    found = [_one_block(part, system, iterations) for part in p.split(_block(programs), 1)]
    return Solution(*(torch.cat([getattr(s, name) for s in found], 1) for name in ("z", "dual", "slack")))


def _block(programs: Programs) -> int:
    n, k, _ = programs.g.shape
    return max(1, _BLOCK // (n * k * k))


def _one_block(p: Tensor, system: _System, iterations: int) -> Solution:
    programs = system.programs
    slack = programs.room.unsqueeze(1).expand(-1, p.shape[1], -1)
    at = Solution(programs.inside.unsqueeze(1).expand_as(p), torch.ones_like(slack), slack)
    for _ in range(iterations):
        at = _iteration(p, system, at)
    return at


def _iteration(p: Tensor, system: _System, at: Solution) -> Solution:
    """A predicted step, a corrected one, and as much of that as keeps prices and slacks above zero."""
    g, product = system.programs.g, at.slack * at.dual
    off = at.z @ system.programs.q + p + at.dual @ g
    over = at.z @ g.mT + at.slack - system.programs.h.unsqueeze(1)

    left = system.factored(at.slack / at.dual)

    def direction(target: Tensor) -> Solution:
        dz, dual = system.solve(left, -off, over - target / at.dual)
        return Solution(dz, dual, -over - dz @ g.mT)

    gap = product.mean(-1, keepdim=True)
    ahead = direction(product)
    length = _length(at, ahead, 1.0)
    predicted = ((at.slack + length * ahead.slack) * (at.dual + length * ahead.dual)).mean(-1, keepdim=True)
    centre = (predicted / gap).pow(3) * gap
    # The second order is taken by as much as the predicted step was: whole, it lets a program jam at a bound.
    step = direction(product + length * ahead.slack * ahead.dual - centre)
    arrived = gap < torch.finfo(gap.dtype).eps ** _ARRIVED
    length = _length(at, step, _INSIDE)
    moves = ((x, x + length * d) for x, d in ((at.z, step.z), (at.dual, step.dual), (at.slack, step.slack)))
    return Solution(*(torch.where(arrived, x, moved) for x, moved in moves))


def _length(at: Solution, step: Solution, share: float) -> Tensor:
    """The share of the way to the nearest bound, at most 1: `(N, M, 1)`."""
    ways = [
        torch.where(d < 0, -x / d, torch.full_like(d, float("inf")))
        for x, d in ((at.dual, step.dual), (at.slack, step.slack))
    ]
    nearest = torch.cat(ways, -1).amin(-1, keepdim=True)
    return (share * nearest).clamp(max=1.0)
