"""Predict `y` from `X`, arrays that a person has saved.

    numpy.savez("mine.npz", X=X, y=y)
    archsearch run hybrid --task arrays --set task.path=./mine.npz

`X` is `(N, T, width)` (T steps of vectors) or `(N, T)` (T numbers, each a step, or tokens). A file with splits of its
own holds `X_train`, `y_train`, `X_validation`, `y_validation`, `X_test`, `y_test` instead; rows of the test are left
out of validation, and those of both out of training. A folder may hold `X.npy` and `y.npy` and so on.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from archsearch.errors import nearest
from archsearch.tasks.base import Examples, Split
from archsearch.tasks.drawn import row_numbers
from archsearch.tasks.files import Stamp, existing, problem, stamps
from archsearch.tasks.rows import KINDS, Answers, Rows, RowsTask, answers, splits_of, targets_of
from archsearch.tasks.settings import setting

__all__ = ["Arrays"]

ORDER: tuple[Split, ...] = ("test", "validation", "train")
NAMES = {f"{array}{split}" for array in ("X", "y") for split in ("", "_train", "_validation", "_test")}
MAGIC = (b"\x93NUMPY", b"PK")
"""How files of NumPy begin: one array, or a zip of several."""
VOCABULARY = 2**20
Loaded = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Arrays(RowsTask):
    """Predict an answer for each row of an array of one's own."""

    name: ClassVar[str] = "arrays"
    summary: ClassVar[str] = "Predict y from X, NumPy arrays of your own (.npz, or a folder of .npy)."

    path: str = setting("", needed=True, path=True, help="an .npz file, or a folder of .npy files, with X and y")
    kind: str = setting("auto", options=KINDS, help="auto: classes are words, or whole numbers of at most 20 kinds")
    tokens: bool = setting(False, help="whether X holds tokens, whole numbers from 0 on")
    scale: bool = setting(True, help="bring each feature to mean 0 and variance 1 by the training rows")
    seed: int = setting(0, low=0, help="of the split: three fifths to train on, one fifth each to validate and test")

    def __post_init__(self) -> None:
        existing(self.name, self.path, "an .npz file or a folder of .npy files")

    def rows(self) -> Rows:
        """The arrays, split and scaled."""
        files = stamps(self.name, Path(self.path), "*.npy")
        return _rows(files, self.kind, self.tokens, self.scale, self.seed)


@lru_cache(maxsize=4)
def _rows(files: tuple[Stamp, ...], kind: str, tokens: bool, scale: bool, seed: int) -> Rows:
    loaded = _loaded(files)
    x, y, own = _whole(loaded)
    column = pd.Series(y)
    asked = answers(Arrays.name, "y", column, kind)
    inputs = _tokens(x) if tokens else _numbers(x)
    rows = _given(row_numbers(inputs), own) if own else splits_of(Arrays.name, row_numbers(inputs), asked, seed)
    for split, some in rows.items():
        if not len(some):
            raise problem(Arrays.name, "each split must have rows that no other has", f"none in {split}")
    if scale and not tokens:
        inputs = _scaled(inputs, rows["train"], steps_alike=x.ndim == 3)
    return _examples(inputs, asked, rows, tokens)


def _examples(inputs: Tensor, asked: Answers, rows: Mapping[Split, Tensor], tokens: bool) -> Rows:
    targets = targets_of(asked, rows)
    splits: dict[Split, Examples] = {s: Examples(inputs[some], targets[s]) for s, some in rows.items()}
    return Rows(splits, len(asked.classes), int(inputs.max()) + 1 if tokens else 0)


def _loaded(files: tuple[Stamp, ...]) -> Loaded:
    out: dict[str, NDArray[Any]] = {}
    for path in (Path(file[0]) for file in files):
        with path.open("rb") as file:
            if not file.read(len(MAGIC[0])).startswith(MAGIC):
                hint = "Save them: numpy.savez('mine.npz', X=X, y=y)."
                raise problem(
                    Arrays.name, "`path` must lead to arrays saved by NumPy", f"{path}, which holds none", hint
                )
            file.seek(0)
            try:
                found = np.load(file, allow_pickle=False)
                arrays = {path.stem: found} if isinstance(found, np.ndarray) else found
                out |= {name: _array(arrays, name, path) for name in arrays}
            except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
                rule = "`path` must lead to arrays saved by NumPy"
                raise problem(Arrays.name, rule, f"{path}: {' '.join(str(error).split())}") from None
    return out


