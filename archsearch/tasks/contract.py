"""Whether the data of a task are what its input and output kinds promise: found out before a candidate is blamed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, Split, Task

__all__ = ["check"]

ROWS = 1024
"""So many examples of a split are looked at."""


@lru_cache(maxsize=16)
def check(task: Task, splits: tuple[Split, ...]) -> None:
    """Looks at the first examples of some splits, once per task and process.

    Raises:
        ConfigError: a clause of the contract is broken; says which, in which split, and what was found.
    """
    for split in splits:
        for rule, found in _broken(task, task.examples(split), task.length_in(split)):
            raise ConfigError(f"Task `{task.name}`, split {split}: {rule}, but got {found}.")


def _broken(task: Task, examples: Examples, length: int) -> Iterator[tuple[str, str]]:
    """The clauses that are broken, and what was found instead; each may rely on those before it."""
    if not len(examples):
        yield "there must be at least one example", "none"
        return
    n, inputs, targets = len(examples), examples.inputs[:ROWS], examples.targets[:ROWS]
    kind, out = task.input, task.output
    if kind.kind == "tokens":
        yield from _tensor("inputs", examples.inputs, (n, length), torch.int64)
        yield from _range("inputs", inputs, kind.size)
    else:
        yield from _tensor("inputs", examples.inputs, (n, length, kind.size), torch.float32)
        yield from _finite("inputs", inputs)
    steps = (n, *out.shape(length))
    if examples.mask is not None:
        yield from _tensor("mask", examples.mask, steps, torch.bool)
        if not examples.mask.any():
            yield "at least one target must count", "a mask that is false everywhere"
    if out.loss == "cross_entropy":
        yield from _tensor("targets", examples.targets, steps, torch.int64)
        yield from _range("targets", targets, out.size)
    else:
        yield from _tensor("targets", examples.targets, (*steps, out.size), torch.float32)
        yield from _finite("targets", targets)


def _tensor(name: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[tuple[str, str]]:
    if tuple(value.shape) != shape or value.dtype != dtype:
        yield f"`{name}` must be {_said(shape, dtype)}", _said(tuple(value.shape), value.dtype)


def _range(name: str, value: Tensor, size: int) -> Iterator[tuple[str, str]]:
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= size:
        yield f"`{name}` must lie between 0 and {size - 1}", f"{low} to {high}"


def _finite(name: str, value: Tensor) -> Iterator[tuple[str, str]]:
    if not value.isfinite().all():
        yield f"`{name}` must be finite", "infinity or not a number"


def _said(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {shape}"
