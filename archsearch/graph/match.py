"""Which width brings an architecture to a wanted number of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from archsearch.errors import RuleError

__all__ = ["solve"]

_UNITS = sorted({*range(1, 17), *(odd << k for odd in (1, 3, 5, 7) for k in range(11))})
_MAX_WIDTH = 1 << 20


def solve(count: Callable[[int], int], target: int, *, tolerance: float = 0.03, start: int, name: str = "width") -> int:
    """The width whose count comes nearest to `target`.

    Widths that fit are taken to be the multiples of some unit (heads must divide the width, say). Two neighbouring
    multiples of a number that both fit show that the unit divides that number; so the target is bracketed between
    neighbouring multiples of 1, then of 2, 3 and so on, until both fit. A width that does not fit, and one that does,
    each exclude most units, so that a handful of counts is enough.

    Args:
        count: parameters at a width; must not fall as the width rises. Raises `RuleError` if the width does not fit.
        target: the wanted count.
        tolerance: by what share of `target` the answer may miss it.
        start: a width to start from.
        name: what is solved for, as messages say it.

    Raises:
        RuleError: no width that fits comes near enough, and which come nearest; or no width fits at all.
    """
    search = _Search(count, target, name)
    search.fits(start)
    for unit in _UNITS:
        if not search.excludes(unit) and search.bracket(unit, start):
            break
    nearest = search.nearest(tolerance)
    if nearest is None:
        low, high = search.below(), search.above()
        near = [f"{name} {w} gives {search.counts[w]:,}" for w in (low, high) if w is not None]
        raise RuleError(
            f"no {name} brings the parameters within {tolerance:.0%} of {target:,}",
            value=", ".join(near),
            hint=_hint(low, high),
        )
    return nearest


def _hint(low: int | None, high: int | None) -> str | None:
    if low is None:
        return "Ask for more parameters, or make the architecture smaller."
    return "Ask for another size, or allow widths between these." if high is not None else None


@dataclass(slots=True)
class _Search:
    """What has been counted so far."""

    count: Callable[[int], int]
    target: int
    name: str
    counts: dict[int, int] = field(default_factory=dict)
    refused: dict[int, RuleError] = field(default_factory=dict)

    def fits(self, width: int) -> bool:
        """Whether `width` fits; counts it if that is not known yet."""
        if width not in self.counts and width not in self.refused:
            try:
                self.counts[width] = self.count(width)
            except RuleError as error:
                self.refused[width] = error
        return width in self.counts

    def excludes(self, unit: int) -> bool:
        """Whether what is known rules out that all multiples of `unit`, and no multiples of less, fit."""
        common = math.gcd(*self.counts) if self.counts else 0
        return common % unit != 0 or any(w % unit == 0 for w in self.refused)

    def bracket(self, unit: int, start: int) -> bool:
        """Counts multiples of `unit` until two neighbours enclose the target; false if one does not fit."""
        k = self._guess(unit, start)
        while self.fits(k * unit):
            known = {w // unit: c for w, c in self.counts.items() if w % unit == 0}
            low = max((k for k, c in known.items() if c <= self.target), default=0)
            high = min((k for k, c in known.items() if c > self.target), default=None)
            if high == low + 1 or (low + 1) * unit > _MAX_WIDTH:
                return True
            k = min(max(self._guess(unit, start), low + 1), _MAX_WIDTH // unit if high is None else high - 1)
        return False

    def _guess(self, unit: int, start: int) -> int:
        """The multiple of `unit` at which the target is expected, from the nearest counts: they grow as squares."""
        low, high = self.below(), self.above()
        roots = {w: math.sqrt(c) for w, c in self.counts.items()}
        goal = math.sqrt(self.target)
        if low is not None and high is not None and roots[low] < roots[high]:
            width = low + (high - low) * (goal - roots[low]) / (roots[high] - roots[low])
        else:
            near = high if low is None else low
            width = start if near is None else near * min(goal / max(roots[near], 1.0), 16.0)
        return max(1, int(width / unit))

    def below(self) -> int | None:
        """The largest width whose count does not exceed the target."""
        return max((w for w, c in self.counts.items() if c <= self.target), default=None)

    def above(self) -> int | None:
        """The smallest width whose count exceeds the target."""
        return min((w for w, c in self.counts.items() if c > self.target), default=None)

    def nearest(self, tolerance: float) -> int | None:
        """The width of the nearest count, if that is near enough.

        Raises:
            RuleError: no width fits.
        """
        if not self.counts:
            first = next(iter(self.refused.values()))
            raise RuleError(f"no {self.name} fits: {first.rule}", value=first.value, hint=first.hint) from first
        gap, width = min((abs(c - self.target), w) for w, c in self.counts.items())
        return width if gap <= tolerance * self.target else None