def _array(arrays: Loaded, name: str, path: Path) -> NDArray[Any]:
    try:
        return arrays[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        hint = f"Numbers or words are saved as such: {name}.astype(float), {name}.astype(str)."
        rule = "arrays must not hold Python objects, which could run code when they are read"
        raise problem(Arrays.name, rule, f"`{name}` in {path}", hint) from None


def _whole(loaded: Loaded) -> tuple[NDArray[Any], NDArray[Any], list[tuple[Split, int]]]:
    """All of `X` and `y`, and the rows of each split where the file says."""
    if "X" in loaded and "y" in loaded:
        return *_pair(loaded, "X", "y"), []
    if any(name.endswith("_train") for name in loaded):
        pairs = {split: _pair(loaded, f"X_{split}", f"y_{split}") for split in ORDER}
        xs, ys = zip(*pairs.values(), strict=True)
        if len({x.shape[1:] for x in xs}) > 1:
            got = ", ".join(f"{tuple(x.shape)} in {split}" for split, x in zip(ORDER, xs, strict=True))
            raise problem(Arrays.name, "rows of all splits must have one shape", got)
        return np.concatenate(xs), np.concatenate(ys), [(split, len(x)) for split, (x, _) in pairs.items()]
    return *_pair(loaded, "X", "y"), []


def _pair(loaded: Loaded, *names: str) -> tuple[NDArray[Any], NDArray[Any]]:
    for name in names:
        if name not in loaded:
            known = {n.lower(): n for n in loaded if n not in NAMES}
            near = [known[n] for n in nearest(name.lower(), known)]
            got = ", ".join(f"`{n}`" for n in loaded) or "none"
            hint = f"Did you mean `{near[0]}`? Call it `{name}`." if near else ""
            raise problem(Arrays.name, f"there must be an array `{name}`", got, hint)
    x, y = (loaded[name] for name in names)
    if x.ndim not in (2, 3) or 0 in x.shape:
        rule = f"`{names[0]}` must be (rows, steps) or (rows, steps, features)"
        raise problem(Arrays.name, rule, f"shape {tuple(x.shape)}", "Reshape it.")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.shape != x.shape[:1]:
        rule = f"`{names[1]}` must have one answer for each row of `{names[0]}`"
        raise problem(Arrays.name, rule, f"shape {tuple(y.shape)} for {len(x)} rows")
    return x, y


def _numbers(x: NDArray[Any]) -> Tensor:
    """`(N, T, width)` float32."""
    if x.dtype.kind not in "fiub":
        raise problem(Arrays.name, "`X` must hold numbers", f"dtype {x.dtype}")
    inputs = torch.from_numpy(x.astype(np.float32))
    if not inputs.isfinite().all():
        row = int((~inputs.isfinite()).flatten(1).any(1).double().argmax()) + 1
        raise problem(Arrays.name, "`X` must be finite", f"NaN or infinity, first in row {row}")
    return inputs if inputs.ndim == 3 else inputs.unsqueeze(2)


def _tokens(x: NDArray[Any]) -> Tensor:
    if x.ndim != 2 or x.dtype.kind not in "iu" or int(x.min()) < 0:
        got = f"dtype {x.dtype}, shape {tuple(x.shape)}" + (f", least {x.min()}" if x.dtype.kind in "iu" else "")
        raise problem(Arrays.name, "tokens in `X` must be whole numbers from 0 on, (rows, steps)", got)
    if int(x.max()) >= VOCABULARY:
        hint = "Number the tokens that occur: numpy.unique(X, return_inverse=True)[1].reshape(X.shape)."
        raise problem(Arrays.name, f"tokens in `X` must be below {VOCABULARY:,}", f"{x.max():,}", hint)
    return torch.from_numpy(x.astype(np.int64))


def _scaled(inputs: Tensor, train: Tensor, *, steps_alike: bool) -> Tensor:
    """Each feature over all rows and steps; where every step is a feature of its own, each step over all rows."""
    known = inputs[train].double()
    over = (0, 1) if steps_alike else (0,)
    spread = known.std(over, correction=0)
    return ((inputs - known.mean(over)) / torch.where(spread > 0, spread, 1.0)).float()


def _given(numbers: Tensor, own: list[tuple[Split, int]]) -> dict[Split, Tensor]:
    """The rows of the splits that the file has, without those that an earlier one has too."""
    out: dict[Split, Tensor] = {}
    known = numbers[:0]
    for (split, _), rows in zip(own, torch.arange(len(numbers)).split([n for _, n in own]), strict=True):
        out[split] = rows[~torch.isin(numbers[rows], known)]
        known = torch.cat([known, numbers[rows]])
    return out
