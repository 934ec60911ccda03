"""The convex program of one output over a few patterns, by an interior point method.

    min ½‖Σ_k s_k D_k X v_k − y‖² + β Σ_k ‖v_k‖    with (2D_k − 1) X v_k ≥ 0

(Pilanci and Ergen 2020, arXiv:2002.10553, eq. 8). The barrier −log(t² − ‖v‖²) of ‖v‖ ≤ t is minimised over t in
closed form, t = a + √(a² + ‖v‖²) with a = 1/τβ; with −log of the products with the rows it is what damped Newton
steps descend, while τ grows (Boyd and Vandenberghe 2004, Convex Optimization, sections 9.6 and 11.3).

Legend of shapes: N rows, D features, K patterns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

__all__ = ["centred"]

Array = np.ndarray[Any, Any]

FASTER, STEPS, DECREASE = 20.0, 25, 0.1
"""By what τ grows, Newton steps for each at most, and half the squared Newton decrement at which one is done with."""
INSIDE, HALVES, SLOPE = 0.99, 40, 0.1
"""The share of the way to the boundary that a step may go, how often it is halved, and what it must gain of its slope.
"""
ROUNDING = 1e-13
"""Added to the diagonal of a block, relative to its trace."""


def centred(
    x: Array, y: Array, signs: Array, patterns: Array, inside: Array, beta: float, tolerance: float
) -> tuple[Array, float]:
    """The v `(K, D)` whose objective is within `tolerance` of the least, relative, and the multiply-adds it took.

    Args:
        x: rows `(N, D)`; y: targets `(N,)`; signs: `(K,)`, 1 or −1; patterns: `(K, N)` bool.
        inside: where to begin, `(K, D)`: in each pattern a point off all its boundaries.
    """
    barrier, v, work = _Barrier(x, y, signs, patterns, beta), inside, 0.0
    count = patterns.size + 2 * len(patterns)
    barrier.tau = count / max(float(y @ y) / 2, 1e-300)
    while True:
        for _ in range(STEPS):
            move, decrease = barrier.step(v)
            work += barrier.work
            if not decrease > DECREASE:
                break
            v = _searched(barrier, v, move, decrease)
        error = barrier.answer(v) - y
        if count / barrier.tau <= tolerance * (error @ error / 2 + beta * np.linalg.norm(v, axis=1).sum()):
            return v, work
        barrier.tau *= FASTER


class _Barrier:
    """The objective times τ with its barrier.

    Attributes:
        tau: how much the objective counts beside the barrier.
        work: multiply-adds of a step, about.
    """

    def __init__(self, x: Array, y: Array, signs: Array, patterns: Array, beta: float) -> None:
        self._x, self._y, self._beta, self.tau = x, y, beta, 1.0
        self._active, self._side = patterns * signs[:, None], 2.0 * patterns - 1
        self._features = np.swapaxes(self._active[:, :, None] * x, 1, 2)
        rows, numbers = len(x), signs.size * x.shape[1]
        self._gram: Array | None = None
        self.work = numbers * (numbers**2 / 3 if numbers < 1.5 * rows else float(rows**2) + rows * x.shape[1])
        if numbers < 1.5 * rows:
            flat = self._features.reshape(numbers, rows)
            self._gram = flat @ flat.T

    def answer(self, v: Array) -> Array:
        """What the network says of the rows, `(N,)`."""
        return np.asarray((self._active * (v @ self._x.T)).sum(0))

    def sides(self, v: Array) -> Array:
        """What must be positive, `(K, N)`."""
        return np.asarray(self._side * (v @ self._x.T))

    def value(self, v: Array) -> float:
        """Infinite outside."""
        sides = self.sides(v)
        if not sides.min() > 0:
            return float("inf")
        a = 1 / (self.tau * self._beta)
        t = a + np.sqrt(a * a + (v * v).sum(1))
        error = self.answer(v) - self._y
        objective = error @ error / 2 + self._beta * t.sum()
        return float(self.tau * objective - np.log(2 * a * t).sum() - np.log(sides).sum())

    def step(self, v: Array) -> tuple[Array, float]:
        """The Newton step, and half the squared decrement."""
        x, tau = self._x, self.tau
        a = 1 / (tau * self._beta)
        root = np.sqrt(a * a + (v * v).sum(1))
        t, inverse = a + root, 1 / self.sides(v)
        pull = tau * self._beta / t
        slope = tau * (self._active * (self.answer(v) - self._y)) @ x
        slope += pull[:, None] * v - (self._side * inverse) @ x
        scaled = inverse[:, :, None] * x
        blocks = np.swapaxes(scaled, 1, 2) @ scaled
        blocks -= (pull / (t * root))[:, None, None] * v[:, :, None] * v[:, None, :]
        diagonal = np.arange(x.shape[1])
        blocks[:, diagonal, diagonal] += pull[:, None]
        blocks[:, diagonal, diagonal] += ROUNDING * (np.trace(blocks, axis1=1, axis2=2) + pull)[:, None]
        move = -(self._by_rows(blocks, slope) if self._gram is None else self._directly(blocks, slope))
        return move, float(-(slope * move).sum() / 2)

    def _directly(self, blocks: Array, slope: Array) -> Array:
        """(blocks + τ FᵀF)⁻¹ slope, where F gives the answer."""
        assert self._gram is not None, "it is small"
        whole, (count, size) = self.tau * self._gram, slope.shape
        place = np.arange(count)
        whole.reshape(count, size, count, size)[place, :, place] += blocks
        return np.asarray(cho_solve(cho_factor(whole, lower=True), slope.reshape(-1)).reshape(slope.shape))

    def _by_rows(self, blocks: Array, slope: Array) -> Array:
        """The same by Woodbury, with an N × N matrix."""
        inverse = np.linalg.inv(blocks)
        spread = inverse @ self._features
        apart = (inverse @ slope[:, :, None])[:, :, 0]
        kernel = self._features.reshape(-1, len(self._x)).T @ spread.reshape(-1, len(self._x))
        kernel[np.diag_indices(len(kernel))] += 1 / self.tau
        inner = cho_solve(cho_factor(kernel, lower=True), np.einsum("kdn,kd->n", self._features, apart))
        return np.asarray(apart - spread @ inner)


def _searched(barrier: _Barrier, v: Array, move: Array, decrease: float) -> Array:
    """The point along a Newton step that stays inside and makes the barrier smaller."""
    nearest = float((-barrier.sides(move) / barrier.sides(v)).max())
    length, before = min(1.0, INSIDE / max(nearest, 1e-300)), barrier.value(v)
    for _ in range(HALVES):
        if barrier.value(v + length * move) <= before - SLOPE * length * decrease:
            return np.asarray(v + length * move)
        length /= 2
    return v
