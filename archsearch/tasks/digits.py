"""Scikit-learn's handwritten digits, 8×8 pixels in 17 shades, read as a sequence of patches."""

from __future__ import annotations

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

__all__ = ["Digits"]

SIDE, CLASSES, SHADES = 8, 10, 16


@dataclass(frozen=True)
class Digits(Task):
    """Name the digit in an image of 8×8 pixels."""

    name: ClassVar[str] = "digits"
    summary: ClassVar[str] = "Name the handwritten digit in an 8×8 image, read patch by patch (scikit-learn)."
    paper: ClassVar[str] = "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi:10.24432/C50P49"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 600, "batch": 32, "learning_rates": (3e-3,)}

    patch: int = setting(2, low=1, high=8, help="pixels along the side of a patch: 1, 2, 4 or 8")
    seed: int = setting(0, low=0, help="of the split: three fifths to train on, one fifth each to validate and test")

    def __post_init__(self) -> None:
        if SIDE % self.patch:
            raise ConfigError(f"Task `{self.name}`: `patch` must divide {SIDE}, but got {self.patch}.")

    @property
    def input(self) -> InputKind:
        """The pixels of a patch, from -1 (white) to 1 (black)."""
        return InputKind("vectors", self.patch**2)

    @property
    def output(self) -> OutputKind:
        """One distribution over ten digits for the whole image."""
        return OutputKind("sequence", CLASSES)

    @property
    def length(self) -> int:
        """The number of patches, row by row."""
        return int((SIDE // self.patch) ** 2)

    @property
    def chance(self) -> float:
        """The share that the most frequent digit of the training set has in the validation set."""
        guess = self.examples("train").targets.mode().values
        return float((self.examples("validation").targets == guess).double().mean())

    @property
    def ceiling(self) -> None:
        """Some of the digits cannot be read, and nobody knows how many."""
        return None

    def examples(self, split: Split) -> Examples:
        """`(N, length, patch²)` shades and `(N,)` digits; every digit has the same share in each split."""
        return _splits(self)[split]

    def digest(self) -> str:
        """Of the settings and all three splits."""
        return _digest(self)

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Accuracy over the images."""
        return class_sums(outputs, targets, mask)


@lru_cache(maxsize=4)
def _splits(task: Digits) -> dict[Split, Examples]:
    # Takes a second to load, so only who needs the digits does.
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().view(-1, SIDE, SIDE) * (2.0 / SHADES) - 1.0
    inputs, targets = _patches(images, task.patch), torch.from_numpy(classes).long()
    return {split: Examples(inputs[rows], targets[rows]) for split, rows in _stratified(targets, task.seed).items()}


@lru_cache(maxsize=4)
def _digest(task: Digits) -> str:
    return digest_of(task, *(t for e in _splits(task).values() for t in (e.inputs, e.targets)))


def _patches(images: Tensor, patch: int) -> Tensor:
    tiles = images.unfold(1, patch, patch).unfold(2, patch, patch)
    return tiles.reshape(len(images), -1, patch * patch)


def _stratified(targets: Tensor, seed: int) -> dict[Split, Tensor]:
    """Rows of each split in ascending order: of every class a fifth for the test and a fifth for validation."""
    generator = torch.Generator().manual_seed(seed)
    parts: dict[Split, list[Tensor]] = {"train": [], "validation": [], "test": []}
    for digit in range(CLASSES):
        rows = (targets == digit).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        fifth = len(rows) // 5
        test, validation, train = rows.split([fifth, fifth, len(rows) - 2 * fifth])
        parts["test"].append(test)
        parts["validation"].append(validation)
        parts["train"].append(train)
    return {split: torch.cat(some).sort().values for split, some in parts.items()}
