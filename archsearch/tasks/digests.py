"""Digests of what a score depends on: a task's settings and the bits of its data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from archsearch.tasks.base import Examples, Task
from archsearch.tasks.settings import paths_of

__all__ = ["digest_of", "row_hashes"]


def digest_of(task: Task, *data: bytes | Tensor) -> str:
    """Sixteen hex digits over a task's name, its settings and its data, dtypes and shapes included.

    Where a file lies is no part of it.
    """
    paths = paths_of(type(task))
    settings = {key: value for key, value in task.settings().items() if key not in paths}
    h = hashlib.sha256(json.dumps([task.name, settings], sort_keys=True).encode())
    for piece in data:
        if isinstance(piece, Tensor):
            h.update(f"{piece.dtype}{tuple(piece.shape)}".encode())
        h.update(_bytes(piece))
    return h.hexdigest()[:16]


def row_hashes(examples: Examples) -> set[bytes]:
    """One hash an input: two splits share an example if and only if their sets meet."""
    return {hashlib.blake2b(_bytes(row), digest_size=16).digest() for row in _rows(examples.inputs)}


def _rows(inputs: Tensor) -> Iterable[Tensor]:
    # Tokens below 256 are hashed as bytes: eight times less to read.
    narrow = not inputs.is_floating_point() and int(inputs.max()) < 256
    for start in range(0, len(inputs), 4096):
        rows = inputs[start : start + 4096]
        yield from (rows.byte() if narrow else rows.contiguous())


def _bytes(piece: bytes | Tensor) -> Any:
    return piece if isinstance(piece, bytes) else piece.contiguous().numpy().tobytes()
