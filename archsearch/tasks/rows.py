"""Tasks on rows of data with one answer each: a class, or a number.

Numbers are brought to mean 0 and variance 1 by the training rows; the score is R² over the rows that are scored, whose
own variance it counts, so that no answer that is always the same is above 0.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from archsearch.tasks.base import Examples, InputKind, OutputKind, Split, Task
from archsearch.tasks.digests import digest_of
from archsearch.tasks.files import problem
from archsearch.tasks.metrics import METRICS
from archsearch.tasks.scoring import class_sums, counted, error_sums, most_frequent_share
from archsearch.tasks.splits import split_rows

__all__ = [
    "KINDS",
    "Answers",
    "Rows",
    "RowsTask",
    "answers",
    "are_mostly_numbers",
    "first_word",
    "splits_of",
    "targets_of",
]

KINDS = ("auto", "classification", "regression")
_R2 = METRICS["squared_error"]["r2"]
FEW = 20
"""Whole numbers of no more kinds than this count as classes, and fewer rows than this cannot be split."""


@dataclass(frozen=True)
class Answers:
    """What is asked of each row.

    Args:
        values: `(N,)` int64 classes, or float64 numbers.
        classes: the names of the classes; empty for numbers.
    """

    values: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """All three splits in memory.

    Args:
        classes: the number of them; 0 where the answers are numbers.
        tokens: the size of the vocabulary; 0 where inputs are vectors.
    """

    splits: Mapping[Split, Examples]
    classes: int
    tokens: int = 0
    digests: dict[Any, str] = field(default_factory=dict, compare=False)


class _Metric:
    """`accuracy` or `r2` of a task, and both of the class of tasks."""

    def __get__(self, task: RowsTask | None, kind: type) -> str:
        if task is None:
            return "accuracy or r2"
        return "accuracy" if task.rows().classes else "r2"


@dataclass(frozen=True)
class RowsTask(Task):
    """One answer a row."""

    metric: ClassVar[str] = _Metric()  # type: ignore[assignment]
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 600, "batch": 32, "learning_rates": (3e-3,)}

    @abstractmethod
    def rows(self) -> Rows:
        """The data; the same object each time, as long as nothing changed."""

    @property
    def input(self) -> InputKind:
        """Vectors, or tokens."""
        rows = self.rows()
        return InputKind("tokens", rows.tokens) if rows.tokens else InputKind("vectors", self._inputs.shape[2])

    @property
    def output(self) -> OutputKind:
        """A distribution over the classes for the whole row, or a number."""
        classes = self.rows().classes
        return OutputKind("sequence", classes) if classes else OutputKind("sequence", 1, "squared_error")

    @property
    def length(self) -> int:
        """The steps of a row."""
        return int(self._inputs.shape[1])

    @property
    def chance(self) -> float:
        """The accuracy of the most frequent class of the training rows, or the R² of their mean, on validation."""
        if self.rows().classes:
            return most_frequent_share(self)
        targets = self.examples("validation").targets
        return float(_R2.score(_R2.sums(torch.zeros_like(targets).unsqueeze(0), targets)))

    @property
    def ceiling(self) -> None:
        """Nobody knows what can be known."""
        return None

    def examples(self, split: Split) -> Examples:
        """Equal rows are in one split."""
        return self.rows().splits[split]

    def digest(self) -> str:
        """Of the settings and all three splits."""
        rows = self.rows()
        if self not in rows.digests:
            rows.digests[self] = digest_of(self, *(t for e in rows.splits.values() for t in (e.inputs, e.targets)))
        return rows.digests[self]

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Accuracy over the rows, or R² of this batch alone: only `sums` add up over batches."""
        if self.rows().classes:
            return class_sums(outputs, targets, mask)
        errors, count = error_sums(outputs, targets, mask)
        return _R2.score(_R2.sums(*counted(outputs, targets, mask))) * count, errors, count

    def sums(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        """Those of accuracy or of R², then loss and count."""
        if self.rows().classes:
            return super().sums(outputs, targets, mask)
        loss_and_count = torch.stack(error_sums(outputs, targets, mask), 1)
        return torch.cat([_R2.sums(*counted(outputs, targets, mask)), loss_and_count], 1)

    def scores(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Score and mean loss of each copy."""
        if self.rows().classes:
            return super().scores(sums)
        return _R2.score(sums[:, :-2]), sums[:, -2] / sums[:, -1]

    @property
    def _inputs(self) -> Tensor:
        return self.rows().splits["train"].inputs


def answers(task: str, name: str, column: pd.Series[Any], kind: str) -> Answers:
    """The answers in a column.

    Args:
        kind: one of `KINDS`; `auto` takes words, and whole numbers of few kinds, for classes.

    Raises:
        ConfigError: too few rows, empty values, one class only, classes with a fraction, words for a regression.
    """
    if len(column) < FEW:
        raise problem(task, f"there must be at least {FEW} different rows to split", f"{len(column)}")
    if column.isna().any():
        raise problem(task, f"each row must have a value of `{name}`", f"none in row {_first(column.isna())}")
    numbers = _numbers(column)
    whole = numbers is not None and bool((numbers == numbers.round()).all())
    if kind == "auto":
        few = column.nunique() <= min(FEW, max(len(column) // 2, 2))
        kind = "classification" if numbers is None or (whole and few) else "regression"
    if kind == "regression":
        if numbers is None:
            hint = "For classes: task.kind=classification."
            raise problem(task, f"`{name}` must hold numbers for a regression", first_word(column), hint)
        if not np.isfinite(numbers).all():
            raise problem(task, f"`{name}` must be finite", f"infinity in row {_first(~np.isfinite(numbers))}")
        return Answers(torch.from_numpy(numbers), ())
    if numbers is not None and not whole:
        odd = numbers != numbers.round()
        hint = "Numbers are predicted with task.kind=regression; write classes as whole numbers or words."
        got = f"{numbers[odd.argmax()]:g} in row {_first(odd)}"
        raise problem(task, f"classes in `{name}` must be whole numbers or words", got, hint)
    if numbers is None and column.nunique() > FEW and are_mostly_numbers(column):
        hint = "Clear or correct it, or leave out its row."
        raise problem(task, f"`{name}` must hold numbers or words, not both", first_word(column), hint)
    codes, classes = pd.factorize(column, sort=True)
    if len(classes) < 2:
        raise problem(task, f"`{name}` must have at least two classes", f"only `{classes[0]}`")
    return Answers(torch.from_numpy(codes.astype(np.int64)), tuple(map(str, classes)))


def splits_of(task: str, numbers: Tensor, asked: Answers, seed: int) -> dict[Split, Tensor]:
    """The rows of each split; see `split_rows`.

    Raises:
        ConfigError: too few rows, or too few that differ.
    """
    different = len(numbers.unique()) if len(numbers) else 0
    if different < FEW:
        got = f"{len(numbers)}" if different == len(numbers) else f"{len(numbers)}, of them {different} different"
        raise problem(task, f"there must be at least {FEW} different rows to split", got)
    rows = split_rows(numbers, asked.values if asked.classes else _tenths(asked.values), seed)
    for split, some in rows.items():
        if not len(some):
            got = f"{len(asked.classes)} classes in {len(numbers)} rows"
            raise problem(task, f"classes must have five rows and more for split {split}", got)
    return rows


def targets_of(asked: Answers, rows: Mapping[Split, Tensor]) -> dict[Split, Tensor]:
    """Classes `(N,)`, or numbers `(N, 1)` with mean 0 and variance 1 in training."""
    if asked.classes:
        return {split: asked.values[some] for split, some in rows.items()}
    known = asked.values.double()[rows["train"]]
    spread = known.std(correction=0).clamp(min=1e-12)
    return {s: ((asked.values[some] - known.mean()) / spread).float().unsqueeze(1) for s, some in rows.items()}


def are_mostly_numbers(column: pd.Series[Any]) -> bool:
    """Whether a column of words is one of numbers with a few words among them."""
    return bool(_as_numbers(column).notna().mean() > 0.5)


def first_word(column: pd.Series[Any]) -> str:
    """The first value that is no number, and its row."""
    wrong = _as_numbers(column).isna() & column.notna()
    return f"{str(column[wrong.to_numpy()].iloc[0])[:40]!r} in row {_first(wrong)}"


def _as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_numeric(column.astype("string"), errors="coerce")


def _tenths(values: Tensor) -> Tensor:
    """Low numbers to high ones in up to ten groups, so that every split has its share of each."""
    groups = min(10, len(values) // 10)
    return values.argsort().argsort() * groups // len(values)


def _numbers(column: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return None
    return np.array(column, dtype=np.float64)


def _first(wrong: Any) -> int:
    """The number of the first wrong row, counted from 1."""
    return int(np.asarray(wrong).argmax()) + 1
