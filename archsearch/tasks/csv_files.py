"""CSV files as people have them: other separators, decimal commas, quoted line breaks, a byte order mark."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import pandas as pd

from archsearch.errors import ConfigError
from archsearch.tasks.files import is_binary, problem

__all__ = ["csv_frame"]

SEPARATORS = (",", ";", "\t", "|")
COMMA = r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?,\d+([eE][+-]?\d+)?"
"""A number as it is written where the comma is the decimal mark."""
WHOLE = r"[+-]?(\d+|\d{1,3}(\.\d{3})+)"
PLACE = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


def csv_frame(task: str, path: Path, separator: str = "") -> pd.DataFrame:
    """The table in a file, numbers with a decimal comma read as numbers where no comma separates.

    Args:
        separator: between the values of a line; empty for the one that gives the first line most values.

    Raises:
        ConfigError: not text in UTF-8, lines of unequal length, or one column only; says the line where it is known.
    """
    head = _first_line(task, path)
    bare = re.sub(r'"[^"]*"', "", head)
    between = separator.replace("\\t", "\t") or max(SEPARATORS, key=bare.count)  # of equally frequent ones the first
    names = _cells(head, between)
    twice = next((n for n in names if n and names.count(n) > 1), None)
    if twice is not None:
        raise problem(task, "columns must have different names", f"`{twice}` twice in line 1 of {path}")
    frame = _without_row_numbers(_read(task, path, between))
    other = [s for s in SEPARATORS if s != between and s in bare]
    if frame.shape[1] == 1 and other:
        hint = f"Leave out task.separator, or set it to {other[0]!r}."
        raise problem(task, "a table must have several columns", f"one, `{frame.columns[0]}`", hint)
    return _with_decimal_commas(frame) if between != "," else frame


def _first_line(task: str, path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4096)
    if is_binary(start):
        hint = "Parquet is read by its suffix, .parquet or .pq; a spreadsheet has to be saved as CSV."
        raise problem(task, "a CSV file must be text", f"{path}, which seems to be binary", hint)
    lines = start.decode("utf-8-sig", errors="replace").splitlines()
    return next((line for line in lines if line.strip()), "")


def _cells(line: str, separator: str) -> list[str]:
    if len(separator) > 1:
        return re.split(separator, line)
    return next(csv.reader([line], delimiter=separator), [])


def _read(task: str, path: Path, between: str) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            if len(between) > 1:
                return pd.read_csv(path, sep=between, index_col=False, encoding="utf-8-sig", engine="python")
            return pd.read_csv(path, sep=between, index_col=False, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError:
        raise _undecodable(task, path) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError) as error:
        raise _uneven(task, path, between, str(error)) from None


def _uneven(task: str, path: Path, between: str, said: str) -> ConfigError:
    rule = "all lines of a CSV file must have as many values"
    if place := PLACE.search(said):
        wanted, line, found = place.groups()
        got = f"{found} in line {line} of {path} where those before have {wanted}, with {between!r} between them"
        hint = f"A value with {between!r} in it has to stand in quotes; another separator is --set task.separator=';'."
        return problem(task, rule, got, hint)
    return problem(task, rule, f"{path}: {' '.join(said.split())}")


def _undecodable(task: str, path: Path) -> ConfigError:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            wrong = f"byte {line[error.start]:#04x} in line {number} of {path}"
            hint = f"Where it is Latin-1: iconv -f latin1 -t utf8 {path.name} > {path.stem}_utf8{path.suffix}"
            return problem(task, "a CSV file must be text in UTF-8", wrong, hint)
    raise AssertionError(f"{path} is UTF-8 after all")


def _without_row_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Leaves out a first column that only counts the rows, as pandas writes it: it has no name."""
    first = frame.iloc[:, 0] if frame.shape[1] and str(frame.columns[0]).startswith("Unnamed") else None
    if first is None or not pd.api.types.is_integer_dtype(first) or not (first.diff().dropna() == 1).all():
        return frame
    return frame.drop(columns=frame.columns[0])


def _with_decimal_commas(frame: pd.DataFrame) -> pd.DataFrame:
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) or not column.notna().any():
            continue
        words = column.dropna().astype(str).str.strip()
        if words.str.fullmatch(rf"{COMMA}|{WHOLE}").all():
            plain = words.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            frame[name] = plain.astype(float).reindex(column.index)
    return frame
