"""Data sets of Hugging Face's `datasets` that a person has saved to a folder; nothing is fetched.

datasets.load_dataset("imdb").save_to_disk("imdb")
archsearch run hybrid --task text --set task.path=./imdb --set task.part=train --set task.column=text
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from archsearch.errors import UnknownNameError
from archsearch.tasks.files import extra, problem

__all__ = ["is_saved", "saved_frame"]

MARKS = ("dataset_dict.json", "dataset_info.json")


def is_saved(path: Path) -> bool:
    """Whether a path is a folder that `save_to_disk` has written."""
    return any((path / mark).is_file() for mark in MARKS)


def saved_frame(task: str, path: Path, part: str) -> pd.DataFrame:
    """A saved data set, or one part of it, as a table.

    Raises:
        UnknownNameError: no such part, with the nearest names.
        ConfigError: `datasets` is not installed, or it cannot read the folder.
    """
    datasets = extra(task, "datasets", "hub")
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())
        raise problem(task, "the folder must hold a saved data set", f"{path}: {said}") from None
    if isinstance(found, dict):
        if part not in found:
            raise UnknownNameError(f"`part` of the data set {path}", part, found)
        found = found[part]
    frame: pd.DataFrame = found.to_pandas()
    return frame
