"""Multi-query associative recall: pairs first, then their keys again among random tokens, sooner more often than later.

Keys are distinct tokens of the lower half of the vocabulary (but for token 0), values come from the upper half. Each
key is asked once behind the pairs, at an even step; what stands after it there is random, so the value is never shown
again. Distances follow a power law: slot g is chosen with odds in proportion to g to the power of `power` − 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.draws import distinct
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["MultiQueryRecall"]


@dataclass(frozen=True)
class MultiQueryRecall(TokenTask):
    """Recall the values of several keys of a large vocabulary."""

    name: ClassVar[str] = "multi_query_recall"
    summary: ClassVar[str] = "Recall the values of several keys, asked among random tokens (MQAR)."
    paper: ClassVar[str] = "Arora et al. 2023, Zoology: Measuring and Improving Recall, arXiv:2312.04927"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 2000, "batch": 64, "learning_rates": (3e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {"length": (64, 128, 256, 512), "pairs": (4, 8, 16, 64)}

    vocabulary: int = setting(8192, low=6, high=65536, help="tokens; the lower half are keys, the upper half values")
    length: int = setting(64, low=4, high=65536, help="tokens of one sequence")
    pairs: int = setting(4, low=1, high=8192, help="pairs of a sequence; the grid is 4, 8, 16, 64 to its four lengths")
    power: float = setting(0.01, low=0.01, high=10.0, help="of the law of distances; 1 makes all equally likely")
    examples_train: int = setting(100_000, low=1, help="examples to train on")
    examples_validation: int = setting(3000, low=1, help="examples that the search is scored on")
    examples_test: int = setting(3000, low=1, help="examples that the finals are scored on")

    def __post_init__(self) -> None:
        self.must(self.vocabulary % 2 == 0, "`vocabulary` must be even", self.vocabulary)
        self.must(self.length % 2 == 0, "`length` must be even", self.length)
        room, keys = self.length // 4, self.vocabulary // 2 - 1
        self.must(self.pairs <= room, f"`pairs` must be at most {room}, a quarter of `length`", self.pairs)
        self.must(self.pairs <= keys, f"`pairs` must be at most {keys}, one for each key", self.pairs)

    @property
    def chance(self) -> float:
        """All values are equally frequent."""
        return 2.0 / self.vocabulary

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, with the value of a key as the target of the step that asks for it."""
        half, shown = self.vocabulary // 2, 2 * self.pairs
        keys = 1 + distinct(count, self.pairs, half - 1, generator)
        values = half + distinct(count, self.pairs, half, generator)
        slots = (self.length - shown) // 2
        odds = torch.arange(1, slots + 1, dtype=torch.float64) ** (self.power - 1.0)
        chosen = torch.multinomial(odds.expand(count, -1), self.pairs, generator=generator)
        asked = shown + 2 * chosen
        inputs = torch.randint(self.vocabulary, (count, self.length), generator=generator)
        inputs[:, :shown] = torch.stack([keys, values], 2).flatten(1)
        inputs.scatter_(1, asked, keys)
        targets = torch.zeros_like(inputs).scatter_(1, asked, values)
        mask = torch.zeros_like(inputs, dtype=torch.bool).scatter_(1, asked, True)
        return Examples(inputs, targets, mask)
