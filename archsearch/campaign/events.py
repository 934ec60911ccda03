"""events.jsonl: the truth of a campaign. One JSON object a line, appended by one writer, never changed.

Every event has `v` (the version of this schema), `event` (its kind) and `t` (seconds since the epoch). A line counts
once its newline is on disk. A crash can leave a torn last line: readers drop it, and the next writer cuts it off.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from archsearch.errors import StoreError

__all__ = ["FILE", "KINDS", "VERSION", "Event", "Writer", "read", "unwritable"]

FILE: Final = "events.jsonl"
VERSION: Final = 1

KINDS: Final = frozenset(
    {
        "campaign",  # name, config, task, environment, agent: the first line
        "resume",  # environment: another driver goes on
        # What an agent proposed: number, decisions, parent (a number), parent_id, reason, cost, and
        "candidate",  # id, role (search, control), agent, hash, architecture, line, families, facts
        "refused",  # message: a gate turned it away
        "duplicate",  # of: the id of the candidate with the same hash
        # With several tasks there is an attempt for each, and what follows is of one of them: `task` is its label.
        "attempt",  # id, phase (search, final), attempt, key: a worker took it
        "report",  # key, step, score, loss, seconds
        "measurement",  # id, phase, key, measurement
        "failure",  # id, phase, key, reason, message
        # by: scheduler (this ends the candidate), interrupt (it will run again) or failure (on another task)
        "stopped",  # id, phase, key, by
        "final_choice",  # ids, over (why the search ended), message
        "end",  # status, message
    }
)

Event = Mapping[str, Any]


def read(folder: Path, start: int = 0) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The events of a results folder from byte `start` on, as `(begin, end, event)` with byte offsets.

    Raises:
        StoreError: there is no such file, it cannot be read, a line other than the last is damaged, or a newer
            archsearch wrote it.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            file.seek(start)
            begin = start
            damaged: int | None = None
            for line in file:
                if damaged is not None:
                    raise StoreError(f"{path} must hold one event a line, but the line at byte {damaged} is damaged.")
                event = _parse(line)
                if event is None:
                    damaged = begin  # harmless if it is the last one: the writer died in the middle of it
                else:
                    _check(event, path)
                    yield begin, begin + len(line), event
                begin += len(line)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _check(event: Mapping[str, Any], path: Path) -> None:
    version, kind = event.get("v"), event.get("event")
    if not isinstance(version, int) or version > VERSION or kind not in KINDS:
        raise StoreError(
            f"{path} must hold events of version {VERSION} or before, but got an event `{kind}` of version {version}: "
            "a newer archsearch wrote it, so a newer one has to read it."
        )


def _unreadable(folder: Path, error: OSError) -> StoreError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return StoreError(f"A results folder must hold {FILE}, but {folder} does not.")
    return StoreError(f"A results folder must be readable, but {folder / FILE} is not: {error.strerror}.")


class Writer:
    """Appends events. There is one for a folder at a time; `archsearch.campaign.store.Store` sees to that.

    Args:
        folder: the results folder. A torn last line is cut off.

    Raises:
        StoreError: the file cannot be opened for writing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._broken: StoreError | None = None
        try:
            end = 0
            if self.path.exists():
                for _, end, _ in read(folder):  # noqa: B007
                    pass
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.ftruncate(self._fd, end)
            os.lseek(self._fd, end, os.SEEK_SET)
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.size = end

    def append(self, kind: str, *, sync: bool = False, **fields: Any) -> dict[str, Any]:
        """Writes one event and returns it as a reader will see it; `sync` waits until it is on disk.

        Raises:
            StoreError: it could not be written. What was written before stays readable, and nothing more is written.
        """
        if self._broken:
            raise self._broken
        assert kind in KINDS, kind
        event = {"v": VERSION, "event": kind, "t": round(time.time(), 3), **plain(fields)}
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            _write_all(self._fd, line)
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            self._broken = unwritable(self.path, error)
            raise self._broken from None
        self.size += len(line)
        return event

    def close(self) -> None:
        """Waits until everything is on disk and closes the file."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        except OSError as error:
            raise unwritable(self.path, error) from None
        finally:
            os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def unwritable(path: Path, error: OSError) -> StoreError:
    """What to raise when a file of a results folder cannot be written."""
    return StoreError(
        f"A results folder must be writable, but {path} is not: {error.strerror}. What is stored stays readable; "
        "`archsearch resume` goes on once the cause is gone."
    )


def plain(value: Any) -> Any:
    """`value` as strict JSON data: mappings and sequences as such, NaN and infinity as `None`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return plain(value.item()) if hasattr(value, "item") else str(value)
