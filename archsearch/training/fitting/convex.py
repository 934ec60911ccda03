"""The two-layer relu network as a convex program: its global optimum, and the network that has it.

    min ½‖Σ_i D_i X (v_i − w_i) − y‖² + β Σ_i (‖v_i‖ + ‖w_i‖)    with (2D_i − 1) X v_i ≥ 0, (2D_i − 1) X w_i ≥ 0

has the value of min ½‖Σ_j relu(X u_j) a_j − y‖² + β/2 Σ_j (‖u_j‖² + a_j²), if the D_i are all patterns in which units
can be active on the rows of X (Pilanci and Ergen 2020, arXiv:2002.10553, eq. 8 and theorem 1). Each output has its own
network. Solved by ADMM (Bai, Gautam and Sojoudi 2022, arXiv:2201.01965, section 3), but the equations of
a step are inverted by the n × n matrix of the rows, whatever the number of patterns.

Legend of shapes: N rows, D features, P patterns, S outputs; blocks `(S, 2, P, D)` hold the v and the w of each pattern.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Network", "Program", "Solution", "largest", "objective", "padded", "patterns", "polished"]

RELAXATION, START = 1.6, 3.0
ROUGH, WORK, RATE = 600, 5e9, 1e-2
"""Steps of Adam at most, rows × features × neurons over all of them, and its rate at the start."""
BALANCE = 3.0
"""How far the two residuals may be apart before the weight of the constraints follows."""


@dataclass(frozen=True)
class Network:
    """Neurons of the outputs: `(Σ_k relu(x · inner_k) outer_k)` with inner `(S, K, D)` and outer `(S, K)`."""

    inner: Tensor
    outer: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """`(N, S)` of `(N, D)`."""
        return torch.einsum("skn,sk->ns", torch.relu(self.inner @ x.mT), self.outer)


@dataclass(frozen=True)
class Solution:
    """What the program gives.

    Args:
        network: the neurons.
        value: of the network's own objective, which is not convex.
        iterations: of ADMM.
    """

    network: Network
    value: float
    iterations: int


def patterns(x: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Patterns of activity `(P, N)` bool on the rows `(N, D)`, at most `count`, and whether these are all there are.

    Rows of one number and a one, in this order, have two patterns a distinct number, which are listed; of others those
    of random units, each once.
    """
    if x.shape[1] == 2 and bool((x[:, 1] == x[0, 1]).all()):
        values = x[:, 0].unique()
        if 2 * len(values) - 1 <= count:
            at_least = x[:, 0] >= values[:, None]
            return torch.cat([at_least, ~at_least[1:]]), True
    units = torch.randn(4 * count, x.shape[1], generator=generator, dtype=x.dtype)
    found = (units @ x.mT >= 0).unique(dim=0)
    found = found[found.any(1)]
    return found[torch.randperm(len(found), generator=generator)[:count]], False


def objective(network: Network, x: Tensor, y: Tensor, beta: float) -> float:
    """½‖f(X) − Y‖² + β/2 (‖inner‖² + ‖outer‖²)."""
    return float(_value(network, x, y, beta))


def _value(network: Network, x: Tensor, y: Tensor, beta: float) -> Tensor:
    error = (network(x) - y).square().sum() / 2
    found: Tensor = error + beta / 2 * (network.inner.square().sum() + network.outer.square().sum())
    return found


def largest(x: Tensor, y: Tensor, active: Tensor) -> float:
    """A penalty from which on the network is zero: the largest ‖Xᵀ D_i y‖ over patterns `(P, N)` and outputs."""
    return float((active.to(x.dtype)[None] * y.mT[:, None] @ x).norm(dim=-1).max())


