"""Two spirals: which of two arms, wound round each other in the plane, a point lies on.

There is nothing to mix in time, a sequence being one point: it is made for perceptrons with free wiring. The original
has 194 points; here points are drawn, anywhere along the arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, InputKind, OutputKind, Split
from archsearch.tasks.corruption import label_noise, missing_inputs, with_missing, with_wrong_classes
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.settings import setting

__all__ = ["TwoSpirals"]

START = 1.0 / 16.0
"""Where an arm begins, as a share of its length; in the middle the arms would touch."""


@dataclass(frozen=True)
class TwoSpirals(DrawnTask):
    """Tell which of two spirals a point lies on."""

    name: ClassVar[str] = "two_spirals"
    summary: ClassVar[str] = "Tell which of two spirals, wound round each other, a point lies on."
    paper: ClassVar[str] = (
        "Lang and Witbrock 1988, Learning to Tell Two Spirals Apart, Connectionist Models Summer School"
    )
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 2000, "batch": 64, "learning_rates": (3e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "turns": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
        "examples_train": (2048, 1024, 512, 256, 128, 64),
    }

    examples_train: int = setting(2048, low=1, help="examples to train on")
    turns: float = setting(3.0, low=0.1, high=100.0, help="how often an arm goes round")
    spread: float = setting(0.0, low=0.0, high=1.0, help="standard deviation of the points; an arm reaches out to 1")
    label_noise: float = label_noise()
    missing_inputs: float = missing_inputs()
    solved_at: float = setting(0.99, low=0.0, high=1.0, help="the accuracy from which the task counts as solved")

    @property
    def input(self) -> InputKind:
        """A point of the plane."""
        return InputKind("vectors", 2)

    @property
    def output(self) -> OutputKind:
        """One arm or the other."""
        return OutputKind("sequence", 2)

    @property
    def length(self) -> int:
        """One point."""
        return 1

    @property
    def chance(self) -> float:
        """Both arms have as many points."""
        return 0.5

    @property
    def ceiling(self) -> float | None:
        """The arms lie apart; unknown once points are blurred or half missing."""
        return None if self.spread or self.missing_inputs else 1.0

    @property
    def solved(self) -> float:
        """See `solved_at`."""
        return self.solved_at

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, 1, 2)` points and `(count,)` arms."""
        radius = START + (1.0 - START) * torch.rand(count, generator=generator)
        arms = torch.randint(2, (count,), generator=generator)
        angle = 2.0 * math.pi * self.turns * radius + math.pi * arms
        points = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        points = (points + self.spread * torch.randn(count, 2, generator=generator)).unsqueeze(1)
        if split == "train":
            arms = with_wrong_classes(arms, self.label_noise, 2, generator)
        return Examples(with_missing(points, self.missing_inputs, generator), arms)
