"""Small files of every kind that tasks on a person's own data read, and the settings that tests need with them."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = ["EXTRAS", "given", "needs", "poem", "write_table"]

EXTRAS = {"images": "PIL"}
"""What has to be installed before a task can be tried."""
SYLLABLES = ("ka", "lo", "mi", "ner", "os", "pra", "que", "rin", "sta", "tu", "vel", "zo")


def needs(name: str) -> None:
    """Skips the test where a task's optional package is missing."""
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])


@cache
def given(name: str, other: bool = False) -> dict[str, Any]:
    """What has to be set for a task to run, or to run quickly, in a test; `other` for different data."""
    if name == "source_language_model":
        return {"megabytes": 2 if other else 1}
    if name not in WRITERS:
        return {}
    path = _folder() / f"{name}{int(other)}"
    WRITERS[name](path, int(other))
    return {"path": str(path), **({"target": "kind"} if name == "table" else {})}


def poem(seed: int, paragraphs: int = 60) -> str:
    """A text in which no two paragraphs are alike."""
    rng = random.Random(seed)
    return "\n\n".join(" ".join(_word(rng) for _ in range(30)) + "." for _ in range(paragraphs))


def write_table(path: Path, seed: int = 0, rows: int = 80) -> None:
    """A CSV file with a column of each kind."""
    rng = random.Random(seed)
    lines = ["size,colour,age,price,kind"]
    for n in range(rows):
        size, colour = rng.gauss(0, 1), rng.choice(["red", "green", "blue"])
        price = 3 * size + (colour == "red") + rng.gauss(0, 0.1)
        kind = "dear" if size > 0.3 else "cheap"
        lines.append(f"{size:.4f},{colour},{n % 37},{price:.4f},{kind}")
    path.write_text("\n".join(lines) + "\n")


def _texts(path: Path, seed: int) -> None:
    path.mkdir()
    for n in range(12):
        (path / f"{n}.txt").write_text(poem(100 * seed + n, 12))


def _arrays(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=90)
    path.mkdir()
    np.save(path / "X.npy", rng.integers(9, size=(90, 6)) + y[:, None])
    np.save(path / "y.npy", y)


def _images(path: Path, seed: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(seed)
    for label in ("cat", "dog"):
        (path / label).mkdir(parents=True)
        for n in range(20):
            pixels = rng.integers(256, size=(10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / label / f"{n}.png")


def _word(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


WRITERS = {"text": _texts, "table": write_table, "arrays": _arrays, "images": _images}
