"""The state of a campaign as a fold over its events: the driver, a resume and every reader share this one.

`ledger.apply(event)` for each event in order; then `ledger.candidates` is what the campaign knows. Nothing else changes
it, so a driver that died and one that goes on from its events cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archsearch.campaign.record import CampaignRecord, CandidateRecord, ReportRecord, open_finals
from archsearch.training.measurement import Measurement
from archsearch.training.pooling import Scale, pooled

__all__ = ["Head", "Ledger"]


@dataclass
class Head:
    """What is known of a campaign beside its candidates; plain data, so that an index can keep it.

    Args:
        ended: status and message of the last end, `None` while it goes on.
        chosen: whether the finalists are; over: why no more proposals were asked for by then, and the message.
        began, latest: times of the first and the last event of the present driver.
        before: seconds that earlier drivers ran.
        running: attempts without an outcome: when each began, by key.
    """

    name: str = ""
    agent: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    ended: tuple[str, str] | None = None
    refused: int = 0
    duplicates: int = 0
    chosen: bool = False
    over: tuple[str, str] = ("", "")
    began: float = 0.0
    latest: float = 0.0
    before: float = 0.0
    running: dict[str, float] = field(default_factory=dict)


class Ledger:
    """Candidates by id, in order of admission, and the head.

    Attributes:
        touched: ids that changed since somebody last cleared it.
    """

    def __init__(self, head: Head | None = None, candidates: Mapping[str, CandidateRecord] | None = None) -> None:
        self.head = head or Head()
        self.candidates: dict[str, CandidateRecord] = dict(candidates or {})
        self.touched: set[str] = set()

    def apply(self, event: Mapping[str, Any]) -> None:
        """Takes note of one event."""
        if event["event"] == "resume":
            self.head.before += self.head.latest - self.head.began
        self.head.latest = event["t"]
        handle: Callable[[Mapping[str, Any]], None] = getattr(self, f"_{event['event']}")
        handle(event)

    def record(self, path: Path, *, held: bool) -> CampaignRecord:
        """The state as a record; `held`: whether a driver holds the folder."""
        head = self.head
        status, message = head.ended or ("running", "")
        if not head.ended and not held:
            told = ["its driver ended before the campaign did", open_finals(self.candidates.values())]
            status, message = "interrupted", "; ".join(part for part in told if part)
        return CampaignRecord(
            name=head.name,
            path=path,
            config=head.config,
            task=head.task,
            status=status,
            message=message,
            candidates=tuple(self.candidates.values()),
            refused=head.refused,
            duplicates=head.duplicates,
            seconds=round(head.before + head.latest - head.began, 3),
            environment=head.environment,
        )

    # ---- one method an event ---------------------------------------------------------------------------------------

    def _campaign(self, e: Mapping[str, Any]) -> None:
        head = self.head
        head.name, head.config, head.task = e["name"], e["config"], e["task"]
        head.agent, head.environment, head.began = e["agent"], e["environment"], e["t"]

    def _resume(self, e: Mapping[str, Any]) -> None:
        head = self.head
        head.began, head.ended, head.environment = e["t"], None, e["environment"]
        for key in list(head.running):
            self._ended_attempt(key, None)
            self._put(key.split("/")[0], status=self._status_without(key))
        for c in list(self.candidates.values()):
            if c.finalist and c.final is None and c.failure:
                self._put(c.id, failure=None)  # the failure of its final, which is tried again

    def _candidate(self, e: Mapping[str, Any]) -> None:
        self.candidates[e["id"]] = CandidateRecord(
            id=e["id"],
            number=e["number"],
            role=e["role"],
            hash=e["hash"],
            line=e["line"],
            families=tuple(e["families"]),
            facts=e["facts"],
            decisions=e["decisions"],
            agent=e["agent"],
            parent=e["parent_id"],
            reason=e["reason"],
            cost=e["cost"],
        )
        self.touched.add(e["id"])

    def _refused(self, e: Mapping[str, Any]) -> None:
        self.head.refused += 1

    def _duplicate(self, e: Mapping[str, Any]) -> None:
        self.head.duplicates += 1

    def _attempt(self, e: Mapping[str, Any]) -> None:
        c = self.candidates[e["id"]]
        self.head.running[e["key"]] = e["t"]
        fresh: dict[str, Any] = {"status": "running", "reports": (), "last": None} if e["phase"] == "search" else {}
        self._put(c.id, attempts=c.attempts + 1, **fresh)

    def _report(self, e: Mapping[str, Any]) -> None:
        name, phase, *attempt = e["key"].split("/")
        if phase == "search" and len(attempt) == 1:  # not one of several tasks
            report = ReportRecord(e["step"], e["score"], e["loss"], e["seconds"])
            self._put(name, reports=(*self.candidates[name].reports, report), last=(report.step, report.score))

    def _measurement(self, e: Mapping[str, Any]) -> None:
        self._ended_attempt(e["key"], e["t"])
        phase, found = e["phase"], Measurement.from_dict(e["measurement"])
        if "task" not in e:
            self._put_measurement(e["id"], phase, found)
            return
        c = self.candidates[e["id"]]
        tasks = self.head.task["tasks"]
        parts = {label: found if label == e["task"] else c.parts(phase).get(label) for label in tasks}
        done = {label: m for label, m in parts.items() if m is not None}
        self._put(c.id, **{f"{phase}_tasks": done})
        if len(done) == len(tasks):
            scales = {label: Scale(about["chance"], about["best"]) for label, about in tasks.items()}
            whole = pooled(self.head.task["name"], done, scales)
            if whole.score is not None:
                self._put_measurement(c.id, phase, whole)
            else:
                failed = {"status": "failed"} if phase == "search" else {}
                self._put(c.id, failure=("diverged", "every seed diverged on one task or another"), **failed)
        elif phase == "search" and c.status == "running":
            self._put(c.id, status=self._status_without(e["key"]))

    def _put_measurement(self, id: str, phase: str, found: Measurement) -> None:
        if phase == "search":
            self._put(id, status="done", search=found, failure=None)
        else:
            self._put(id, final=found, failure=None)

    def _failure(self, e: Mapping[str, Any]) -> None:
        self._ended_attempt(e["key"], e["t"])
        if "task" in e and self.candidates[e["id"]].failure is not None:
            return  # it has failed on another task
        message = f"on {e['task']}: {e['message']}" if "task" in e else e["message"]
        failed: dict[str, Any] = {"status": "failed"} if e["phase"] == "search" else {}
        self._put(e["id"], failure=(e["reason"], message), **failed)

    def _stopped(self, e: Mapping[str, Any]) -> None:
        self._ended_attempt(e["key"], e["t"])
        if e["by"] == "failure":
            return
        if e["by"] == "interrupt":
            self._put(e["id"], status=self._status_without(e["key"]))
        else:
            self._put(e["id"], status="stopped")

    def _final_choice(self, e: Mapping[str, Any]) -> None:
        self.head.chosen, self.head.over = True, (e["over"], e["message"])
        for name in e["ids"]:
            self._put(name, finalist=True)

    def _end(self, e: Mapping[str, Any]) -> None:
        self.head.ended = (e["status"], e["message"])

    # ---- helpers ---------------------------------------------------------------------------------------------------

    def _status_without(self, key: str) -> str:
        """The status of a candidate whose attempt `key` came to nothing."""
        name, phase = key.split("/")[:2]
        c = self.candidates[name]
        if phase == "final" or c.status in ("failed", "stopped"):
            return c.status
        return "running" if any(k.startswith(f"{name}/search/") for k in self.head.running) else "pending"

    def _ended_attempt(self, key: str, t: float | None) -> None:
        began = self.head.running.pop(key, None)
        if began is not None and t is not None:
            name = key.split("/")[0]
            self._put(name, seconds=round(self.candidates[name].seconds + t - began, 3))

    def _put(self, id: str, **changes: Any) -> None:
        self.candidates[id] = replace(self.candidates[id], **changes)
        self.touched.add(id)
