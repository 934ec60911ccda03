"""Caches that grow by a step at a time, each without a copy of what it held before.

A cache is the front part of a larger buffer. What comes next goes into the free room behind it, so that the old cache
and the new one share their numbers, and neither changes. Only one cache can be continued so; where the room is taken or
there is none, a buffer of twice the size is made. So T steps copy 2 T numbers and not T² / 2, and hold at most twice
the room of the cache. That is so where no gradients are kept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["longer"]

_LEAST = 16  # steps of the smallest buffer


@dataclass(slots=True)
class _Buffer:
    """`(E, B, room, D)`, of which the first `taken` steps belong to some cache."""

    values: Tensor
    taken: int


@dataclass(frozen=True, slots=True)
class _Place:
    """The steps of a buffer that a cache is."""

    buffer: _Buffer
    begin: int
    end: int


_places = WeakTensorKeyDictionary()  # of the caches that are alive
_lock = threading.Lock()


def longer(cache: Tensor, new: Tensor, first: int = 0) -> Tensor:
    """The cache from step `first` on and one step more; the old one stays as it was.

    Args:
        cache: `(E, B, T, D)`.
        new: `(E, B, 1, D)`.
    """
    if torch.is_grad_enabled() or cache.dtype != new.dtype:  # a graph may hold the old cache
        return torch.cat([cache[:, :, first:], new], 2)
    with _lock:
        place: _Place | None = _places.get(cache)
        if place is None or place.buffer.taken != place.end or place.end == place.buffer.values.shape[2]:
            place = _moved(cache[:, :, first:])
            first = 0
        buffer, begin, end = place.buffer, place.begin + first, place.end + 1
        buffer.taken = end
        buffer.values[:, :, end - 1 : end] = new
        grown = buffer.values[:, :, begin:end]
        _places[grown] = _Place(buffer, begin, end)
    return grown


def _moved(cache: Tensor) -> _Place:
    """The same in the front part of a new buffer."""
    e, b, t, d = cache.shape
    values = cache.new_empty(e, b, max(_LEAST, 2 * t), d)
    values[:, :, :t] = cache
    return _Place(_Buffer(values, t), 0, t)
