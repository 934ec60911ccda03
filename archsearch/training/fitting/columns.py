"""The convex program where patterns are too many to be listed: those that matter are looked for, a few at a time.

A program over few patterns is solved; units that its network lacks are looked for with the residual, and their patterns
come in while those of neurons without weight go (column generation; Bengio et al. 2006, Convex neural networks, and
Bach 2017, JMLR 18(19), section 2.3). It ends where no unit is found: its optimum is as sure as the search is thorough.

Legend of shapes: N rows, D features, P patterns, K neurons, S outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from archsearch.training.fitting.barrier import centred
from archsearch.training.fitting.convex import Network
from archsearch.training.fitting.corrective import below, nonnegative, put_together, taken_apart
from archsearch.training.fitting.lacking import THIN, Unit, lacking, starts

__all__ = ["lacked", "searched"]

Array = np.ndarray[Any, Any]

ROUNDS, AT_ONCE, TOLERANCE = 60, 60, 1e-6
"""Rounds at most, patterns taken in by one, and the relative gap over what was found at which it ends."""
ROUGH, EXACT, CLOSER = 1e-4, 1e-9, 1e-2
"""How exactly the program of a round is solved: at most, at least, and as a share of the last gap."""
STARTS, LAST = 256, 4096
"""Units from which is searched in a round, and before it ends."""
SMALL = 1e-2
"""The length of a neuron with which a program begins."""


def searched(x: Tensor, y: Tensor, beta: float, start: Network | None, seed: int, work: float) -> Network:
    """The network of least objective over all units that are found.

    Args:
        x: rows `(N, D)` float64; y: targets `(N, S)`.
        start: whose patterns are taken in first.
        work: multiply-adds of all outputs, after which it ends as it is.
    """
    found = []
    for i, target in enumerate(y.mT.numpy()):
        output = _Output(x.numpy(), target, beta, np.random.default_rng([seed, i]))
        if start is not None:
            output.begin(*taken_apart(start, i))
        output.run(work / y.shape[1])
        found.append((output.units, output.signs * output.weights))
    return put_together(found)


def lacked(network: Network, x: Tensor, y: Tensor, beta: float, seed: int) -> Tensor:
    """Patterns `(P, N)` of units that a search finds lacking in some output."""
    patterns = torch.zeros(0, len(x), dtype=torch.bool)
    for i, residual in enumerate((y - network(x)).mT.numpy()):
        draw = np.random.default_rng([seed, i, 1])
        units, signs, _ = taken_apart(network, i)
        found = lacking(x.numpy(), residual, beta, (units, signs), starts(x.numpy(), STARTS, draw), draw)
        patterns = torch.cat([patterns, *(torch.from_numpy(unit.pattern)[None] for unit in found)])
    return patterns


class _Output:
    """The neurons of one output.

    Attributes:
        units, signs, weights: of the neurons, `(K, D)`, `(K,)` and `(K,)`.
    """

    def __init__(self, rows: Array, target: Array, beta: float, draw: np.random.Generator) -> None:
        self._rows, self._target, self._beta, self._draw = rows, target, beta, draw
        self._inside, self._patterns = np.zeros((0, rows.shape[1])), np.zeros((0, len(rows)), dtype=bool)
        self._kinds = np.zeros(0)
        self.units, self.signs, self.weights = self._inside, self._kinds, np.zeros(0)

    def begin(self, units: Array, signs: Array, weights: Array) -> None:
        """Takes in the patterns of a network's neurons, short of those without which it is as good."""
        columns = np.maximum(self._rows @ units.T, 0.0) * signs
        kept = nonnegative(columns, self._target, self._beta, weights) > 0
        units, signs = units[kept], signs[kept]
        products = units @ self._rows.T
        kept = np.abs(products).min(1, initial=np.inf) > THIN
        self._add(units[kept], signs[kept], products[kept] > 0)

    def run(self, work: float) -> None:
        """Takes in patterns until none is found, or the work is done."""
        tolerance, best = ROUGH, (np.inf, self.units, self.signs, self.weights)
        for _ in range(ROUNDS):
            work -= self._solve(tolerance)
            columns = np.maximum(self._rows @ self.units.T, 0.0) * self.signs
            residual = self._target - columns @ self.weights
            value = float(residual @ residual) / 2 + self._beta * float(self.weights.sum())
            best = min(best, (value, self.units, self.signs, self.weights), key=lambda b: b[0])
            if work < 0:
                break
            found = self._missing(residual, STARTS) or self._missing(residual, LAST)
            reach = max([self._beta, *(unit.reach for unit in found)])
            gap = 1 - below(residual, self._target, reach, self._beta) / max(value, 1e-300)
            fresh = self._fresh(found)
            if not found or gap <= TOLERANCE or (not fresh and tolerance == EXACT):
                break
            tolerance = max(EXACT, min(ROUGH, CLOSER * gap)) if fresh else EXACT
            if fresh:
                parts = ([u.inside for u in fresh], [u.sign for u in fresh], [u.pattern for u in fresh])
                self._add(*(np.array(part) for part in parts))
        _, self.units, self.signs, self.weights = best

    def _solve(self, tolerance: float) -> float:
        """Finds all neurons anew, keeps the patterns of those that have weight, and gives the work."""
        if not len(self._inside):
            return 0.0
        found, work = centred(
            self._rows, self._target, self._kinds, self._patterns, SMALL * self._inside, self._beta, tolerance
        )
        lengths = np.linalg.norm(found, axis=1)
        units = found / lengths[:, None]
        columns = np.maximum(self._rows @ units.T, 0.0) * self._kinds
        weights = nonnegative(columns, self._target, self._beta, np.where(lengths > 1e-6 * lengths.max(), lengths, 0.0))
        kept = weights > 0
        self._inside, self._kinds, self._patterns = self._inside[kept], self._kinds[kept], self._patterns[kept]
        self.units, self.signs, self.weights = units[kept], self._kinds, weights[kept]
        return work

    def _missing(self, residual: Array, count: int) -> list[Unit]:
        begin = starts(self._rows, count, self._draw)
        return lacking(self._rows, residual, self._beta, (self.units, self.signs), begin, self._draw)

    def _fresh(self, found: list[Unit]) -> list[Unit]:
        """The first of those whose patterns are not in."""
        have = {(p.tobytes(), s) for p, s in zip(self._patterns, self._kinds, strict=True)}
        return [unit for unit in found if (unit.pattern.tobytes(), unit.sign) not in have][:AT_ONCE]

    def _add(self, inside: Array, signs: Array, patterns: Array) -> None:
        self._inside = np.concatenate([self._inside, inside])
        self._kinds = np.concatenate([self._kinds, signs])
        self._patterns = np.concatenate([self._patterns, patterns])
