"""What tasks share that follow a state through a sequence: short sequences to train on, longer ones to be tried on.

Sequences have random lengths and are padded at the end. Training has `shortest` to `length` symbols. The test has more,
up to `test_length`, and of its answers only those count that stand beyond `length`: whoever knows the answers for the
first steps alone scores as whoever knows none. No length is in both, so no sequence is either.

Beyond the lengths of training a transformer stays at chance, however long they are. The difficulty at which it is
neither lost nor perfect is found on the lengths of training (`validate: short`).

Legend of shapes: N examples, T time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, OutputKind, Split
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["StateTrackingTask"]


@dataclass(frozen=True)
class StateTrackingTask(TokenTask):
    """A task that asks, after every symbol or the last one, for the state that the symbols so far lead to."""

    calibrated_with: ClassVar[Mapping[str, Any]] = {"validate": "short"}

    examples_train: int = setting(32768, low=1, help="examples to train on")
    shortest: int = setting(3, low=1, high=65536, help="symbols of the shortest sequence to train on")
    length: int = setting(40, low=1, high=65536, help="symbols of the longest sequence to train on")
    test_length: int = setting(256, low=2, high=65536, help="symbols of the longest sequence of the test")
    validate: str = setting(
        "long",
        options=("long", "short"),
        help="whether validation has the lengths of the test, so that the search finds what goes on, or of training",
    )
    answers: str = setting(
        "every", options=("every", "last"), help="where targets stand: at every step that has one, or at the end alone"
    )

    def __post_init__(self) -> None:
        ordered = self.shortest <= self.length < self.test_length
        said = f"{self.shortest}, {self.length} and {self.test_length}"
        self.must(ordered, "`shortest` <= `length` < `test_length` must hold", said)
        for low, high in (self._span("train"), self._span("test")):
            rule = "there must be a sequence as long as `shortest` to `length` and as `length` + 1 to `test_length` say"
            self.must(len(self.lengths(low, high)) > 0, rule, f"none of {low} to {high} symbols")

    @property
    @abstractmethod
    def symbols(self) -> int:
        """How many symbols there are; the next token is the padding."""

    @property
    @abstractmethod
    def states(self) -> int:
        """How many answers there are."""

    @abstractmethod
    def sequences(self, lengths: Tensor, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Symbols and states `(N, time)`, of which row i counts up to `lengths[i]`, and where there is a state at all.

        Args:
            lengths: `(N,)`, at most `time`.

        Returns:
            Symbols and states as int64, and bool or `None` for everywhere.
        """

    def lengths(self, low: int, high: int) -> Tensor:
        """The lengths that a sequence may have, between two of them, both included."""
        return torch.arange(low, high + 1)

    @property
    def vocabulary(self) -> int:
        """The symbols, and one more token as padding."""
        return self.symbols + 1

    @property
    def padding(self) -> int:
        """The token behind the symbols."""
        return self.symbols

    @property
    def output(self) -> OutputKind:
        """One distribution over the states a step."""
        return OutputKind("steps", self.states)

    @property
    def chance(self) -> float:
        """Far from the start all states are equally frequent."""
        return 1.0 / self.states

    def length_in(self, split: Split) -> int:
        """The most symbols that a sequence of a split has."""
        return self._span(split)[1]

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length_in(split))` tokens, the state after each of them, and where it counts."""
        low, time = self._span(split)
        allowed = self.lengths(low, time)
        lengths = allowed[torch.randint(len(allowed), (count,), generator=generator)]
        symbols, states, known = self.sequences(lengths, time, generator)
        step, end = torch.arange(1, time + 1), lengths.unsqueeze(1)
        counts = step == end if self.answers == "last" else step <= end
        if known is not None:
            counts = counts & known
        if self._is_long(split):
            counts = counts & (step > self.length)
        return Examples(symbols.masked_fill(step > end, self.padding), states.masked_fill(step > end, 0), counts)

    def _is_long(self, split: Split) -> bool:
        return split == "test" or (split == "validation" and self.validate == "long")

    def _span(self, split: Split) -> tuple[int, int]:
        return (self.length + 1, self.test_length) if self._is_long(split) else (self.shortest, self.length)
