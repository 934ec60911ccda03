"""Whether candidates have matched sizes and, where they have not, how much of the ranking is size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["MATCHED", "SizeReport", "size_report", "spearman"]

MATCHED = 0.03
"""Sizes within ±3 % of a target count as matched: what `match` promises."""


@dataclass(frozen=True, slots=True)
class SizeReport:
    """The spread of sizes among ranked candidates.

    Args:
        smallest, largest: parameters.
        matched: whether one target has all sizes within ±3 % of it.
        correlation: Spearman's, of score and size; `None` where it is undefined (fewer than 3, or all equal).
        count: of candidates.
    """

    smallest: float
    largest: float
    matched: bool
    correlation: float | None
    count: int


def size_report(scores: Sequence[float], sizes: Sequence[float]) -> SizeReport | None:
    """Compares sizes and scores (larger is better) of as many candidates; `None` if there are none."""
    if not sizes:
        return None
    low, high = min(sizes), max(sizes)
    matched = high * (1 - MATCHED) <= low * (1 + MATCHED)
    return SizeReport(low, high, matched, spearman(scores, sizes), len(sizes))


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; `None` if it is undefined."""
    if len(x) < 3:
        return None
    a, b = _ranks(x), _ranks(y)
    centre = (len(x) + 1) / 2
    both = math.fsum((p - centre) * (q - centre) for p, q in zip(a, b, strict=True))
    one = math.fsum((p - centre) ** 2 for p in a) * math.fsum((q - centre) ** 2 for q in b)
    return both / math.sqrt(one) if one > 0 else None


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or values[order[end]] != values[order[start]]:
            for i in order[start:end]:
                ranks[i] = (start + 1 + end) / 2
            start = end
    return ranks
