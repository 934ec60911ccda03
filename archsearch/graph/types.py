"""What flows along an edge: a value with a feature shape and a time rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["ValueType"]


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of a value: its feature shape and how often it ticks.

    As a tensor the value is `(copies, batch, time * rate, *shape)`.

    Args:
        shape: `(width,)` for a vector, `(heads, rows, columns)` for a state of matrices.
        rate: 1 at the rate of the input; 1/2 after `pool` by 2.
    """

    shape: tuple[int, ...]
    rate: Fraction = Fraction(1)

    @property
    def width(self) -> int:
        """The size of the last feature axis."""
        return self.shape[-1]

    @property
    def size(self) -> int:
        """The number of features, all axes multiplied."""
        n = 1
        for s in self.shape:
            n *= s
        return n

    def to_list(self) -> list[Any]:
        """Plain JSON data: the shape, and the rate as text where it is not 1."""
        return [*self.shape] if self.rate == 1 else [*self.shape, str(self.rate)]

    @staticmethod
    def from_list(data: Sequence[Any]) -> ValueType:
        """The type that `to_list` wrote."""
        if data and isinstance(data[-1], str):
            return ValueType(tuple(data[:-1]), Fraction(data[-1]))
        return ValueType(tuple(data))

    def __str__(self) -> str:
        text = "×".join(map(str, self.shape))
        return text if self.rate == 1 else f"{text} at rate {self.rate}"
