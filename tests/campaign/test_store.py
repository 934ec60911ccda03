"""The results folder: what is on disk counts, whatever happens to the disk."""

import errno
import json
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from archsearch.campaign import events, index
from archsearch.campaign.attempt import load_runner
from archsearch.campaign.record import CandidateRecord, architecture, load
from archsearch.campaign.store import Store, free_name, reindex
from archsearch.errors import ConfigError, StoreError, UnknownNameError
from archsearch.training.measurement import Job
from tests.campaign.fakes import RUNNER, FakeTrainer, Scripted, Wandering, campaign, config, gate, work


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished campaign of eight candidates."""
    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=8))
    with store:
        work(desk)
    return tmp_path / "c"


def lines(path: Path) -> list[bytes]:
    return (path / "events.jsonl").read_bytes().splitlines(keepends=True)


def test_the_record_by_the_index_is_the_record_by_the_events(folder):
    assert (folder / "results.db").exists()
    by_index = load(folder)
    (folder / "results.db").unlink()
    assert load(folder) == by_index
    assert load(folder) == by_index
    assert by_index.status == "done"
    assert by_index.seconds > 0
    assert all(CandidateRecord.from_dict(json.loads(json.dumps(c.to_dict()))) == c for c in by_index.candidates)


def test_a_stale_index_is_read_through_at_every_length(folder, tmp_path):
    whole = lines(folder)
    growing = tmp_path / "growing"
    growing.mkdir()
    expected = tmp_path / "expected"
    expected.mkdir()
    for n in range(1, len(whole) + 1):
        (growing / "events.jsonl").write_bytes(b"".join(whole[:n]))
        (expected / "events.jsonl").write_bytes(b"".join(whole[:n]))
        (expected / "results.db").unlink(missing_ok=True)
        assert load(growing).candidates == load(expected).candidates
        assert load(growing).status == load(expected).status


def test_an_index_of_other_events_is_not_believed(folder):
    first = lines(folder)
    changed = [line.replace(b'"c"', b'"d"') for line in first]
    (folder / "events.jsonl").write_bytes(b"".join(changed[:-1]) + first[-1].replace(b'"end"', b'"end" '))
    assert load(folder).name == "d"
    (folder / "results.db").write_bytes(b"not a database")
    assert load(folder).name == "d"


def test_reindex_builds_what_a_person_can_query(folder):
    (folder / "results.db").unlink()
    assert reindex(folder) == 9
    with sqlite3.connect(folder / "results.db") as db:
        best = db.execute("select id, line, score from candidates order by score desc limit 1").fetchone()
    top = max((c for c in load(folder).candidates if c.search), key=lambda c: c.search.score)
    assert best == (top.id, top.line, top.search.score)


def test_an_architecture_is_found_by_id_and_by_hash(folder, monkeypatch):
    monkeypatch.setattr("archsearch.graph.architecture.Architecture.from_dict", lambda data: data)
    record = load(folder)
    c = record.candidate("3")
    assert architecture(folder, "3") == {"fake": dict(c.decisions)}
    assert architecture(folder, c.hash[:8]) == {"fake": dict(c.decisions)}
    (folder / "results.db").unlink()
    folder.chmod(0o555)
    try:
        assert architecture(folder, "3") == {"fake": dict(c.decisions)}
    finally:
        folder.chmod(0o755)
    with pytest.raises(UnknownNameError, match="Unknown candidate `no_mixr`"):
        architecture(folder, "no_mixr")


@pytest.mark.parametrize("tail", [b'{"v":1,"event":"meas', b"\x00\x00\x00", b'{"v":1,"event":"end"', b"\xff\n"])
def test_a_torn_last_line_is_dropped_and_cut_off(folder, tail):
    before = (folder / "events.jsonl").read_bytes()
    expected = load(folder)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(tail)
    assert load(folder).candidates == expected.candidates
    with Store.open(folder) as store:
        assert (folder / "events.jsonl").read_bytes() == before
        store.append("resume", environment={})
    assert (folder / "events.jsonl").read_bytes().startswith(before + b'{"v":1,"event":"resume"')


def test_a_damaged_line_in_the_middle_is_said(folder):
    broken = lines(folder)
    broken[3] = broken[3][: len(broken[3]) // 2] + b"\n"
    (folder / "events.jsonl").write_bytes(b"".join(broken))
    (folder / "results.db").unlink()
    byte = sum(map(len, broken[:3]))
    with pytest.raises(StoreError, match=f"must hold one event a line, but the line at byte {byte} is damaged"):
        load(folder)


@pytest.mark.parametrize("event", [{"v": 2, "event": "report", "t": 0}, {"v": 1, "event": "dream", "t": 0}])
def test_events_of_a_newer_version_are_refused(folder, event):
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    with pytest.raises(StoreError, match="a newer archsearch wrote it"):
        load(folder)
    with pytest.raises(StoreError, match="a newer archsearch wrote it"):
        Store.open(folder)


def test_a_folder_without_a_campaign_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"must hold events\.jsonl, but .*/none does not"):
        load(tmp_path / "none")
    with pytest.raises(StoreError, match=r"must hold events\.jsonl"):
        Store.open(tmp_path)
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(StoreError, match="must begin with a campaign"):
        load(tmp_path)


def test_a_name_that_exists_is_refused_and_the_next_free_one_found(folder):
    with pytest.raises(ConfigError, match=r"needs a name that is free, but .*/c exists.*archsearch resume c"):
        Store.create(folder, {})
    (folder.parent / "q-1").mkdir()
    assert free_name(folder.parent, "q") == "q-2"
    assert free_name(folder.parent / "nowhere", "q") == "q-1"


class FullDisk:
    """`os.write` on a disk on which so many bytes are left."""

    def __init__(self, left: int) -> None:
        self.left, self.write = left, os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self.write(fd, data[: self.left])
        self.left -= done
        return done


@pytest.mark.parametrize("left", [10, 2000, 5000])
def test_a_full_disk_is_said_and_what_is_stored_stays_readable(tmp_path, monkeypatch, left):
    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=8))
    monkeypatch.setattr(events.os, "write", FullDisk(left))
    with store, pytest.raises(StoreError, match=r"must be writable, but .* is not: No space left on device"):
        work(desk)
    monkeypatch.undo()
    stored = load(tmp_path / "c")
    assert stored.status == "interrupted"
    done = {c.id: c.search for c in stored.candidates if c.search}
    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=8))
    with store:
        work(desk)
    record = load(tmp_path / "c")
    assert record.status == "done"
    assert len(record.candidates) == 9
    assert all(record.candidate(name).search == search for name, search in done.items())


def test_the_executor_hands_a_full_disk_on(tmp_path, monkeypatch):
    from archsearch.campaign.executors import inline

    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=8))
    monkeypatch.setattr(events.os, "write", FullDisk(3000))
    with store, pytest.raises(StoreError, match="No space left"):
        inline.run(desk, runner=RUNNER)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_cannot_be_driven(folder):
    folder.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="must be writable"):
            Store.open(folder)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_read_all_the_same(folder, tmp_path, monkeypatch, error):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "results.db").unlink()
    (copy / "lock").unlink()
    expected = load(folder)

    def refuse(path, *more, **options):
        raise OSError(error, os.strerror(error))

    real = os.open
    monkeypatch.setattr(index.sqlite3, "connect", refuse)
    monkeypatch.setattr(
        os, "open", lambda p, flags, *m: refuse(p) if flags & (os.O_RDWR | os.O_WRONLY) else real(p, flags, *m)
    )
    assert load(copy).candidates == expected.candidates
    with pytest.raises(StoreError, match="must be writable, but "):
        Store.open(copy)
    with pytest.raises(StoreError, match="must be writable, but "):
        reindex(copy)


def test_an_unreadable_folder_is_said(folder, monkeypatch):
    (folder / "results.db").unlink()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreError, match=r"must be readable, but .*events\.jsonl is not: Permission denied"):
        load(folder)


def test_two_drivers_in_one_process_are_refused_and_a_dead_lock_is_free(folder):
    store = Store.open(folder)
    with pytest.raises(StoreError, match=f"held by process {os.getpid()} on "):
        Store.open(folder)
    store.close()
    assert "process" in (folder / "lock").read_text()
    Store.open(folder).close()


def test_numbers_that_json_does_not_know_become_nothing(tmp_path):
    store, _ = campaign(tmp_path / "c", Scripted([]), config())
    with store:
        store.append("end", status="done", message=float("nan"))
    assert json.loads(lines(tmp_path / "c")[-1])["message"] is None
    assert stat.S_IMODE((tmp_path / "c/events.jsonl").stat().st_mode) & 0o400


def test_a_thousand_candidates_load(tmp_path):
    store, _ = campaign(tmp_path / "c", Scripted([]), config())
    with store:
        blueprint = gate({"x": 50})
        job = Job("1/search/1", blueprint.architecture, "fake", {}, config().training)
        trainer = FakeTrainer(job)
        found = trainer.measurement().to_dict()
        found["copies"][0]["curve"] = [[i, 0.5, 0.5] for i in range(8)]
        architecture = {"nodes": [{"name": f"node{i}", "settings": {"width": 64}} for i in range(60)]}
        nothing = {"decisions": {"x": 1}, "parent": None, "parent_id": None, "reason": "", "cost": {}}
        for number in range(1000):
            name = str(number + 1)
            key = f"{name}/search/1"
            store.append(
                "candidate", id=name, number=number, role="search", hash=blueprint.hash, line=blueprint.line * 5,
                families=["attention"], facts=blueprint.facts, agent="x", architecture=architecture, **nothing,
            )  # fmt: skip
            store.append("attempt", id=name, phase="search", attempt=1, key=key)
            for step in range(8):
                store.append("report", key=key, step=step, score=0.5, loss=0.5, seconds=1.0)
            store.append("measurement", id=name, phase="search", key=key, measurement=found)
    assert len(load(tmp_path / "c").candidates) == 1001


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
)
def test_weights_that_cannot_be_written_end_the_run_and_are_written_by_a_resume(tmp_path, monkeypatch, error):
    from archsearch.campaign.executors import inline

    def full(self, path):
        raise error

    runner = load_runner(RUNNER)
    monkeypatch.setattr(runner, "save_weights", full)
    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=4))
    with store, pytest.raises(StoreError, match=r"must be writable, but .*weights\.pt is not: .*resume"):
        inline.run(desk, runner=RUNNER)
    monkeypatch.undo()
    assert load(tmp_path / "c").status == "interrupted"
    assert not [c for c in load(tmp_path / "c").candidates if c.finalist and c.failure]
    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=4))
    with store:
        work(desk)
    assert all(c.final for c in load(tmp_path / "c").candidates if c.finalist)


def test_a_trace_that_cannot_be_written_ends_the_run(tmp_path, monkeypatch):
    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store, desk = campaign(tmp_path / "c", Scripted([{"x": 1, "do": "raise"}]), config(trials=1))
    monkeypatch.setattr(Path, "write_text", full)
    with store, pytest.raises(StoreError, match=r"error\.txt is not: No space left"):
        work(desk)
    assert load(tmp_path / "c").candidate("1").failure is None


def test_a_reindex_of_a_folder_that_is_held_is_refused(folder):
    with Store.open(folder), pytest.raises(StoreError, match=f"is held by process {os.getpid()} on "):
        reindex(folder)
    assert reindex(folder) == 9
