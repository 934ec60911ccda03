"""Where campaigns lie: a folder of results with one folder for each."""

from __future__ import annotations

import os
from pathlib import Path

from archsearch.errors import StoreError, UnknownNameError

__all__ = ["campaigns", "find", "newest", "results_folder"]

EVENTS = "events.jsonl"


def results_folder(given: str | Path | None = None) -> Path:
    """`given`, else $ARCHSEARCH_RESULTS, else `results` in the working directory; it need not exist."""
    return Path(given or os.environ.get("ARCHSEARCH_RESULTS") or "results").expanduser()


def campaigns(results: Path) -> dict[str, Path]:
    """The campaigns in a folder by name, the newest first; empty if there is no such folder.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        found = (
            [(file.stat().st_mtime, file.parent) for file in results.glob(f"*/{EVENTS}")] if results.exists() else []
        )
        if results.exists():
            os.scandir(results).close()  # a glob is silent about what it may not read
    except OSError as error:
        raise StoreError(f"A results folder must be readable, but {results} is not: {error.strerror}.") from None
    return {path.name: path for _, path in sorted(found, key=lambda f: (-f[0], f[1].name))}


def find(name: str | Path, results: Path) -> Path:
    """The folder of campaign `name`: one in `results`, or a path to a folder that was copied here.

    Raises:
        UnknownNameError: there is none, with the nearest names.
        StoreError: the folder of results cannot be read.
    """
    path = Path(name).expanduser()
    if len(path.parts) == 1 and (results / path / EVENTS).exists():
        return results / path
    if (path / EVENTS).exists():
        return path
    raise UnknownNameError("campaign", str(name), campaigns(results), of=f"in {results}")


def newest(results: Path) -> Path:
    """The campaign that was written to last.

    Raises:
        StoreError: there is none, or the folder cannot be read.
    """
    found = campaigns(results)
    if not found:
        raise StoreError(
            f"There must be a campaign to show, but {results} holds none. Start one: archsearch run quickstart"
        )
    return next(iter(found.values()))
