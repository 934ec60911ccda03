"""A random smooth function to fit: a sum of cosines with random directions, frequencies and phases.

There is nothing to mix in time, a sequence being one point: it is made for perceptrons with free wiring. Each `seed` is
another function, and other points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, InputKind, OutputKind, Split
from archsearch.tasks.corruption import missing_inputs, noise_of_values, with_missing, with_noisy_values
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.scoring import error_sums
from archsearch.tasks.settings import setting

__all__ = ["RandomFunctions"]

POINTS = 65536
"""Mean and spread of a function are taken over so many points."""


@dataclass(frozen=True)
class RandomFunctions(DrawnTask):
    """Fit a random smooth function."""

    name: ClassVar[str] = "random_functions"
    summary: ClassVar[str] = "Fit a random smooth function, a sum of cosines, from values at random points."
    paper: ClassVar[str] = "Rahimi and Recht 2007, Random Features for Large-Scale Kernel Machines, NeurIPS"
    metric: ClassVar[str] = "mse"
    maximize: ClassVar[bool] = False
    training: ClassVar[Mapping[str, Any]] = {"steps": 2000, "batch": 64, "learning_rates": (3e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "frequency": (2.0, 4.0, 5.0, 6.0, 8.0, 12.0),
        "dimensions": (1, 2, 3, 4, 6, 8),
        "examples_train": (12800, 3200, 800, 200),
    }

    dimensions: int = setting(2, low=1, high=1024, help="numbers that make a point, each between -1 and 1")
    terms: int = setting(32, low=1, high=4096, help="cosines")
    frequency: float = setting(4.0, low=0.0, high=1e3, help="standard deviation of the radians a unit of length")
    label_noise: float = noise_of_values()
    missing_inputs: float = missing_inputs()

    @property
    def input(self) -> InputKind:
        """A point."""
        return InputKind("vectors", self.dimensions)

    @property
    def output(self) -> OutputKind:
        """The value of the function there."""
        return OutputKind("sequence", 1, loss="squared_error")

    @property
    def length(self) -> int:
        """One point."""
        return 1

    @property
    def chance(self) -> float:
        """The variance of the function, which is scaled to 1."""
        return 1.0

    @property
    def ceiling(self) -> float | None:
        """The function itself; unknown where parts of the points are missing."""
        return None if self.missing_inputs else 0.0

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, 1, dimensions)` points and `(count, 1)` values, of mean 0 and variance 1."""
        points = torch.rand(count, 1, self.dimensions, generator=generator) * 2.0 - 1.0
        values = _function(self)(points.squeeze(1)).unsqueeze(1)
        if split == "train":
            values = with_noisy_values(values, self.label_noise, generator)
        return Examples(with_missing(points, self.missing_inputs, generator), values)

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The squared error, which is the share of the variance that stays unexplained."""
        errors, count = error_sums(outputs, targets, mask)
        return errors, errors, count


class _Cosines:
    """x → (Σ a cos(ω·x + b) − mean) / spread, for x `(N, dimensions)`."""

    def __init__(self, dimensions: int, terms: int, frequency: float, generator: torch.Generator) -> None:
        self._waves = frequency * torch.randn(dimensions, terms, generator=generator)
        self._phases = 2.0 * math.pi * torch.rand(terms, generator=generator)
        self._heights = torch.randn(terms, generator=generator)
        self._mean, self._spread = 0.0, 1.0
        values = self(torch.rand(POINTS, dimensions, generator=generator) * 2.0 - 1.0).double()
        self._mean, self._spread = float(values.mean()), max(float(values.std()), 1e-12)

    def __call__(self, x: Tensor) -> Tensor:
        return ((x @ self._waves + self._phases).cos() @ self._heights - self._mean) / self._spread


@lru_cache(maxsize=4)
def _function(task: RandomFunctions) -> _Cosines:
    # Numbers of its own, apart from those of the three splits.
    generator = torch.Generator().manual_seed(2**40 + task.seed)
    return _Cosines(task.dimensions, task.terms, task.frequency, generator)
