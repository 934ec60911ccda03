"""Byte-level language modelling on a person's own text.

archsearch run hybrid --task text --set task.path=./book.txt
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from archsearch.errors import UnknownNameError
from archsearch.tasks.documents import by_file, in_parts
from archsearch.tasks.files import Stamp, is_binary, problem
from archsearch.tasks.hub import check_source, frame_of, is_data_set, source_stamps
from archsearch.tasks.settings import setting
from archsearch.tasks.windows import BytesTask, Texts

__all__ = ["Text"]

MANY = 10
"""From so many files on whole files are split."""


@dataclass(frozen=True)
class Text(BytesTask):
    """Predict the next byte of a text of one's own."""

    name: ClassVar[str] = "text"
    summary: ClassVar[str] = "Predict the next byte of a text of your own, a file or a folder of files."
    metric: ClassVar[str] = "bits_per_byte"
    maximize: ClassVar[bool] = False
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 400,
        "batch": 32,
        "learning_rates": (3e-3,),
        "evaluation_examples": 512,
    }

    path: str = setting("", needed=True, path=True, help="a text file, a folder of them, or hub:NAME")
    files: str = setting("*", help="which files of a folder, such as *.md; those of its sub-folders too")
    split: str = setting(
        "auto",
        options=("auto", "files", "parts"),
        help="whole files (auto: from ten on), or every file in 40 parts; 8 of 10 to train on, one each to score",
    )
    part: str = setting("", help="which part of a data set of Hugging Face's `datasets`, such as train")
    column: str = setting("text", help="which column of it; each row counts as a file")
    seed: int = setting(0, low=0, help="of the split by files")

    def __post_init__(self) -> None:
        check_source(self.name, self.path, "a text file or a folder of them")

    def texts(self) -> Texts:
        """By file or in parts; what is nearly alike stands on one side."""
        hub = (self.part, self.column) if is_data_set(self.path) else None
        return _texts(self.path, source_stamps(self.name, self.path, self.files), hub, self.split, self.seed)


@lru_cache(maxsize=2)
def _texts(path: str, files: tuple[Stamp, ...], hub: tuple[str, str] | None, split: str, seed: int) -> Texts:
    documents = _rows(path, *hub) if hub else [_read(file) for file, size, _ in files if size]
    if split == "parts" or (split == "auto" and len(documents) < MANY):
        return in_parts(documents)
    texts = by_file(documents, seed)
    if not all(texts.values()):
        empty = next(s for s, text in texts.items() if not text)
        rule = "files must be many enough, unlike enough and of like size to be split"
        raise problem("text", rule, f"none for {empty} out of {len(documents)}", "Cut them: --set task.split=parts")
    return texts


def _rows(path: str, part: str, column: str) -> list[bytes]:
    frame = frame_of(Text.name, path, part)
    if column not in frame.columns:
        raise UnknownNameError("column", column, map(str, frame.columns), of=f"of the data set {path}")
    return [str(row).encode() for row in frame[column] if row]


def _read(path: str) -> bytes:
    text = Path(path).read_bytes()
    if b"\0" in text or is_binary(text[:4096]):
        hint = "Name the text files of a folder: --set task.files='*.txt'. Text in UTF-16 has to be saved as UTF-8."
        raise problem(Text.name, "files must be text", f"{path}, which seems to be binary", hint)
    return text
