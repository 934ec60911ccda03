"""Compression: a sequence is read once, and all its tokens are told from what the last step knows.

The last token of the input only says that the sequence is over. The readout is one affine map from the last step's
features to a distribution for each token. (MAD's decoder is a perceptron that is told the position, and MAD counts the
last token too, which is always the same: its accuracy is (1 + (length − 1) · ours) / length.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, OutputKind, Split
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["Compression"]


@dataclass(frozen=True)
class Compression(TokenTask):
    """Tell every token of a sequence from the last step alone."""

    name: ClassVar[str] = "compression"
    summary: ClassVar[str] = "Read a sequence, then tell all its tokens from the last step alone (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 1500, "batch": 32, "learning_rates": (3e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "vocabulary": (32, 64, 128),
        "length": (64, 128, 256),
        "examples_train": (6400, 3200, 1600, 800),
    }

    vocabulary: int = setting(16, low=3, high=65536, help="tokens: those to tell and the one that ends a sequence")
    length: int = setting(32, low=2, high=65536, help="tokens of one sequence, the last among them")

    @property
    def output(self) -> OutputKind:
        """One distribution over the vocabulary for each token but the last."""
        return OutputKind("sequence", self.vocabulary, read="last", answers=self.length - 1)

    @property
    def chance(self) -> float:
        """All tokens but the last are equally frequent."""
        return 1.0 / (self.vocabulary - 1)

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens and `(count, length - 1)` targets, the same without the last."""
        tokens = torch.randint(self.vocabulary - 1, (count, self.length), generator=generator)
        tokens[:, -1] = self.vocabulary - 1
        return Examples(tokens, tokens[:, :-1].contiguous())
