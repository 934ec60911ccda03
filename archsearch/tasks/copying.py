"""Copying: a string of random tokens, a delimiter, and the string again.

Strings of training have from `shortest` to `longest` tokens, those of validation and test from `test_shortest` to
`test_longest`, so that copying can be tried on longer strings than it was learned on. Shorter ones are padded at the
end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["Copying"]


@dataclass(frozen=True)
class Copying(TokenTask):
    """Write a string down again after the delimiter."""

    name: ClassVar[str] = "copying"
    summary: ClassVar[str] = "Write a string of random tokens down again after a delimiter."
    paper: ClassVar[str] = "Jelassi et al. 2024, Repeat After Me, arXiv:2402.01032"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 1500, "batch": 32, "learning_rates": (2e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "longest": (32, 64, 128, 300),
        "test_longest": (32, 64, 128, 256, 512, 1024),
    }

    vocabulary: int = setting(16, low=4, high=65536, help="tokens: those of strings, the delimiter and the padding")
    shortest: int = setting(8, low=1, high=32768, help="tokens of the shortest string to train on")
    longest: int = setting(16, low=1, high=32768, help="tokens of the longest string to train on")
    test_shortest: int = setting(8, low=1, high=32768, help="tokens of the shortest string of validation and test")
    test_longest: int = setting(16, low=1, high=32768, help="tokens of the longest string of validation and test")

    def __post_init__(self) -> None:
        for kind in ("", "test_"):
            low, high = getattr(self, f"{kind}shortest"), getattr(self, f"{kind}longest")
            self.must(low <= high, f"`{kind}shortest` must be at most `{kind}longest`", f"{low} and {high}")

    @property
    def padding(self) -> int:
        """The last token."""
        return self.vocabulary - 1

    @property
    def length(self) -> int:
        """Of the longest string in training, the delimiter, and the string again but for its last token."""
        return 2 * self.longest

    def length_in(self, split: Split) -> int:
        """Validation is as long as the test, so that the search looks for what the finals ask."""
        return self.length if split == "train" else 2 * self.test_longest

    @property
    def chance(self) -> float:
        """All tokens of strings are equally frequent."""
        return 1.0 / (self.vocabulary - 2)

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length_in(split))` tokens, the next one of each, and a mask of the second string."""
        low, high = (self.shortest, self.longest) if split == "train" else (self.test_shortest, self.test_longest)
        delimiter = self.vocabulary - 2
        size = torch.randint(low, high + 1, (count, 1), generator=generator)
        string = torch.randint(delimiter, (count, high), generator=generator)
        step = torch.arange(2 * high + 1).expand(count, -1)
        token = torch.where(step < size, step, step - size - 1).clamp(0, high - 1)
        rows = string.gather(1, token).masked_fill(step == size, delimiter).masked_fill(step > 2 * size, self.padding)
        asked = (step > size) & (step <= 2 * size)
        return Examples(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), asked[:, 1:].contiguous())
