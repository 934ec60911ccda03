"""Units that a two-layer relu network lacks: those with |rᵀ relu(X u)| > β, where r is its residual and ‖u‖ = 1.

No network is better if there is none (Bach 2017, Breaking the curse of dimensionality with convex neural networks,
JMLR 18(19), section 2.3). To find the largest is hard in general, so what is not found here may still be there.

Legend of shapes: N rows, D features, M units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

__all__ = ["Unit", "lacking", "projected", "starts"]

Array = np.ndarray[Any, Any]

CLIMBS, SHRUNK, SHRINK = 20, 40, 0.8
"""Steps of ascent as far as they go, steps that shrink after them, and by what."""
NEAR = (1e-4, 1e-3, 1e-2, 1e-2, 1e-1)
"""How far from the network's units others are drawn, which are in the patterns beside."""
PROJECTED, ABOVE, THIN = 200, 1e-7, 1e-12
"""Patterns of a sign in which the best unit is found exactly, by what it must be above β, relative, and products of a
unit with a row that are too small to tell its pattern."""


@dataclass(frozen=True)
class Unit:
    """A unit that is lacking.

    Args:
        reach: |rᵀ relu(X u)|; sign: that of the product.
        unit: the best of its pattern, `(D,)`, which may be at its boundary; inside: one off all boundaries.
        pattern: the rows on which it is active, `(N,)` bool.
    """

    reach: float
    sign: float
    unit: Array
    inside: Array
    pattern: Array


def projected(x: Array, pattern: Array, pull: Array) -> tuple[float, Array] | None:
    """The largest product of `pull` with a unit of a pattern, and the unit; none if it was not found."""
    cone = (np.where(pattern, 1.0, -1.0)[:, None] * x).T
    try:
        normals, reach = nnls(cone, -pull, maxiter=20_000)
    except RuntimeError:  # it did not converge
        return None
    return float(reach), (pull + cone @ normals) / max(reach, 1e-300)


def starts(x: Array, count: int, draw: np.random.Generator) -> Array:
    """Units `(M, D)`: random ones, random ones whose boundary goes through a row, and rows and their opposites."""
    units = draw.standard_normal((count, x.shape[1]))
    through = x[draw.integers(len(x), size=count // 2)]
    share = (units[: count // 2] * through).sum(1) / np.maximum((through * through).sum(1), 1e-300)
    units[: count // 2] -= share[:, None] * through
    rows = x[draw.permutation(len(x))[: count // 4]]
    return np.concatenate([units, rows, -rows])


def lacking(
    x: Array, residual: Array, beta: float, own: tuple[Array, Array], begin: Array, draw: np.random.Generator
) -> list[Unit]:
    """Units found above β, each of another pattern or sign, from the largest on.

    Args:
        x: rows `(N, D)`; residual: `(N,)`.
        own: the network's units `(K, D)` and their signs `(K,)`: others are looked for around them, too.
        begin: where the search begins besides, `(M, D)`.
    """
    found = []
    for sign in (1.0, -1.0):
        units = own[0][own[1] == sign]
        near = [units + e / x.shape[1] ** 0.5 * draw.standard_normal(units.shape) for e in NEAR]
        around = np.concatenate(near)
        tops = np.concatenate([_climbed(x, sign * residual, np.concatenate([begin, units, around])), around])
        tops = tops / np.maximum(np.linalg.norm(tops, axis=1, keepdims=True), 1e-300)
        products = tops @ x.T
        _, first = np.unique(products > 0, axis=0, return_index=True)
        first = first[np.abs(products[first]).min(1) > THIN]
        order = np.argsort(-(np.maximum(products[first], 0.0) @ (sign * residual)), kind="stable")
        for i in first[order][:PROJECTED]:
            pattern = products[i] > 0
            pull = sign * (residual * pattern) @ x
            best = projected(x, pattern, pull) if np.linalg.norm(pull) > beta else None
            if best is not None and best[0] > beta * (1 + ABOVE):
                found.append(Unit(best[0], sign, best[1], tops[i], pattern))
    return sorted(found, key=lambda unit: -unit.reach)


def _climbed(x: Array, residual: Array, units: Array) -> Array:
    """From each unit one with a larger residualᵀ relu(X u).

    First by u ← Xᵀ D r / ‖Xᵀ D r‖, D the rows on which u is active, which goes over concave kinks and back; then along
    the same by steps that shrink, which end at them.
    """
    best, reach = units, np.full(len(units), -np.inf)
    for step in range(CLIMBS + SHRUNK):
        units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-300)
        products = units @ x.T
        now = np.maximum(products, 0.0) @ residual
        better = now > reach
        best, reach = np.where(better[:, None], units, best), np.maximum(reach, now)
        if step == CLIMBS:
            units, products = best, best @ x.T
        pull: Array = ((products > 0) * residual) @ x
        pull = pull / np.maximum(np.linalg.norm(pull, axis=1, keepdims=True), 1e-300)
        units = pull if step < CLIMBS else units + 0.5 * SHRINK ** (step - CLIMBS) * pull
    return best
