"""What tasks share whose examples are drawn from a seed: distinct splits, their digest, the usual judge.

    @dataclass(frozen=True)
    class Copying(DrawnTask):
        name: ClassVar[str] = "copying"
        ...
        def draw(self, count, split, generator): return Examples(inputs, targets, mask)

No example is in two splits, and none twice in one. A split does not change with the sizes of the others but where it
would share an example with one drawn before it: the test is drawn first, then validation, then training.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, Split, Task
from archsearch.tasks.digests import digest_of
from archsearch.tasks.scoring import class_sums
from archsearch.tasks.settings import setting

__all__ = ["DrawnTask"]

ORDER: tuple[Split, ...] = ("test", "validation", "train")
DRAW = 1024
"""Examples are drawn so many at a time, so that the first ones do not depend on how many follow."""
DRAWS = 20
"""After so many rounds that leave a split short of examples there are too few different ones."""


@dataclass(frozen=True)
class DrawnTask(Task):
    """A task whose examples come from a generator."""

    examples_train: int = setting(12800, low=1, help="examples to train on")
    examples_validation: int = setting(1280, low=1, help="examples that the search is scored on")
    examples_test: int = setting(1280, low=1, help="examples that the finals are scored on")
    seed: int = setting(0, low=0, help="of the data")

    @property
    def padding(self) -> int | None:
        """The token that fills up short sequences, of which any number at the end makes no other example."""
        return None

    @abstractmethod
    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`count` examples for a split, all from the CPU generator `generator`; some may be equal."""

    def examples(self, split: Split) -> Examples:
        """Distinct examples that no other split has."""
        return _splits(self)[split]

    def digest(self) -> str:
        """Of the settings and all three splits."""
        return _digest(self)

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Accuracy over all targets that count."""
        return class_sums(outputs, targets, mask)


@lru_cache(maxsize=4)
def _splits(task: DrawnTask) -> dict[Split, Examples]:
    out: dict[Split, Examples] = {}
    known = torch.empty(0, dtype=torch.int64)
    for number, split in enumerate(ORDER):
        generator = torch.Generator().manual_seed(task.seed * len(ORDER) + number)
        out[split], own = _distinct(task, split, generator, known)
        known = torch.cat([known, own])
    return out


@lru_cache(maxsize=4)
def _digest(task: DrawnTask) -> str:
    splits = [_splits(task)[split] for split in ORDER]
    return digest_of(task, *(t for e in splits for t in (e.inputs, e.targets, e.mask) if t is not None))


def _distinct(task: DrawnTask, split: Split, generator: torch.Generator, known: Tensor) -> tuple[Examples, Tensor]:
    """As many examples as the split has, and their hashes, none of which is in `known`."""
    count: int = getattr(task, f"examples_{split}")
    kept: list[Examples] = []
    hashes = torch.empty(0, dtype=torch.int64)
    for _ in range(DRAWS):
        parts = -(-(count - len(hashes)) // DRAW)
        drawn = _joined([task.draw(DRAW, split, generator) for _ in range(parts)])
        own = row_numbers(drawn.inputs, task.padding or 0)
        rows = _new(own, torch.cat([known, hashes]))
        kept.append(_take(drawn, rows))
        hashes = torch.cat([hashes, own[rows]])
        if len(hashes) >= count:
            return _take(_joined(kept), slice(count)), hashes[:count]
    said = ", ".join(f"{key}={value}" for key, value in task.settings().items() if key != "seed")
    raise ConfigError(
        f"Task `{task.name}`: the settings must allow {count:,} different examples in split {split}, but got {said}: "
        f"only {len(hashes):,} were found. Ask for fewer (`examples_{split}`), or make it harder."
    )


def row_numbers(inputs: Tensor, padding: int = 0) -> Tensor:
    """A number of 64 bits a row, equal for equal rows, however many `padding` one of them has more at its end.

    (Two rows that meet by chance count as one: no harm.)
    """
    flat = inputs.flatten(1)
    bits = flat.contiguous().view(torch.int32).long() if flat.is_floating_point() else flat - padding
    # The generator goes on where it stands: a longer row begins with the factors of a shorter one.
    factors = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=torch.Generator().manual_seed(0))
    return (bits * factors).sum(1)


def _new(own: Tensor, known: Tensor) -> Tensor:
    """Indices, in order, of the first row of every kind that is not known."""
    _, kind = own.unique(return_inverse=True)
    first = torch.full((int(kind.max()) + 1,), len(own)).scatter_reduce_(0, kind, torch.arange(len(own)), "amin")
    rows = first.sort().values
    return rows[~torch.isin(own[rows], known)]


def _take(examples: Examples, rows: Tensor | slice) -> Examples:
    if not isinstance(rows, slice) and len(rows) == len(examples):
        return examples
    mask = None if examples.mask is None else examples.mask[rows]
    return Examples(examples.inputs[rows], examples.targets[rows], mask)


def _joined(parts: list[Examples]) -> Examples:
    def join(values: list[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        return None if values[0] is None else torch.cat(values)

    return Examples(*(join([getattr(p, name) for p in parts]) for name in ("inputs", "targets", "mask")))
