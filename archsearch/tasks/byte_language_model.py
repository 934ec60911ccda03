"""Byte-level language modelling on Python's own manual, which every Python has at hand (`pydoc_data.topics`).

The manual repeats whole sections between topics, a fifth of its bytes: each paragraph is kept once, or the test would
be in the training text. Another version of Python has another text, and so another digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

from archsearch.errors import ConfigError
from archsearch.tasks.base import Split
from archsearch.tasks.documents import blocks
from archsearch.tasks.settings import setting
from archsearch.tasks.windows import BytesTask, Texts

__all__ = ["ByteLanguageModel"]


@dataclass(frozen=True)
class ByteLanguageModel(BytesTask):
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

    def texts(self) -> Texts:
        """The manual, each paragraph once."""
        return _texts()


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
    pieces: dict[Split, list[bytes]] = {"train": [], "validation": [], "test": []}
    for paragraph, split in zip(paragraphs, blocks([len(p) for p in paragraphs]), strict=True):
        pieces[split].append(paragraph)
    return {split: b"".join(parts) for split, parts in pieces.items()}
