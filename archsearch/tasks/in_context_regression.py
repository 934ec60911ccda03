"""In-context linear regression: points with values under a linear map that each sequence has of its own, then a point.

The best that one layer of linear self-attention can do is one step of gradient descent from zero on the examples before
the query, with the best step size. With x uniform in [-R, R]^d, w from a standard normal and s = R²/3, it has the loss

    k = d s,  E = (d R⁴/5 + d (d - 1) s²) / N + (N - 1)/N · d s²,  η = k/E,  half-MSE = s/2 · (d - k²/E).

For d = N = 10 and R = 1/2 that is 0.2062. One layer trained with the defaults ends at 0.2076, in 34 s of a core:

    archsearch train search_spaces/linear_self_attention.yaml

Legend of shapes: B examples, N pairs before the query, d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, InputKind, OutputKind, Split
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.scoring import error_sums
from archsearch.tasks.settings import setting

__all__ = ["InContextRegression"]


@dataclass(frozen=True)
class InContextRegression(DrawnTask):
    """Predict the value of a point from examples of a linear map."""

    name: ClassVar[str] = "in_context_regression"
    summary: ClassVar[str] = "Predict the value of a point from examples of a linear map in the same sequence."
    paper: ClassVar[str] = "von Oswald et al. 2023, Transformers Learn In-Context by Gradient Descent, arXiv:2212.07677"
    metric: ClassVar[str] = "half_mse"
    maximize: ClassVar[bool] = False
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 3000,
        "batch": 128,
        "learning_rates": (3e-3,),
        "weight_decay": 0.0,
        "evaluation_examples": 16384,  # the squares of few numbers scatter: with 1,024 the score is off by 4 %
    }
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "dimensions": (1, 2, 3, 4, 6, 8, 10),
        "pairs": (40, 20, 10, 5),
    }

    examples_train: int = setting(131072, low=1, help="examples to train on")
    examples_validation: int = setting(16384, low=1, help="examples that the search is scored on")
    examples_test: int = setting(16384, low=1, help="examples that the finals are scored on")
    dimensions: int = setting(10, low=1, high=1024, help="d, the numbers that make a point")
    pairs: int = setting(10, low=1, high=65535, help="N, points with their values before the query")
    bound: float = setting(0.5, low=1e-3, high=1e3, help="R; the numbers of a point lie between -R and R")

    @property
    def input(self) -> InputKind:
        """A point and its value, which is 0 at the query."""
        return InputKind("vectors", self.dimensions + 1)

    @property
    def output(self) -> OutputKind:
        """The value of the point, at every step."""
        return OutputKind("steps", 1, loss="squared_error")

    @property
    def length(self) -> int:
        """The pairs and the query."""
        return self.pairs + 1

    @property
    def variance(self) -> float:
        """Of one number of a point, R²/3."""
        return self.bound**2 / 3.0

    @property
    def chance(self) -> float:
        """Half the variance of a value, which is what the answer 0 scores."""
        return self.dimensions * self.variance / 2.0

    @property
    def ceiling(self) -> float:
        """What the directions leave open that no example has a part in; none with at least d examples."""
        return max(self.dimensions - self.pairs, 0) * self.variance / 2.0

    @property
    def step_size(self) -> float:
        """η, the best step of gradient descent on the mean over the examples of half the squared error."""
        return self.dimensions * self.variance / self._second_moment

    @property
    def baselines(self) -> Mapping[str, float]:
        """Zero, one step of gradient descent of the best size, and least squares with the least norm."""
        gained = (self.dimensions * self.variance) ** 2 / self._second_moment
        return {
            "zero": self.chance,
            "one gradient step": self.variance / 2.0 * (self.dimensions - gained),
            "least squares": self.ceiling,
        }

    @property
    def _second_moment(self) -> float:
        """E, the trace of the mean square of the examples' matrix of second moments."""
        d, n, s = self.dimensions, self.pairs, self.variance
        return (d * self.bound**4 / 5.0 + d * (d - 1) * s**2) / n + (n - 1) / n * d * s**2

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(B, N + 1, d + 1)` points with their values, the values `(B, N + 1, 1)`, and a mask, true at the query."""
        points = torch.rand(count, self.length, self.dimensions, generator=generator).mul_(2.0).sub_(1.0)
        points *= self.bound
        weights = torch.randn(count, self.dimensions, 1, generator=generator)
        values = points @ weights
        query = torch.arange(self.length) == self.pairs
        inputs = torch.cat([points, values.masked_fill(query[:, None], 0.0)], 2)
        return Examples(inputs, values, query.repeat(count, 1))

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Half the squared error at the query."""
        errors, count = error_sums(outputs, targets, mask)
        return errors / 2.0, errors, count
