"""Scikit-learn's handwritten digits, 8×8 pixels in 17 shades, read as a sequence of patches.

With `patch: 1` it is a sequence of 64 pixels; with `patch: 8` the whole image is one step, and there is nothing to mix.
"""

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
from archsearch.tasks.scoring import class_sums, most_frequent_share
from archsearch.tasks.settings import setting
from archsearch.tasks.splits import patches, stratified

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
        return most_frequent_share(self)

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
    inputs, targets = patches(images, task.patch), torch.from_numpy(classes).long()
    return {split: Examples(inputs[rows], targets[rows]) for split, rows in stratified(targets, task.seed).items()}


@lru_cache(maxsize=4)
def _digest(task: Digits) -> str:
    return digest_of(task, *(t for e in _splits(task).values() for t in (e.inputs, e.targets)))
