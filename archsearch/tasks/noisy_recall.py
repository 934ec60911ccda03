"""Noisy recall: in-context recall with tokens in between that mean nothing and have to be passed over.

A place of two tokens is, with a given probability, two tokens of a noise vocabulary of its own; elsewhere it is a key
and the value that this sequence gives it.
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

__all__ = ["NoisyRecall"]


@dataclass(frozen=True)
class NoisyRecall(RecallTask):
    """Recall the value that a key had earlier in the sequence, with noise between the pairs."""

    name: ClassVar[str] = "noisy_recall"
    summary: ClassVar[str] = "Recall the value that a key had earlier, with noise between the pairs (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 1000, "batch": 32, "learning_rates": (1.5e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "vocabulary": (48, 80, 144),
        "length": (256, 512, 1024),
        "examples_train": (6400, 3200, 1600, 800),
        "noise": (0.4, 0.6, 0.8),
    }

    vocabulary: int = setting(32, low=5, high=65536, help="tokens: keys, as many or one more values, and noise")
    length: int = setting(128, low=4, high=65536, help="tokens of one sequence")
    noise_vocabulary: int = setting(16, low=1, high=65536, help="tokens that mean nothing")
    noise: float = setting(0.2, low=0.0, high=0.95, help="the share of the pairs that is noise")

    def __post_init__(self) -> None:
        self.must(self.length % 2 == 0, "`length` must be even", self.length)
        rest = self.vocabulary - self.noise_vocabulary
        self.must(rest >= 4, "`vocabulary` must be at least 4 more than `noise_vocabulary`", f"{rest} more")

    @property
    def _keys(self) -> int:
        return (self.vocabulary - self.noise_vocabulary) // 2

    @property
    def chance(self) -> float:
        """All values are equally frequent."""
        return 1.0 / (self.vocabulary - self.noise_vocabulary - self._keys)

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, the next one of each, and a mask that is true where a recalled value comes next."""
        places, meaning = self.length // 2 + 1, self.vocabulary - self.noise_vocabulary
        value_of = torch.randint(self._keys, meaning, (count, self._keys), generator=generator)
        keys = torch.randint(self._keys, (count, places), generator=generator)
        noisy = torch.rand(count, places, generator=generator) < self.noise
        noise = torch.randint(meaning, self.vocabulary, (count, places, 2), generator=generator)
        # Each place of noise counts as a key of its own, which has never been seen.
        known = torch.where(noisy, torch.arange(places) + self._keys, keys)
        seen = first_places(known, self._keys + places) < torch.arange(places)
        pairs = torch.stack([keys, value_of.gather(1, keys)], 2)
        rows = torch.where(noisy.unsqueeze(2), noise, pairs).flatten(1)[:, : self.length + 1]
        asked = torch.stack([torch.zeros_like(seen), seen], 2).flatten(1)[:, : self.length + 1]
        return self.shifted(rows, asked, split)
