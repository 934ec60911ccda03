"""All points of a small space, one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archsearch.errors import RuleError
from archsearch.graph.domain import Domain
from archsearch.graph.points import points

if TYPE_CHECKING:
    from archsearch.graph.space import Sample, SearchSpace

__all__ = ["every_point"]


def every_point(space: SearchSpace, limit: int) -> Iterator[Sample]:
    """Each combination of decisions once, the last choice varying fastest; those that are refused are left out.

    Raises:
        RuleError: the space has more than `limit` combinations, or ranges of reals.
    """
    found = space.size()
    if found.infinite or found.count > limit:
        raise RuleError(f"a space that is enumerated has at most {limit:,} combinations of decisions", value=str(found))
    return _points(space)


class _Odometer:
    """A chooser that counts: each walk gives the next combination, whatever choices it opens."""

    def __init__(self) -> None:
        self.digits: list[tuple[tuple[Any, ...], int]] = []
        self.asked = 0

    def __call__(self, path: str, domain: Domain) -> Any:
        if self.asked == len(self.digits):
            self.digits.append((tuple(points(domain)), 0))
        values, at = self.digits[self.asked]
        self.asked += 1
        return values[at]

    def turn(self) -> bool:
        """Goes on to the next combination; false after the last one."""
        self.asked = 0
        while self.digits:
            values, at = self.digits.pop()
            if at + 1 < len(values):
                self.digits.append((values, at + 1))
                return True
        return False


def _points(space: SearchSpace) -> Iterator[Sample]:
    odometer = _Odometer()
    while True:
        sample = None
        with contextlib.suppress(RuleError):  # `require` or `match` may refuse it
            sample = space.walk(odometer)
        if sample is not None:
            yield sample
        if not odometer.turn():
            return
