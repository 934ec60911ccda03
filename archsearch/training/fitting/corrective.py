"""The convex program where all patterns are listed: neuron by neuron, each time with all weights found anew.

A network Σ_k c_k s_k relu(X u_k), with ‖u_k‖ = 1, s_k = ±1 and c_k ≥ 0, has the objective ½‖f − y‖² + β Σ c_k. No
network is better if no unit of any pattern has |rᵀ relu(X u)| > β with its residual r. So the units with the largest
are taken in, the weights of all are found by active sets, and again (fully corrective conditional gradient; Bach 2017,
Breaking the curse of dimensionality with convex neural networks, JMLR 18(19), section 2.3).

Legend of shapes: N rows, D features, P patterns, K neurons, S outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from archsearch.training.fitting.convex import Network
from archsearch.training.fitting.lacking import projected

__all__ = ["below", "corrected", "nonnegative", "put_together", "taken_apart"]

Array = np.ndarray[Any, Any]

ROUNDS, AT_ONCE, TOLERANCE = 100, 6, 1e-6
"""Rounds at most, units taken in by one, and the relative gap at which it ends."""
ALIKE = 0.999
"""Units of a round with a larger cosine are taken for one."""


def corrected(x: Tensor, y: Tensor, active: Tensor, beta: float, start: Network | None = None) -> Network:
    """The network of least objective over all units of the patterns, up to `TOLERANCE`.

    Args:
        x: rows `(N, D)` float64; y: targets `(N, S)`; active: `(P, N)`.
        start: a network to begin with, such as that of another penalty.
    """
    rows, patterns = x.numpy(), active.numpy()
    found = []
    for i, target in enumerate(y.mT.numpy()):
        output = _Output(rows, target, patterns, beta)
        if start is not None:
            output.units, output.signs, output.weights = taken_apart(start, i)
        output.run()
        found.append((output.units, output.signs * output.weights))
    return put_together(found)


def taken_apart(network: Network, output: int) -> tuple[Array, Array, Array]:
    """Units of length 1 `(K, D)`, signs `(K,)` and weights `(K,)` of an output's neurons."""
    inner, outer = network.inner[output].numpy(), network.outer[output].numpy()
    lengths = np.linalg.norm(inner, axis=1)
    kept = (lengths > 0) & (outer != 0)
    return inner[kept] / lengths[kept, None], np.sign(outer[kept]), lengths[kept] * np.abs(outer[kept])


def put_together(found: list[tuple[Array, Array]]) -> Network:
    """The network of units of length 1 and signed weights, an output each; those of few neurons have empty places."""
    most = max(1, *(len(weights) for _, weights in found))
    inner, outer = np.zeros((len(found), most, found[0][0].shape[1])), np.zeros((len(found), most))
    for i, (units, weights) in enumerate(found):
        root = np.sqrt(np.abs(weights))
        inner[i, : len(weights)], outer[i, : len(weights)] = units * root[:, None], np.sign(weights) * root
    return Network(torch.from_numpy(inner), torch.from_numpy(outer))


