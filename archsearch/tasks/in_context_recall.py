"""In-context recall: key-value pairs in a row, and a key seen before is followed by its value again.

Each example draws a map from keys (the lower half of the vocabulary) to values (the upper half) of its own, then
writes `length / 2` pairs with keys at random. The value after a key that occurred before can be known; every other
token cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.draws import first_places
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import RecallTask

__all__ = ["InContextRecall"]


@dataclass(frozen=True)
class InContextRecall(RecallTask):
    """Recall the value that a key had earlier in the same sequence."""

    name: ClassVar[str] = "in_context_recall"
    summary: ClassVar[str] = "Recall the value that a key had earlier in the same sequence (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 400, "batch": 32, "learning_rates": (1.5e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "vocabulary": (32, 64, 128),
        "length": (256, 512, 1024),
        "examples_train": (6400, 3200, 1600, 800),
    }

    vocabulary: int = setting(16, low=4, high=65536, help="tokens; the lower half are keys, the upper half values")
    length: int = setting(128, low=4, high=65536, help="tokens of one sequence")

    def __post_init__(self) -> None:
        for name in ("vocabulary", "length"):
            self.must(getattr(self, name) % 2 == 0, f"`{name}` must be even", getattr(self, name))

    @property
    def chance(self) -> float:
        """All values are equally frequent, so one guess hits one of them."""
        return 2.0 / self.vocabulary

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, the next one of each, and a mask that is true where a recalled value comes next."""
        half, places = self.vocabulary // 2, self.length // 2 + 1
        value_of = torch.randint(half, self.vocabulary, (count, half), generator=generator)
        keys = torch.randint(half, (count, places), generator=generator)
        seen = first_places(keys, half) < torch.arange(places)
        rows = torch.stack([keys, value_of.gather(1, keys)], 2).flatten(1)[:, : self.length + 1]
        asked = torch.stack([torch.zeros_like(seen), seen], 2).flatten(1)[:, : self.length + 1]
        return self.shifted(rows, asked, split)
