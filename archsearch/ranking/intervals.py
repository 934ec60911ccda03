"""Means over seeds and their intervals, in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from archsearch.ranking.student import two_sided_p

__all__ = ["interval", "mean", "mean_of"]

CONFIDENCE = 0.95


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return math.fsum(values) / len(values)


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; `None` if none is."""
    known = [v for v in values if v is not None]
    return mean(known) if known else None


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent values by Student's t; `None` with fewer than two."""
    n = len(values)
    if n < 2:
        return None
    center = mean(values)
    deviation = math.sqrt(math.fsum((v - center) ** 2 for v in values) / (n - 1))
    half = _quantile(n - 1) * deviation / math.sqrt(n)
    return center - half, center + half


def _quantile(df: int) -> float:
    """The t that |T| exceeds with a probability of 5 %, by bisection."""
    low, high = 0.0, 1.0
    while two_sided_p(high, df) > 1.0 - CONFIDENCE:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if two_sided_p(middle, df) > 1.0 - CONFIDENCE else (low, middle)
    return high