class _Output:
    """The neurons of one output.

    Attributes:
        units, signs, weights: `(K, D)`, `(K,)` and `(K,)`.
    """

    def __init__(self, rows: Array, target: Array, patterns: Array, beta: float) -> None:
        self._rows, self._target, self._patterns, self._beta = rows, target, patterns, beta
        self.units, self.signs, self.weights = np.zeros((0, rows.shape[1])), np.zeros(0), np.zeros(0)

    def run(self) -> None:
        """Takes in units until none is missing."""
        bound = -np.inf
        for _ in range(ROUNDS):
            columns = np.maximum(self._rows @ self.units.T, 0.0) * self.signs
            self.weights = nonnegative(columns, self._target, self._beta, self.weights)
            residual = self._target - columns @ self.weights
            value = residual @ residual / 2 + self._beta * self.weights.sum()
            self._merge()
            units = self._missing(residual)
            bound = max(bound, below(residual, self._target, max([self._beta, *(r for r, _, _ in units)]), self._beta))
            if not units or value - bound <= TOLERANCE * value:
                return
            self._take(units)

    def _merge(self) -> None:
        """Neurons of one pattern and sign are one, which is no longer than they are together."""
        kept = self.weights > 0
        units, signs, weights = self.units[kept], self.signs[kept], self.weights[kept]
        key = np.concatenate([units @ self._rows.T > 0, signs[:, None] > 0], 1)
        _, group = np.unique(key, axis=0, return_inverse=True)
        sums = np.zeros((group.max(initial=-1) + 1, units.shape[1]))
        np.add.at(sums, group.reshape(-1), units * weights[:, None])
        self.signs = np.zeros(len(sums))
        self.signs[group.reshape(-1)] = signs
        self.weights = np.linalg.norm(sums, axis=1)
        self.units = sums / np.maximum(self.weights, 1e-300)[:, None]

    def _missing(self, residual: Array) -> list[tuple[float, float, Array]]:
        """Units with |residualᵀ relu(X u)| > β, the largest of each pattern and sign: how large, the sign, the unit."""
        pulls = (self._patterns * residual) @ self._rows
        lengths, least = np.linalg.norm(pulls, axis=1), self._beta * (1 + 1e-9)
        found = []
        for i in np.flatnonzero(lengths > least):
            for sign in (1.0, -1.0):
                best = projected(self._rows, self._patterns[i], sign * pulls[i])
                if best is not None and best[0] > least:
                    found.append((best[0], sign, best[1]))
        return sorted(found, key=lambda f: -f[0])

    def _take(self, found: list[tuple[float, float, Array]]) -> None:
        taken: list[tuple[float, Array]] = []
        for _, sign, unit in found:
            if all(sign != s or unit @ u < ALIKE for s, u in taken):
                taken.append((sign, unit))
            if len(taken) == AT_ONCE:
                break
        self.units = np.concatenate([self.units, [u for _, u in taken]])
        self.signs = np.concatenate([self.signs, [s for s, _ in taken]])
        self.weights = np.concatenate([self.weights, np.zeros(len(taken))])


def below(residual: Array, target: Array, reach: float, beta: float) -> float:
    """What no objective can go below, if |rᵀ relu(X u)| is at most `reach` for every unit and this residual r."""
    along, size = float(residual @ target), max(float(residual @ residual), 1e-300)
    scale = min(along / size, beta / reach)
    return scale * along - scale**2 / 2 * size


def nonnegative(columns: Array, target: Array, beta: float, start: Array) -> Array:
    """The w ≥ 0 of least ½‖columns · w − target‖² + β Σ w, by active sets (Lawson and Hanson 1974, chapter 23.3)."""
    gram, slope = columns.T @ columns, columns.T @ target - beta
    weights, out = start.copy(), np.zeros(len(start), dtype=bool)
    free = weights > 0
    for _ in range(20 * len(weights) + 1):
        while free.any():
            best = np.linalg.lstsq(gram[np.ix_(free, free)], slope[free], rcond=1e-14)[0]
            if best.min() > 0:
                weights[free] = best
                break
            here, low = weights[free], best <= 0
            steps = here[low] / np.maximum(here[low] - best[low], 1e-300)
            here += steps.min() * (best - here)
            here[np.flatnonzero(low)[steps.argmin()]] = 0.0
            weights[free] = np.maximum(here, 0.0)
            out |= free & (weights == 0)
            free = weights > 0
        rising = np.where(free | out, -np.inf, slope - gram @ weights)
        if not len(rising) or rising.max() <= 1e-9 * beta:
            break
        new = int(rising.argmax())
        free[new] = True
        best = np.linalg.lstsq(gram[np.ix_(free, free)], slope[free], rcond=1e-14)[0]
        if best[int(free[:new].sum())] > 0:
            out[:] = False
        else:  # rounding alone made it look better
            free[new], out[new] = False, True
    return weights
