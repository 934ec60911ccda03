"""Tables into rows: which columns are numbers and which names, encoded by what the training rows say.

Numbers are brought to mean 0 and variance 1; of names the most frequent have a column of zeros and ones each. A row is
one step with all of them (`row`), or one step for each (`columns`): the value, then a code of sines and cosines that
says which it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from archsearch.errors import UnknownNameError
from archsearch.tasks.base import Examples
from archsearch.tasks.files import problem
from archsearch.tasks.rows import Rows, answers, are_mostly_numbers, first_word, splits_of, targets_of

__all__ = ["LAYOUTS", "Reading", "column_steps", "rows_of"]

LAYOUTS = ("columns", "row")
CODE = 16
"""Width of the code of a column."""
WIDEST = 4096


@dataclass(frozen=True)
class Reading:
    """How a table is read: see the settings of task `table`."""

    target: str
    kind: str = "auto"
    layout: str = "columns"
    missing: str = "error"
    categories: int = 16
    ignore: tuple[str, ...] = ()
    seed: int = 0


def rows_of(task: str, frame: pd.DataFrame, reading: Reading) -> Rows:
    """The three splits of a table.

    Raises:
        UnknownNameError: a column that the table does not have.
        ConfigError: values that cannot be used; says the column, the row and the way out.
    """
    frame = frame.rename(columns=str)
    for name in (reading.target, *reading.ignore):
        if name not in frame.columns:
            raise UnknownNameError("column", name, frame.columns, of=f"of task `{task}`")
    _check_plain(task, frame.drop(columns=[*reading.ignore]))
    asked = answers(task, reading.target, frame[reading.target], reading.kind)
    inputs = frame.drop(columns=[reading.target, *reading.ignore])
    if not inputs.shape[1]:
        raise problem(task, "a table must have a column beside its target", f"only `{reading.target}`")
    inputs = inputs.apply(_dates)
    _check_values(task, inputs, reading.missing)
    _check_names(task, inputs, reading.categories)
    numbers = torch.from_numpy(pd.util.hash_pandas_object(inputs, index=False).to_numpy().astype(np.int64))
    rows = splits_of(task, numbers, asked, reading.seed)
    values = torch.cat([_encoded(inputs[c], rows["train"], reading.categories) for c in inputs], 1)
    if values.shape[1] > WIDEST:
        raise problem(task, f"a row must have at most {WIDEST} values", f"{values.shape[1]}", "Lower task.categories.")
    laid = column_steps(values) if reading.layout == "columns" else values.unsqueeze(1)
    targets = targets_of(asked, rows)
    return Rows({s: Examples(laid[some], targets[s]) for s, some in rows.items()}, len(asked.classes))


def column_steps(values: Tensor) -> Tensor:
    """`(N, F, 1 + 16)`: a step for each of `(N, F)` values, with the code of its column."""
    count = values.shape[1]
    angle = torch.arange(count).unsqueeze(1) * torch.exp(torch.arange(0, CODE, 2) * (-math.log(10_000.0) / CODE))
    code = torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
    return torch.cat([values.unsqueeze(2), code.expand(len(values), -1, -1)], 2)


def _check_values(task: str, frame: pd.DataFrame, missing: str) -> None:
    for name in frame:
        column = frame[name]
        if missing == "error" and column.isna().any():
            count, row = int(column.isna().sum()), int(column.isna().to_numpy().argmax()) + 1
            hint = "Fill them with the mean of the column, or a name of their own: --set task.missing=fill"
            raise problem(task, f"column `{name}` must have no empty values", f"{count}, the first in row {row}", hint)
        if _is_number(column) and np.isinf(column.to_numpy(dtype=np.float64)).any():
            raise problem(task, f"column `{name}` must be finite", "infinity")


def _check_plain(task: str, frame: pd.DataFrame) -> None:
    """Data sets may have lists, images and the like for values."""
    for name in frame:
        known: Any = frame[name].dropna() if frame[name].dtype == object else ()
        odd = next((v for v in known if isinstance(v, list | dict | np.ndarray | bytes)), None)
        if odd is not None:
            hint = f"Leave it out: --set task.ignore={name}"
            rule = f"column `{name}` must hold numbers, dates or names"
            raise problem(task, rule, f"values of type {type(odd).__name__}", hint)


def _check_names(task: str, frame: pd.DataFrame, categories: int) -> None:
    """Names that hardly ever come back tell nothing, and take many steps to do so."""
    unlike = [name for name in frame if _is_unlike(frame[name].dropna(), categories)]
    if not unlike:
        return
    column = frame[unlike[0]]
    if are_mostly_numbers(column):
        hint = "Clear or correct it; cleared values are filled with task.missing=fill."
        raise problem(task, f"column `{unlike[0]}` must hold numbers or names, not both", first_word(column), hint)
    known = column.dropna()
    got = f"{known.nunique():,} different ones in {len(known):,} rows, such as {str(known.iloc[0])[:40]!r}"
    hint = f"Leave it out: --set task.ignore={','.join(map(str, unlike))!r}. Dates are read if written as 2024-05-31."
    raise problem(task, f"names in column `{unlike[0]}` must come back in other rows", got, hint)


def _is_unlike(known: pd.Series[Any], categories: int) -> bool:
    if _is_number(known) or _is_date(known):
        return False
    return bool(known.nunique() > max(categories, len(known) * 9 // 10))


def _dates(column: pd.Series[Any]) -> pd.Series[Any]:
    """Words that are all dates, such as 2024-05-31 or 2024-05-31T12:00, as such; other columns as they are."""
    if _is_number(column) or _is_date(column) or pd.api.types.is_bool_dtype(column):
        return column
    words = column.dropna().astype(str)
    if not len(words) or not words.str.match(r"\d{4}-\d{2}-\d{2}").all():
        return column
    dates = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    return column if dates[column.notna()].isna().any() else dates


def _encoded(column: pd.Series[Any], train: Tensor, categories: int) -> Tensor:
    """`(N, 1)` numbers, or `(N, names)` zeros and ones, float32."""
    if _is_date(column):
        column = (column - column.min()).dt.total_seconds()
    if _is_number(column):
        values = torch.from_numpy(np.array(column.to_numpy(dtype=np.float64, na_value=np.nan)))
        known = values[train]
        known = known[~known.isnan()] if (~known.isnan()).any() else torch.zeros(1, dtype=torch.float64)
        spread = known.std(correction=0)
        scaled = (values - known.mean()) / (spread if spread > 0 else 1.0)
        return scaled.nan_to_num(nan=0.0).float().unsqueeze(1)
    names = column.astype("string").fillna("")
    common = sorted(names.iloc[train.numpy()].value_counts().index[:categories])
    codes = torch.from_numpy(pd.Index(common).get_indexer_for(names).astype(np.int64))
    others = bool((codes < 0).any())
    return torch.nn.functional.one_hot(torch.where(codes < 0, len(common), codes), len(common) + others).float()


def _is_date(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_datetime64_any_dtype(column))


def _is_number(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_bool_dtype(column)
