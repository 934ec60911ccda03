"""Memorization: a map from keys to values that is the same in all sequences, to be learned by heart.

A sequence is keys, each followed by one token that asks for its value; the value itself is never shown. The map belongs
to the seed of the task, and training, validation and test ask for it alike. That the splits share no example holds for
the sequences: no row of keys stands in two of them, though every key does, or the test could not be passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["Memorization"]


@dataclass(frozen=True)
class Memorization(TokenTask):
    """Learn a fixed map from keys to values by heart."""

    name: ClassVar[str] = "memorization"
    summary: ClassVar[str] = "Learn a fixed map from keys to values by heart (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 400, "batch": 32, "learning_rates": (3e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {"vocabulary": (512, 1024, 2048, 4096, 8192)}

    vocabulary: int = setting(
        256, low=3, high=65536, help="tokens: keys, as many or one more values, the one that asks"
    )
    length: int = setting(32, low=2, high=65536, help="tokens of one sequence")
    examples_train: int = setting(256, low=1, help="examples to train on")

    def __post_init__(self) -> None:
        self.must(self.length % 2 == 0, "`length` must be even", self.length)

    @property
    def keys(self) -> int:
        """How many keys the map has."""
        return (self.vocabulary - 1) // 2

    @property
    def chance(self) -> float:
        """All keys are equally frequent, and no two have one value."""
        return 1.0 / self.keys

    def value_of(self) -> Tensor:
        """`(keys,)` values, no two alike, by the seed alone."""
        generator = torch.Generator().manual_seed(self.seed)
        return self.keys + torch.randperm(self.vocabulary - 1 - self.keys, generator=generator)[: self.keys]

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, with the value of a key as the target of the step after it."""
        keys = torch.randint(self.keys, (count, self.length // 2), generator=generator)
        inputs = torch.full((count, self.length), self.vocabulary - 1)
        inputs[:, ::2] = keys
        targets = inputs.clone()
        targets[:, 1::2] = self.value_of()[keys]
        return Examples(inputs, targets, (torch.arange(self.length) % 2 == 1).repeat(count, 1))
