"""Byte-level language modelling on Python's own manual, which every Python has at hand (`pydoc_data.topics`).

The manual repeats whole sections between topics, a fifth of its bytes: each paragraph is kept once, or the test would
be in the training text. Another version of Python has another text, and so another digest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split, Task
from archsearch.tasks.digests import digest_of
from archsearch.tasks.scoring import class_sums
from archsearch.tasks.settings import setting

__all__ = ["ByteLanguageModel"]

BLOCKS = 40
"""The text is cut into so many blocks; of every ten in a row the fifth is for validation, the tenth for the test."""


@dataclass(frozen=True)
class ByteLanguageModel(Task):
    """Predict the next byte of Python's manual."""

    name: ClassVar[str] = "byte_language_model"
    summary: ClassVar[str] = "Predict the next byte of Python's own manual."
    metric: ClassVar[str] = "bits_per_byte"
    maximize: ClassVar[bool] = False
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 400,
        "batch": 32,
        "learning_rates": (3e-3,),
        "evaluation_examples": 512,  # 65,536 bytes; with twice as many a search takes a tenth longer
    }

    length: int = setting(128, low=2, high=4096, help="bytes of one window")

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
        return _unigram_bits(*(_texts()[split] for split in ("train", "validation")))

    @property
    def ceiling(self) -> None:
        """Nobody knows the entropy of the manual."""
        return None

    def examples(self, split: Split) -> Examples:
        """Windows and the byte after each of their bytes: overlapping views in training, disjoint ones elsewhere."""
        windows = _windows(self.length)[split]
        return Examples(windows[:, :-1], windows[:, 1:])

    def digest(self) -> str:
        """Of the length and the text, split as it is."""
        return digest_of(self, *(_texts()[split] for split in ("train", "validation", "test")))

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy in bits."""
        _, loss, count = class_sums(outputs, targets, mask)
        return loss / math.log(2.0), loss, count


@lru_cache(maxsize=1)
def _texts() -> dict[Split, bytes]:
    """The three texts, each of every tenth block or eight of ten, cut between paragraphs."""
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError:
        raise ConfigError(
            "Task `byte_language_model` needs Python's manual, but this Python has no `pydoc_data`."
        ) from None
    text = "\n\n".join(topics[key] for key in sorted(topics))
    paragraphs = [p.encode() + b"\n\n" for p in dict.fromkeys(text.split("\n\n")) if p.strip()]
    total, position = sum(map(len, paragraphs)), 0
    pieces: dict[Split, list[bytes]] = {"train": [], "validation": [], "test": []}
    for paragraph in paragraphs:
        block = position * BLOCKS // total
        pieces["validation" if block % 10 == 4 else "test" if block % 10 == 9 else "train"].append(paragraph)
        position += len(paragraph)
    return {split: b"".join(parts) for split, parts in pieces.items()}


@lru_cache(maxsize=4)
def _windows(length: int) -> dict[Split, Tensor]:
    """`(N, length + 1)` bytes as int64, all views of their text."""
    texts = _texts()
    if min(map(len, texts.values())) <= length:
        raise ConfigError(f"Task `byte_language_model`: `length` must be shorter than the text, but got {length}.")
    out: dict[Split, Tensor] = {}
    known = b""
    for split in ("train", "validation", "test"):
        text = texts[split]
        stride = 1 if split == "train" else length
        windows = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64)).unfold(0, length + 1, stride)
        if known:
            # Paragraphs differ, but parts of them (grammar, tables, stock phrases) may be the same for a whole window.
            starts = range(0, len(text) - length, stride)
            windows = windows[[i for i, start in enumerate(starts) if text[start : start + length] not in known]]
        out[split] = windows
        known += b"\0" + text
    return out


def _unigram_bits(train: bytes, validation: bytes) -> float:
    counts = np.bincount(np.frombuffer(train, dtype=np.uint8), minlength=256) + 1.0
    bits = -np.log2(counts / counts.sum())
    return float(bits[np.frombuffer(validation, dtype=np.uint8)].mean())
