"""Byte-level language modelling on the source of Python's own standard library: 12 MB, or 31 MB with its tests.

Files are split, not windows of them, and files with half their lines in common stay on one side. Another version of
Python has another text, and so another digest.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from archsearch.errors import ConfigError
from archsearch.tasks.documents import by_file
from archsearch.tasks.settings import setting
from archsearch.tasks.windows import BytesTask, Texts

__all__ = ["SourceLanguageModel"]

TESTS = {"test", "tests", "idle_test"}
FOREIGN = {"site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class SourceLanguageModel(BytesTask):
    """Predict the next byte of the standard library's source."""

    name: ClassVar[str] = "source_language_model"
    summary: ClassVar[str] = "Predict the next byte of the source of Python's standard library."
    metric: ClassVar[str] = "bits_per_byte"
    maximize: ClassVar[bool] = False
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 400,
        "batch": 32,
        "learning_rates": (3e-3,),
        "evaluation_examples": 512,
    }

    megabytes: int = setting(32, low=1, high=32, help="at most so much of it, whole files; less is quicker to load")
    tests: bool = setting(False, help="whether the library's own tests belong to it")
    seed: int = setting(0, low=0, help="of the split: a tenth of the bytes to validate and a tenth to test")

    def texts(self) -> Texts:
        """The files of each split, one after another."""
        return _texts(self.megabytes, self.tests, self.seed)


@lru_cache(maxsize=2)
def _texts(megabytes: int, tests: bool, seed: int) -> Texts:
    return by_file(_sources(tests), seed, limit=megabytes * 10**6)


@lru_cache(maxsize=1)
def _sources(tests: bool) -> list[bytes]:
    root = Path(sysconfig.get_path("stdlib"))
    left_out = FOREIGN if tests else FOREIGN | TESTS
    files = [f for f in sorted(root.rglob("*.py")) if not left_out & set(f.relative_to(root).parts)]
    sources = [text for f in files if (text := f.read_bytes()).strip()]
    if not sources:
        raise ConfigError(
            f"Task `source_language_model` needs the source of Python's standard library, but {root} has none."
        )
    return sources
