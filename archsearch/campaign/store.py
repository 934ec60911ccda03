"""A results folder, held by the one driver that may write to it.

results/<name>/
  campaign.yaml      the resolved configuration: a campaign file that does the same again
  space.yaml         the space as it was read; space.ops/ holds the files of a person's own ops
  environment.json   versions, platform, cores
  events.jsonl       the truth; see `archsearch.campaign.events`
  results.db         an index of it in SQLite; see `archsearch.campaign.index`
  lock               held while a driver runs; says which
  candidates/<id>/   what is large: weights, tracebacks
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from archsearch.campaign import index
from archsearch.campaign.events import FILE, Writer, read
from archsearch.campaign.ledger import Ledger
from archsearch.errors import ConfigError, StoreError

__all__ = ["Store", "free_name", "held", "reindex"]

LOCK: Final = "lock"


class Store:
    """Open with `Store.create` or `Store.open`; a context manager that gives the folder back.

    Attributes:
        path: the folder, absolute.
        ledger: the state that the events so far amount to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.ledger = Ledger()
        self._lock = _Lock(self.path / LOCK)
        try:
            self._found: list[dict[str, Any]] = []
            self._offsets: dict[str, int] = {}
            if (self.path / FILE).exists():
                for begin, _, event in read(self.path):
                    self._take(event, begin)
                    self._found.append({k: v for k, v in event.items() if k != "architecture"})
            self._writer = Writer(self.path)
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def create(cls, path: Path, files: Mapping[str, str]) -> Store:
        """A new folder with `files` (name to text) in it.

        Raises:
            ConfigError: a campaign of this name exists.
            StoreError: the folder cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if (path / FILE).exists() or any(p.name != LOCK for p in path.iterdir()):
                raise ConfigError(
                    f"A new campaign needs a name that is free, but {path} exists. Take another `--name`, or go on "
                    f"with `archsearch resume {path.name}`."
                )
            store = cls(path)
            for name, text in files.items():
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise _unwritable(path, error) from None
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing folder, to go on with it.

        Raises:
            StoreError: it holds no campaign, another driver holds it, or it cannot be written.
        """
        if not (path / FILE).exists():
            raise StoreError(f"A results folder must hold {FILE}, but {path} does not.")
        return cls(path)

    def append(self, kind: str, *, sync: bool = False, **fields: Any) -> None:
        """Writes an event and applies it; `sync` waits until it is on disk.

        Raises:
            StoreError: it could not be written; the state is then as before.
        """
        begin = self._writer.size
        self._take(self._writer.append(kind, sync=sync, **fields), begin)

    def _take(self, event: Mapping[str, Any], begin: int) -> None:
        self.ledger.apply(event)
        if event["event"] == "candidate":
            self._offsets[event["id"]] = begin

    def architecture(self, id: str) -> dict[str, Any]:
        """`Architecture.to_dict()` of a candidate, read from the file: thousands of graphs are not kept in memory."""
        try:
            with (self.path / FILE).open("rb") as file:
                file.seek(self._offsets[id])
                return json.loads(file.readline())["architecture"]  # type: ignore[no-any-return]
        except OSError as error:
            raise StoreError(f"A results folder must be readable, but {self.path} is not: {error.strerror}.") from None

    def take_events(self) -> list[dict[str, Any]]:
        """What was on disk when the folder was opened, without the architectures; once."""
        found, self._found = self._found, []
        return found

    def folder(self, id: str) -> Path:
        """`candidates/<id>/`, made if it is not there; raises `StoreError`."""
        path = self.path / "candidates" / id
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from None
        return path

    def close(self) -> None:
        """Brings the index up to date and lets the folder go."""
        try:
            self._writer.close()
            index.load(self.path)
        finally:
            self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Lock:
    """An exclusive lock on a file, which dies with its owner; raises `StoreError` if somebody else has it."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"A results folder must be writable, but {path.parent} is not: {error.strerror}."
            ) from None
        if not self._take():
            owner = path.read_text(encoding="utf-8", errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreError(f"One driver at a time may hold a results folder, but {path.parent} is held by {owner}.")
        try:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError:
            pass  # a full disk: the lock holds all the same, it only does not say whose it is

    def _take(self) -> bool:
        for _ in range(10):  # a reader that asks `held` has it for a moment
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return True
        return False

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def held(path: Path) -> bool:
    """Whether a driver on this machine holds the folder."""
    return index.held(path / LOCK)


def reindex(path: Path | str) -> int:
    """Builds `results.db` anew from `events.jsonl`; returns the number of candidates.

    Raises:
        StoreError: the folder holds no campaign, a driver holds it, or it cannot be read or written.
    """
    path = Path(path)
    if not (path / FILE).exists():
        raise StoreError(f"A results folder must hold {FILE}, but {path} does not.")
    lock = _Lock(path / LOCK)
    try:
        return index.rebuild(path)
    finally:
        lock.release()


def free_name(results: Path, stem: str) -> str:
    """`stem-1`, `stem-2`, ...: the first that no folder in `results` has."""
    number = 1
    while (results / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"A results folder must be writable, but {path} is not: {error.strerror}.")
