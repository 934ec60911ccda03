"""Rows into three splits: of each class its share, and equal rows on one side; images into patches."""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.tasks.base import Split

__all__ = ["patches", "split_rows", "stratified"]


def stratified(classes: Tensor, seed: int) -> dict[Split, Tensor]:
    """Rows of each split in ascending order: of every class a fifth for the test and a fifth for validation."""
    generator = torch.Generator().manual_seed(seed)
    parts: dict[Split, list[Tensor]] = {"train": [], "validation": [], "test": []}
    for one in range(int(classes.max()) + 1):
        rows = (classes == one).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        fifth = len(rows) // 5
        test, validation, train = rows.split([fifth, fifth, len(rows) - 2 * fifth])
        parts["test"].append(test)
        parts["validation"].append(validation)
        parts["train"].append(train)
    return {split: torch.cat(some).sort().values for split, some in parts.items()}


def split_rows(numbers: Tensor, classes: Tensor, seed: int) -> dict[Split, Tensor]:
    """As `stratified`, but rows with equal numbers go where the first of them goes."""
    _, kind = numbers.unique(return_inverse=True)
    count = int(kind.max()) + 1
    first = torch.full((count,), len(numbers)).scatter_reduce_(0, kind, torch.arange(len(numbers)), "amin")
    chosen = first.sort().values
    out: dict[Split, Tensor] = {}
    for split, rows in stratified(classes[chosen], seed).items():
        out[split] = torch.isin(kind, kind[chosen[rows]]).nonzero().flatten()
    return out


def patches(images: Tensor, patch: int) -> Tensor:
    """Square patches of images `(N, H, W)` or `(N, H, W, C)`, row by row: `(N, patches, values)`."""
    tiles = images.unfold(1, patch, patch).unfold(2, patch, patch)
    return tiles.reshape(len(images), -1, tiles[0, 0, 0].numel())
