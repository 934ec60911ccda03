"""results.db: an index of events.jsonl, so that a board of thousands of candidates opens at once.

It holds nothing that the events do not say, and it is written whole and put in place in one move, so that a reader
never meets half of it and needs no lock. It knows how many bytes of events it covers; a reader folds in what came after
and, if it may write, puts the newer index in place. Delete it and it comes back.

    sqlite3 results.db 'select id, line, score from candidates order by score desc limit 3'
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from archsearch.campaign import events
from archsearch.campaign.ledger import Head, Ledger
from archsearch.campaign.record import CampaignRecord, CandidateRecord
from archsearch.errors import StoreError, UnknownNameError

__all__ = ["FILE", "candidate_line", "held", "load", "rebuild"]

FILE: Final = "results.db"
LAYOUT: Final = 3
"""Raised whenever the tables or the stored records change; an index of another layout is built anew."""

TABLES: Final = """
create table meta (key text primary key, value text not null);
create table candidates (
    position integer primary key, id text unique not null, number integer, role text not null, hash text not null,
    line text not null, families text not null, status text not null, agent text not null, parent text,
    score real, final_score real, params integer, seconds real not null,
    byte integer not null, record text not null
);
"""


def load(folder: Path) -> CampaignRecord:
    """The campaign in `folder`, by the index as far as it goes; see `archsearch.campaign.record.load`."""
    ledger, offsets, known = _read_index(folder)
    covered = _fold(folder, ledger, offsets, known)
    if not ledger.head.name:
        raise StoreError(f"A results folder must begin with a campaign, but {folder / events.FILE} holds no event.")
    if covered > known:
        with suppress(OSError, sqlite3.Error):  # a folder that is read-only or full is read all the same
            _write(folder, ledger, offsets, covered)
    return ledger.record(folder, held=held(folder / "lock"))


def rebuild(folder: Path) -> int:
    """Builds the index anew; returns the number of candidates; raises `StoreError`."""
    ledger = Ledger()
    offsets: dict[str, int] = {}
    covered = _fold(folder, ledger, offsets, 0)
    try:
        _write(folder, ledger, offsets, covered)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"A results folder must be writable, but {folder / FILE} is not: {error}.") from None
    return len(ledger.candidates)


def candidate_line(folder: Path, id: str) -> bytes:
    """The event that admitted candidate `id`, as it stands in the file.

    Raises:
        UnknownNameError: no candidate is called so.
        StoreError: the folder cannot be read.
    """
    record = load(folder)
    candidate = record.candidate(id)
    _, offsets, _ = _read_index(folder)
    if candidate.id not in offsets:  # the index could not be written
        offsets = {e["id"]: begin for begin, _, e in events.read(folder) if e["event"] == "candidate"}
    try:
        with (folder / events.FILE).open("rb") as file:
            file.seek(offsets[candidate.id])
            return file.readline()
    except (OSError, KeyError):
        raise UnknownNameError("candidate", id, offsets) from None


def held(lock: Path) -> bool:
    """Whether somebody on this machine holds the lock."""
    try:
        fd = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def _fold(folder: Path, ledger: Ledger, offsets: dict[str, int], start: int) -> int:
    """Applies the events from byte `start` on; returns the byte at which they end."""
    end = start
    for begin, end, event in events.read(folder, start):  # noqa: B007
        ledger.apply(event)
        if event["event"] == "candidate":
            offsets[event["id"]] = begin
    return end


def _read_index(folder: Path) -> tuple[Ledger, dict[str, int], int]:
    """State, byte offsets of the candidates, and how many bytes of events are in them; nothing if it is of no use."""
    empty: tuple[Ledger, dict[str, int], int] = (Ledger(), {}, 0)
    path = (folder / FILE).absolute()
    if not path.is_file():
        return empty
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            meta = dict(db.execute("select key, value from meta"))
            covered = int(meta["covered"])
            if int(meta["layout"]) != LAYOUT or meta["seal"] != _seal(folder, covered):
                return empty
            rows = db.execute("select id, byte, record from candidates order by position").fetchall()
    except (sqlite3.Error, OSError, KeyError, ValueError):
        return empty
    # One call for all rows: the parser then shares the key strings of a thousand records.
    records = json.loads(f"[{','.join(record for _, _, record in rows)}]")
    candidates = {r["id"]: CandidateRecord.from_dict(r) for r in records}
    head = Head(**json.loads(meta["head"]))
    head.ended = head.ended and (head.ended[0], head.ended[1])
    return Ledger(head, candidates), {name: byte for name, byte, _ in rows}, covered


def _seal(folder: Path, covered: int) -> str:
    """A digest of the last bytes that an index covers: another file, or a shorter one, has another."""
    with (folder / events.FILE).open("rb") as file:
        file.seek(max(0, covered - 256))
        return sha256(file.read(min(covered, 256))).hexdigest()


def _write(folder: Path, ledger: Ledger, offsets: dict[str, int], covered: int) -> None:
    """Puts a whole new index in place."""
    draft = folder / f".{FILE}.{os.getpid()}"
    try:
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(draft)) as db:
            db.executescript(f"pragma journal_mode=off; pragma synchronous=off; {TABLES} begin;")
            meta = {"layout": LAYOUT, "covered": covered, "seal": _seal(folder, covered)}
            meta["head"] = json.dumps(asdict(ledger.head))
            db.executemany("insert into meta values (?, ?)", [(k, str(v)) for k, v in meta.items()])
            marks = ",".join("?" * 16)
            db.executemany(f"insert into candidates values ({marks})", _rows(ledger, offsets))
            db.commit()
        draft.replace(folder / FILE)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _rows(ledger: Ledger, offsets: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    for position, c in enumerate(ledger.candidates.values()):
        yield (
            position,
            c.id,
            c.number,
            c.role,
            c.hash,
            c.line,
            " ".join(c.families),
            c.status,
            c.agent,
            c.parent,
            c.search and c.search.score,
            c.final and c.final.score,
            c.facts.get("params"),
            c.seconds,
            offsets[c.id],
            json.dumps(c.to_dict(), separators=(",", ":")),
        )
