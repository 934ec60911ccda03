"""Predict a column of a person's own table from the others.

archsearch run hybrid --task table --set task.path=./houses.csv --set task.target=price
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import pandas as pd

from archsearch.tasks.csv_files import csv_frame
from archsearch.tasks.files import Stamp, extra, problem
from archsearch.tasks.hub import check_source, frame_of, is_data_set, source_stamps
from archsearch.tasks.rows import KINDS, Rows, RowsTask
from archsearch.tasks.settings import setting
from archsearch.tasks.tables import LAYOUTS, Reading, rows_of

__all__ = ["Table"]

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Table(RowsTask):
    """Predict a column of a table of one's own."""

    name: ClassVar[str] = "table"
    summary: ClassVar[str] = "Predict one column of a table of your own (CSV or Parquet) from the others."

    path: str = setting("", needed=True, path=True, help="a CSV or Parquet file, or hub:NAME")
    target: str = setting("", needed=True, help="the column to predict")
    kind: str = setting("auto", options=KINDS, help="auto: classes are words, or whole numbers of at most 20 kinds")
    layout: str = setting("columns", options=LAYOUTS, help="a step for each value, or one step for the whole row")
    ignore: str = setting("", help="columns to leave out, with commas between them")
    missing: str = setting("error", options=("error", "fill"), help="what to do about empty values")
    categories: int = setting(16, low=1, high=1024, help="names kept of each column of names; the others are one")
    separator: str = setting("", help="between the values of a line, such as ';'; by the first line where not given")
    part: str = setting("", help="which part of a data set of Hugging Face's `datasets`, such as train")
    seed: int = setting(0, low=0, help="of the split: three fifths to train on, one fifth each to validate and test")

    def __post_init__(self) -> None:
        check_source(self.name, self.path, "a CSV or Parquet file", folder=False)

    def rows(self) -> Rows:
        """The columns encoded by what the training rows say."""
        ignore = tuple(name for part in self.ignore.split(",") if (name := part.strip()))
        reading = Reading(self.target, self.kind, self.layout, self.missing, self.categories, ignore, self.seed)
        return _rows(self.path, source_stamps(self.name, self.path), self.separator, self.part, reading)


@lru_cache(maxsize=4)
def _rows(place: str, files: tuple[Stamp, ...], separator: str, part: str, reading: Reading) -> Rows:
    path = Path(place)
    if is_data_set(place):
        return rows_of(Table.name, frame_of(Table.name, place, part), reading)
    frame = _parquet(path) if path.suffix in PARQUET else csv_frame(Table.name, path, separator)
    return rows_of(Table.name, frame, reading)


def _parquet(path: Path) -> pd.DataFrame:
    extra(Table.name, "pyarrow", "parquet")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        said = " ".join(str(error).split())
        raise problem(Table.name, "the file must be Parquet as its suffix says", f"{path}: {said}") from None
