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
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.settings import setting

__all__ = ["InContextRecall"]


@dataclass(frozen=True)
class InContextRecall(DrawnTask):
    """Recall the value that a key had earlier in the same sequence."""

    name: ClassVar[str] = "in_context_recall"
    summary: ClassVar[str] = "Recall the value that a key had earlier in the same sequence (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 400, "batch": 32, "learning_rates": (1.5e-3,)}

    vocabulary: int = setting(16, low=4, high=65536, help="tokens; the lower half are keys, the upper half values")
    length: int = setting(128, low=4, high=65536, help="tokens of one sequence")
    targets: str = setting(
        "recall",
        options=("recall", "all"),
        help="what the training loss counts: the recalled values, or every next token as MAD does",
    )
    solved_at: float = setting(0.99, low=0.0, high=1.0, help="the accuracy from which the task counts as solved")

    def __post_init__(self) -> None:
        for name in ("vocabulary", "length"):
            if getattr(self, name) % 2:
                raise ConfigError(f"Task `{self.name}`: `{name}` must be even, but got {getattr(self, name)}.")

    @property
    def input(self) -> InputKind:
        """Tokens of the vocabulary."""
        return InputKind("tokens", self.vocabulary)

    @property
    def output(self) -> OutputKind:
        """One distribution over the vocabulary a step."""
        return OutputKind("steps", self.vocabulary)

    @property
    def chance(self) -> float:
        """All values are equally frequent, so one guess hits one of them."""
        return 2.0 / self.vocabulary

    @property
    def ceiling(self) -> float:
        """Only what the sequence itself tells is asked."""
        return 1.0

    @property
    def solved(self) -> float:
        """See `solved_at`."""
        return self.solved_at

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, the next one of each, and a mask that is true where a recalled value comes next."""
        half, pairs = self.vocabulary // 2, self.length // 2
        value_of = torch.randint(half, self.vocabulary, (count, half), generator=generator)
        keys = torch.randint(half, (count, pairs + 1), generator=generator)
        rows = torch.stack([keys, value_of.gather(1, keys)], 2).flatten(1)[:, : self.length + 1]
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        everything = split == "train" and self.targets == "all"
        return Examples(inputs, targets, None if everything else _recalled(inputs))


def _recalled(inputs: Tensor) -> Tensor:
    """`(N, T)` bool: a key stands here that stood in the sequence before."""
    keys = inputs[:, ::2]
    same = keys.unsqueeze(2) == keys.unsqueeze(1)
    seen = same.tril(diagonal=-1).any(2)
    mask = torch.zeros_like(inputs, dtype=torch.bool)
    mask[:, ::2] = seen
    return mask