class Program:
    """The convex program of some rows, targets and patterns, for any penalty; a solve starts where the last one ended.

    Args:
        x: rows `(N, D)` float64; y: targets `(N, S)`.
        active: `(P, N)` bool.
    """

    def __init__(self, x: Tensor, y: Tensor, active: Tensor) -> None:
        self.x, self.y, self.active = x, y, active.to(x.dtype)
        self.sign = 2 * self.active - 1
        self._inverse = torch.linalg.inv(torch.eye(x.shape[1], dtype=x.dtype) + x.mT @ x)
        self._kernel = 2 * (x @ self._inverse @ x.mT) * (self.active.mT @ self.active)
        shape = (y.shape[1], 2, len(active), x.shape[1])
        self._z, self._p = x.new_zeros(shape), x.new_zeros(shape)
        self._s, self._q = x.new_zeros((*shape[:3], len(x))), x.new_zeros((*shape[:3], len(x)))

    def solve(self, beta: float, *, iterations: int = 500, tolerance: float = 1e-7) -> Solution:
        """The network of least objective under the penalty `beta`.

        Args:
            iterations: of ADMM, at most; fewer if what is done in one is small against the whole, by `tolerance`.
        """
        rho = START * beta
        step = self._stepper(rho)
        for done in range(1, iterations + 1):
            primal, dual = self._iterate(beta, rho, step)
            if max(primal, dual) < tolerance:
                break
            if done % 25 == 0 and done < 0.8 * iterations and not 1 / BALANCE < primal / max(dual, 1e-300) < BALANCE:
                factor = 2.0 if primal > dual else 0.5
                rho, self._p, self._q = rho * factor, self._p / factor, self._q / factor
                step = self._stepper(rho)
        network = self._network()
        return Solution(network, objective(network, self.x, self.y, beta), done)

    def _stepper(self, rho: float) -> Callable[[Tensor], Tensor]:
        """(FᵀF/ρ + 1 + GᵀG)⁻¹ by Woodbury, where F gives the answers and G what must be positive."""
        eye = torch.eye(len(self.x), dtype=self.x.dtype)
        factor = torch.linalg.cholesky(self._kernel + rho * eye)

        def apply(b: Tensor) -> Tensor:
            a = b @ self._inverse
            inner: Tensor = torch.cholesky_solve(self._answer(a @ self.x.mT).mT, factor).mT
            out: Tensor = a - self._spread(inner) @ self.x @ self._inverse
            return out

        return apply

    def _answer(self, products: Tensor) -> Tensor:
        """F: `(S, N)` of the products X u, `(S, 2, P, N)`."""
        return ((products[:, 0] - products[:, 1]) * self.active).sum(1)

    def _spread(self, values: Tensor) -> Tensor:
        """Fᵀ short of Xᵀ: `(S, 2, P, N)` of `(S, N)`."""
        one = values[:, None] * self.active
        return torch.stack([one, -one], 1)

    def _iterate(self, beta: float, rho: float, step: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """One step; gives the primal and the dual residual, relative."""
        pull = self._spread(self.y.mT) / rho + self.sign * (self._s - self._q)
        u = step(self._z - self._p + pull @ self.x)
        signed = self.sign * (u @ self.x.mT)
        z, s = self._z, self._s
        over_u, over_s = u.lerp(z, 1 - RELAXATION), signed.lerp(s, 1 - RELAXATION)
        shifted = over_u + self._p
        self._z = shifted * (1 - beta / rho / shifted.norm(dim=-1, keepdim=True).clamp(min=1e-300)).clamp(min=0)
        self._s = (over_s + self._q).clamp(min=0)
        self._p, self._q = shifted - self._z, over_s + self._q - self._s
        size = max(float(u.norm() + signed.norm()), 1e-12)
        moved = float((self._z - z).norm() + (self._s - s).norm())
        return float((u - self._z).norm() + (signed - self._s).norm()) / size, moved / size

    def _network(self) -> Network:
        """The neurons u = v/√‖v‖, a = √‖v‖, and likewise with −√‖w‖ (eq. 9)."""
        blocks = self._z.flatten(1, 2)
        root = blocks.norm(dim=-1).sqrt()
        sign = torch.ones_like(root)
        sign[:, self._z.shape[2] :] = -1
        return Network(blocks / root.clamp(min=1e-150).unsqueeze(-1), sign * root)


def polished(network: Network, x: Tensor, y: Tensor, beta: float, steps: int) -> Network:
    """The network after descent of its own objective, in which units may leave the patterns of the program.

    Adam takes it over the kinks of the objective, at which L-BFGS, which comes last, would stop. Neurons without weight
    are dropped, and the two weights of each are brought to one length, which the penalty likes.
    """
    kept = _lively(network)
    weights = [w.clone().requires_grad_() for w in (kept.inner, kept.outer)]

    def loss() -> Tensor:
        for weight in weights:
            weight.grad = None
        with torch.enable_grad():
            value = _value(Network(*weights), x, y, beta)
        value.backward()
        return value

    rough = min(ROUGH, int(WORK / (kept.outer.numel() * x.numel())))
    adam = torch.optim.Adam(weights, lr=RATE)
    for done in range(rough):
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * done / rough))
        adam.step(loss)
    descent = torch.optim.LBFGS(
        weights, max_iter=steps, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )
    descent.step(loss)
    found = _balanced(Network(*(w.detach() for w in weights)))
    return found if objective(found, x, y, beta) < objective(network, x, y, beta) else network


def _lively(network: Network) -> Network:
    """Without the neurons that have no weight in any output's place."""
    places = (network.outer != 0).any(0)
    places[0] = True
    return Network(network.inner[:, places], network.outer[:, places])


def _balanced(network: Network) -> Network:
    """The same function with ‖u‖ = |a|, and without what is lighter than a millionth of the heaviest."""
    lengths, heights = network.inner.norm(dim=-1), network.outer.abs()
    weight = (lengths * heights).sqrt()
    weight = torch.where(weight > 1e-3 * weight.amax().clamp(min=1e-300), weight, 0.0)
    inner = network.inner / lengths.clamp(min=1e-150).unsqueeze(-1) * weight.unsqueeze(-1)
    return Network(inner, network.outer.sign() * weight)


def padded(network: Network, neurons: int) -> Network:
    """The same network with exactly so many neurons an output, those without weight left out or added."""
    size = network.outer.abs().argsort(dim=1, descending=True)[:, :neurons]
    outer = network.outer.gather(1, size)
    inner = network.inner.gather(1, size.unsqueeze(-1).expand(-1, -1, network.inner.shape[-1]))
    more = neurons - outer.shape[1]
    return Network(torch.nn.functional.pad(inner, (0, 0, 0, more)), torch.nn.functional.pad(outer, (0, more)))
