"""Selective copying: tokens lie scattered among blanks, and are to be written down in their order when asked for.

A sequence is the scattered part, one token that asks, and as many blanks as there are tokens to write. Any number of
blanks stands before a token, so that no fixed shift finds it: what is kept has to depend on what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["SelectiveCopying"]


@dataclass(frozen=True)
class SelectiveCopying(TokenTask):
    """Copy the tokens that are no blanks, in order, at the end of the sequence."""

    name: ClassVar[str] = "selective_copying"
    summary: ClassVar[str] = "Copy tokens scattered among blanks, in their order, when asked (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 2000, "batch": 32, "learning_rates": (2e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "vocabulary": (32, 64, 128),
        "length": (512, 1024),
        "examples_train": (6400, 3200, 1600, 800),
        "copies": (32, 64, 96),
    }

    vocabulary: int = setting(16, low=4, high=65536, help="tokens: those to copy, the blank and the one that asks")
    length: int = setting(256, low=3, high=65536, help="tokens of one sequence")
    copies: int = setting(16, low=1, high=32767, help="tokens to copy")

    def __post_init__(self) -> None:
        least = 2 * self.copies + 1
        self.must(self.length >= least, f"`length` must be at least {least} for {self.copies} copies", self.length)

    @property
    def chance(self) -> float:
        """All tokens to copy are equally frequent."""
        return 1.0 / (self.vocabulary - 2)

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, and as targets the copies, the only ones that count, at the last steps."""
        blank, asks, n = self.vocabulary - 2, self.vocabulary - 1, self.copies
        scattered = self.length - n - 1
        tokens = torch.randint(blank, (count, n), generator=generator)
        where = torch.rand(count, scattered, generator=generator).topk(n, 1).indices.sort(1).values
        inputs = torch.full((count, self.length), blank).scatter_(1, where, tokens)
        inputs[:, scattered] = asks
        targets = torch.full_like(inputs, blank)
        targets[:, -n:] = tokens
        return Examples(inputs, targets, (torch.arange(self.length) > scattered).repeat(count, 1))
