"""The three small tables that come with scikit-learn, read as task `table` reads one's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from archsearch.tasks.rows import Rows, RowsTask
from archsearch.tasks.settings import setting
from archsearch.tasks.tables import LAYOUTS, Reading, rows_of

__all__ = ["Tabular"]

DATASETS = ("breast_cancer", "wine", "diabetes")


@dataclass(frozen=True)
class Tabular(RowsTask):
    """Predict the answer of a row of a small table."""

    name: ClassVar[str] = "tabular"
    summary: ClassVar[str] = "Predict the diagnosis, cultivar or progression of a row of a small table (scikit-learn)."
    paper: ClassVar[str] = "Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python, JMLR 12"

    dataset: str = setting("breast_cancer", options=DATASETS, help="the first two have classes, diabetes numbers")
    layout: str = setting("columns", options=LAYOUTS, help="a step for each value, or one step for the whole row")
    seed: int = setting(0, low=0, help="of the split: three fifths to train on, one fifth each to validate and test")

    def rows(self) -> Rows:
        """The columns encoded by what the training rows say."""
        return _rows(self.dataset, self.layout, self.seed)


@lru_cache(maxsize=4)
def _rows(dataset: str, layout: str, seed: int) -> Rows:
    # Takes a second to load, so only who needs it does.
    from sklearn import datasets

    frame = getattr(datasets, f"load_{dataset}")(as_frame=True).frame
    kind = "regression" if dataset == "diabetes" else "classification"
    return rows_of(Tabular.name, frame, Reading("target", kind, layout, seed=seed))
