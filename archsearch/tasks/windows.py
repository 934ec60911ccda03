"""Language modelling on the bytes of a text: windows of it, the judge, chance. What all tasks on texts share.

Windows overlap in training, as views of one text, and are disjoint elsewhere. A window that also occurs in a text of an
earlier split (training, then validation, then test) is left out: texts without a paragraph in common may still
share tables, licences and stock phrases that are longer than a window.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split, Task
from archsearch.tasks.bits import bit_sums, unigram_bits
from archsearch.tasks.digests import digest_of
from archsearch.tasks.settings import setting

__all__ = ["BytesTask", "Texts"]

Texts = Mapping[Split, bytes]
ORDER: tuple[Split, ...] = ("train", "validation", "test")
FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64: a window has the same hash wherever it stands."""
MARKS = 24
"""Bits of the table that finds out quickly which windows cannot be in the other text."""
CHUNK = 2**20


@dataclass(frozen=True)
class BytesTask(Task):
    """Predict the next byte of a text."""

    length: int = setting(128, low=2, high=65536, help="bytes of one window")

    @abstractmethod
    def texts(self) -> Texts:
        """The text of each split; the same objects each time, as long as nothing changed."""

    @property
    def input(self) -> InputKind:
        """Bytes."""
        return InputKind("tokens", 256)

    @property
    def output(self) -> OutputKind:
        """One distribution over the bytes a step."""
        return OutputKind("steps", 256)

    @property
    def chance(self) -> float:
        """Bits a byte of the validation text under the frequencies of the bytes in the training text."""
        train, validation = (torch.from_numpy(_array(self.texts()[s]).astype(np.int64)) for s in ORDER[:2])
        return unigram_bits(train, validation, 256)

    @property
    def ceiling(self) -> None:
        """Nobody knows the entropy of a text that people wrote."""
        return None

    def examples(self, split: Split) -> Examples:
        """Windows and the byte after each of their bytes: overlapping views in training, disjoint ones elsewhere."""
        windows = _windows(self.name, self.length, *(self.texts()[s] for s in ORDER))[split]
        return Examples(windows[:, :-1], windows[:, 1:])

    def digest(self) -> str:
        """Of the settings and the text, split as it is."""
        return digest_of(self, *(self.texts()[split] for split in ORDER))

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy in bits."""
        return bit_sums(outputs, targets, mask)


@lru_cache(maxsize=4)
def _windows(name: str, length: int, *texts: bytes) -> dict[Split, Tensor]:
    """`(N, length + 1)` bytes as int64, all views of their text."""
    if min(map(len, texts)) <= length:
        raise ConfigError(
            f"Task `{name}`: `length` must be shorter than the text of every split, but got {length} for "
            + ", ".join(f"{len(t):,} bytes of {split}" for split, t in zip(ORDER, texts, strict=True))
            + "."
        )
    out: dict[Split, Tensor] = {}
    for number, split in enumerate(ORDER):
        text = texts[number]
        stride = 1 if split == "train" else length
        windows = torch.from_numpy(_array(text).astype(np.int64)).unfold(0, length + 1, stride)
        if number:
            new = ~np.logical_or.reduce([_occurs(text, length, stride, other) for other in texts[:number]])
            windows = windows[torch.from_numpy(new[: len(windows)].nonzero()[0])]
            if not len(windows):
                raise ConfigError(
                    f"Task `{name}`: the texts of the splits must differ, but each window of {length} bytes in {split} "
                    "also occurs in an earlier split."
                )
        out[split] = windows
    return out


def _occurs(text: bytes, length: int, stride: int, other: bytes) -> NDArray[np.bool_]:
    """For every `stride`-th window of a text, whether it occurs anywhere in another."""
    wanted = _hashes(text, length)[::stride]
    shift = np.uint64(64 - MARKS)
    marked = np.zeros(2**MARKS, dtype=bool)
    marked[wanted >> shift] = True
    there = _hashes(other, length)
    near = [part[marked[part >> shift]] for part in np.array_split(there, -(-len(there) // CHUNK))]
    return np.isin(wanted, np.concatenate(near))


@lru_cache(maxsize=3)
def _hashes(text: bytes, length: int) -> NDArray[np.uint64]:
    """A number of 64 bits for each window of `length` bytes, equal for equal windows (Rabin and Karp 1987)."""
    codes = np.random.Generator(np.random.PCG64(0)).integers(2**64, size=256, dtype=np.uint64)
    n = len(text)
    powers = _powers(FACTOR, n)
    sums: NDArray[np.uint64] = np.concatenate(
        [np.zeros(1, dtype=np.uint64), np.cumsum(codes[_array(text)] * powers, dtype=np.uint64)]
    )
    windows: NDArray[np.uint64] = sums[length:] - sums[:-length]
    windows *= _powers(pow(FACTOR, -1, 2**64), n)[: len(windows)]
    windows *= np.uint64(FACTOR)  # the highest bits, which mark, are to depend on all others
    return windows


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _array(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)
