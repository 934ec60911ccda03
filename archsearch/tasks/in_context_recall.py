"""In-context recall: key-value pairs in a row, and a key seen before is followed by its value again.

Each example draws a map from keys (the lower half of the vocabulary) to values (the upper half) of its own, then
writes `length / 2` pairs with keys at random. The value after a key that occurred before can be known; every other
token cannot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split, Task
from archsearch.tasks.digests import digest_of
from archsearch.tasks.scoring import class_sums
from archsearch.tasks.settings import setting

__all__ = ["InContextRecall"]

DRAW = 1024


@dataclass(frozen=True)
class InContextRecall(Task):
    """Recall the value that a key had earlier in the same sequence."""

    name: ClassVar[str] = "in_context_recall"
    summary: ClassVar[str] = "Recall the value that a key had earlier in the same sequence (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 400, "batch": 32, "learning_rates": (1.5e-3,)}

    vocabulary: int = setting(16, low=4, high=65536, help="tokens; the lower half are keys, the upper half values")
    length: int = setting(128, low=4, high=65536, help="tokens of one sequence")
    examples_train: int = setting(12800, low=1, help="sequences to train on")
    examples_validation: int = setting(1280, low=1, help="sequences that the search is scored on")
    examples_test: int = setting(1280, low=1, help="sequences that the finals are scored on")
    targets: str = setting(
        "recall",
        options=("recall", "all"),
        help="what the training loss counts: the recalled values, or every next token as MAD does",
    )
    solved_at: float = setting(0.99, low=0.0, high=1.0, help="the accuracy from which the task counts as solved")
    seed: int = setting(0, low=0, help="of the data")

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

    def examples(self, split: Split) -> Examples:
        """`(N, length)` tokens, the next token of each, and a mask that is true where a recalled value comes next."""
        return _splits(self)[split]

    def digest(self) -> str:
        """Of the settings and all three splits."""
        return _digest(self)

    def settings(self) -> dict[str, Any]:
        """The settings as plain data."""
        return dataclasses.asdict(self)

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Accuracy over all masked positions together."""
        return class_sums(outputs, targets, mask)


@lru_cache(maxsize=4)
def _splits(task: InContextRecall) -> dict[Split, Examples]:
    # The test is drawn first and the training set last, so that more training data changes neither of the others.
    sizes: dict[Split, int] = {
        "test": task.examples_test,
        "validation": task.examples_validation,
        "train": task.examples_train,
    }
    tokens = _distinct(task, sum(sizes.values()))
    out: dict[Split, Examples] = {}
    for (split, size), rows in zip(sizes.items(), tokens.split(list(sizes.values())), strict=True):
        everything = split == "train" and task.targets == "all"
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        out[split] = Examples(inputs, targets, None if everything else _recalled(inputs))
        assert len(out[split]) == size
    return out


@lru_cache(maxsize=4)
def _digest(task: InContextRecall) -> str:
    return digest_of(task, *(t for e in _splits(task).values() for t in (e.inputs, e.targets)))


def _distinct(task: InContextRecall, count: int) -> Tensor:
    """`(count, length + 1)` tokens whose first `length` differ from row to row; the last is the key after the end."""
    generator = torch.Generator().manual_seed(task.seed)
    rows = torch.empty(0, task.length + 1, dtype=torch.int64)
    for _ in range(20):
        # In draws of one size, or the first rows would depend on how many follow.
        missing = -(-(count - len(rows)) // DRAW)
        rows = torch.cat([rows, *(_draw(task, DRAW, generator) for _ in range(missing))])
        rows = rows[_first_of_each(rows[:, :-1])]
        if len(rows) >= count:
            return rows[:count]
    raise ConfigError(
        f"Task `{task.name}`: `vocabulary` and `length` must allow {count} different sequences, but got "
        f"vocabulary={task.vocabulary}, length={task.length}: only {len(rows)} were found."
    )


def _draw(task: InContextRecall, count: int, generator: torch.Generator) -> Tensor:
    half, pairs = task.vocabulary // 2, task.length // 2
    value_of = torch.randint(half, task.vocabulary, (count, half), generator=generator)
    keys = torch.randint(half, (count, pairs + 1), generator=generator)
    values = value_of.gather(1, keys)
    return torch.stack([keys, values], dim=2).flatten(1)[:, : task.length + 1]


def _first_of_each(rows: Tensor) -> Tensor:
    """Indices of the first row of every kind, in order. (Two kinds that meet in 64 bits count as one: no harm.)"""
    factors = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=torch.Generator().manual_seed(0))
    _, kind = (rows * factors).sum(1).unique(return_inverse=True)
    first = torch.full((int(kind.max()) + 1,), len(rows)).scatter_reduce_(0, kind, torch.arange(len(rows)), "amin")
    return first.sort().values


def _recalled(inputs: Tensor) -> Tensor:
    """`(N, T)` bool: a key stands here that stood in the sequence before."""
    keys = inputs[:, ::2]
    same = keys.unsqueeze(2) == keys.unsqueeze(1)
    seen = same.tril(diagonal=-1).any(2)
    mask = torch.zeros_like(inputs, dtype=torch.bool)
    mask[:, ::2] = seen
    return mask
