"""Induction heads: what followed the special token the first time follows it again at the end of the sequence.

All other tokens are random. Training sequences have `length` tokens; validation and test have `test_length`, so that a
candidate scores by what it does on sequences longer than those it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["InductionHeads"]


@dataclass(frozen=True)
class InductionHeads(TokenTask):
    """Recall the token that followed the special one, in sequences longer than those of training."""

    name: ClassVar[str] = "induction_heads"
    summary: ClassVar[str] = "Recall what followed the special token, in sequences longer than those of training."
    paper: ClassVar[str] = "Gu and Dao 2023, Mamba, arXiv:2312.00752 (Olsson et al. 2022, arXiv:2209.11895)"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 2000, "batch": 16, "learning_rates": (1e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {"test_length": tuple(2**n for n in range(6, 15))}

    vocabulary: int = setting(16, low=3, high=65536, help="tokens, the last of which is the special one")
    length: int = setting(256, low=3, high=65536, help="tokens of a training sequence")
    test_length: int = setting(512, low=3, high=1 << 20, help="tokens of a sequence of validation and test")
    examples_validation: int = setting(256, low=1, help="examples that the search is scored on")
    examples_test: int = setting(256, low=1, help="examples that the finals are scored on")

    def length_in(self, split: Split) -> int:
        """Validation is as long as the test, so that the search looks for what the finals ask."""
        return self.length if split == "train" else self.test_length

    @property
    def chance(self) -> float:
        """All tokens but the special one are equally frequent."""
        return 1.0 / (self.vocabulary - 1)

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length_in(split))` tokens; the target of the last step is the only one that counts."""
        length, special = self.length_in(split), self.vocabulary - 1
        inputs = torch.randint(special, (count, length), generator=generator)
        where = torch.randint(length - 2, (count, 1), generator=generator)
        inputs.scatter_(1, where, special)
        inputs[:, -1] = special
        targets = torch.full_like(inputs, special)
        targets[:, -1] = inputs.gather(1, where + 1).squeeze(1)
        return Examples(inputs, targets, (torch.arange(length) == length - 1).repeat(count, 1))
