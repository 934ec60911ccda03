"""Data sets of Hugging Face's `datasets`: by name, from a folder of files, or saved to a folder.

archsearch run hybrid --task text --set task.path=hub:imdb --set task.part=train --set task.column=text
archsearch run hybrid --task table --set task.path=hub:./folder_of_files --set task.target=label

A name may carry a configuration: `hub:wikitext:wikitext-2-raw-v1`. What is saved with `save_to_disk` is named by its
folder, without `hub:`, and nothing is fetched then.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from archsearch.errors import ConfigError, UnknownNameError
from archsearch.tasks.files import Stamp, existing, extra, problem, stamps
from archsearch.tasks.settings import HUB, is_local

__all__ = ["check_source", "frame_of", "is_data_set", "source_stamps"]

MARKS = ("dataset_dict.json", "dataset_info.json")
"""What `save_to_disk` leaves in a folder."""
OFFLINE = "Where there is no network: save it where there is one, with save_to_disk, and name the folder."


def is_data_set(path: str) -> bool:
    """Whether a path is a name after `hub:`, or a folder that `save_to_disk` has written."""
    return path.startswith(HUB) or any((Path(path) / mark).is_file() for mark in MARKS)


def check_source(task: str, path: str, what: str, *, folder: bool | None = None) -> None:
    """Raises `ConfigError` for a path that leads nowhere; of a name on the hub only loading it tells.

    Args:
        folder: see `archsearch.tasks.files.existing`; a data set may be a folder in any case.
    """
    if not path.startswith(HUB):
        existing(task, path, what, folder=None if is_data_set(path) else folder)
    elif is_local(path):
        existing(task, _name(path)[0], "a folder of files after `hub:`", folder=True)
    elif not _name(path)[0]:
        raise problem(task, "`path` must name a data set after `hub:`", f"`{path}`")


def source_stamps(task: str, path: str, pattern: str = "*") -> tuple[Stamp, ...]:
    """The files that are read, see `archsearch.tasks.files.stamps`; none for a name on the hub."""
    if path.startswith(HUB):
        return stamps(task, Path(_name(path)[0])) if is_local(path) else ()
    return stamps(task, Path(path), "*" if is_data_set(path) else pattern)


def frame_of(task: str, path: str, part: str) -> pd.DataFrame:
    """One part of a data set as a table, classes by their names.

    Args:
        part: such as `train`, or for a name on the hub `train[:1000]`; empty where there is only one.

    Raises:
        UnknownNameError: no such part or configuration, with the nearest names.
        ConfigError: `datasets` is not installed, cannot reach the data set, or cannot read it.
    """
    datasets = extra(task, "datasets", "hub")
    found = _loaded(task, datasets, path, part) if path.startswith(HUB) else _saved(task, datasets, path)
    if isinstance(found, dict):
        found = found[_part(task, path, part, list(map(str, found)))]
    frame: pd.DataFrame = found.to_pandas()
    for name, feature in getattr(found, "features", {}).items():
        if hasattr(feature, "int2str"):
            frame[name] = [None if code is None or code < 0 else feature.int2str(code) for code in found[name]]
    return frame


def _name(path: str) -> tuple[str, str | None]:
    """Name and configuration."""
    name, _, config = path.removeprefix(HUB).partition(":")
    return name, config or None


def _part(task: str, path: str, part: str, parts: list[str]) -> str:
    if not part and len(parts) == 1:
        return parts[0]
    if not part:
        hint = f"--set task.part={parts[0]}"
        raise problem(task, "`part` must be one of the parts of a data set", f"none of {', '.join(parts)}", hint)
    if part not in parts:
        raise UnknownNameError("part", part, parts, of=f"of the data set {path}")
    return part


def _saved(task: str, datasets: Any, path: str) -> Any:
    try:
        return datasets.load_from_disk(path)
    except (OSError, ValueError, KeyError) as error:
        raise problem(task, "the folder must hold a saved data set", f"{path}: {_said(error)}") from None


def _loaded(task: str, datasets: Any, path: str, part: str) -> Any:
    name, config = _name(path)
    if is_local(path):
        datasets.disable_progress_bars()
    try:
        # `train[:1000]` and `train+test` are put together by the library.
        return datasets.load_dataset(name, config, split=part if set(part) & set("[+") else None)
    except Exception as error:  # whatever the readers of a hundred formats may raise
        raise _unusable(task, path, config, part, error) from error


def _unusable(task: str, path: str, config: str | None, part: str, error: Exception) -> ConfigError | UnknownNameError:
    name = _name(path)[0]
    said = _said(error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error)
    known = re.findall(r"'([^']+)'", said.partition("[")[2].partition("]")[0])
    if isinstance(error, ValueError) and known and "onfig" in said:
        if config:
            return UnknownNameError("configuration", config, known, of=f"of the data set {name}")
        got = f"none of {', '.join(known)}"
        return problem(task, "a data set with configurations needs one", got, f"--set task.path={HUB}{name}:{known[0]}")
    if isinstance(error, ValueError) and known and "split" in said:
        return UnknownNameError("part", part, known, of=f"of the data set {path}")
    if isinstance(error, ConnectionError):
        return problem(task, "the data set must be within reach", f"`{name}`: {said}", OFFLINE)
    return problem(task, f"`{HUB}` must be followed by a data set that can be loaded", f"`{name}`: {said}")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())
