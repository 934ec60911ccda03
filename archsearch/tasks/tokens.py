"""What drawn tasks on tokens share: a vocabulary, one distribution a step, accuracy, and when they are solved."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.settings import setting

__all__ = ["RecallTask", "TokenTask"]


@dataclass(frozen=True)
class TokenTask(DrawnTask):
    """A drawn task whose inputs and targets are tokens of one vocabulary, and which can be solved."""

    solved_at: float = setting(0.99, low=0.0, high=1.0, help="the accuracy from which the task counts as solved")

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """The number of tokens."""

    @property
    def input(self) -> InputKind:
        """Tokens of the vocabulary."""
        return InputKind("tokens", self.vocabulary)

    @property
    def output(self) -> OutputKind:
        """One distribution over the vocabulary a step."""
        return OutputKind("steps", self.vocabulary)

    @property
    def ceiling(self) -> float:
        """Only what the sequence itself tells is asked."""
        return 1.0

    @property
    def solved(self) -> float:
        """See `solved_at`."""
        return self.solved_at

    def must(self, holds: bool, rule: str, got: object) -> None:
        """Raises `ConfigError` with a rule about the settings that does not hold."""
        if not holds:
            raise ConfigError(f"Task `{self.name}`: {rule}, but got {got}.")


@dataclass(frozen=True)
class RecallTask(TokenTask):
    """A task on tokens that can train on what it asks, or on every next token as MAD does."""

    targets: str = setting(
        "recall",
        options=("recall", "all"),
        help="what the training loss counts: the recalled values, or every next token as MAD does",
    )

    def shifted(self, rows: Tensor, asked: Tensor, split: Split, counted: Tensor | None = None) -> Examples:
        """Inputs and next tokens of rows `(N, L + 1)`.

        Args:
            asked: `(N, L + 1)` bool, the tokens that are to be recalled.
            counted: the tokens that count where all do; `None` for every one.
        """
        mask: Tensor | None = asked
        if split == "train" and self.targets == "all":
            mask = counted
        last = None if mask is None else mask[:, 1:].contiguous()
        return Examples(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), last)
