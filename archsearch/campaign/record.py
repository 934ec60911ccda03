"""What a campaign left behind, as plain data: read from a results folder, without torch and without Ray.

record = load("results/quickstart-1")
best = max((c for c in record.candidates if c.search), key=lambda c: c.search.score)
architecture(record.path, best.id)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.errors import UnknownNameError
from archsearch.training.measurement import Measurement

if TYPE_CHECKING:
    from archsearch.graph.architecture import Architecture

__all__ = ["CampaignRecord", "CandidateRecord", "ReportRecord", "architecture", "load", "open_finals", "weights_file"]


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """What a candidate said at one rung of its search run: a point of its curve.

    Args:
        step: optimiser steps done.
        score, loss: on the validation set, mean over the living copies.
        seconds: since its training began.
    """

    step: int
    score: float | None
    loss: float | None
    seconds: float


@dataclass(frozen=True)
class CandidateRecord:
    """One admitted candidate and what became of it.

    Args:
        id: `"1"`, `"2"`, ... in order of admission; a control is called by its name (`"no_mixer"`).
        number: of the proposal, as the agent was given it; `None` for a control. Numbers have gaps where a proposal was
            refused or a duplicate.
        role: `search` or `control`.
        hash: sixteen hex digits of the architecture's normal form.
        line: the architecture in one readable line.
        families: the families of its token mixers and perceptrons.
        facts: what analysis says before any training: `params`, `flops_per_token`, `state_bytes`, `span`, `nodes`,
            `depth`, `parallel_in_time`, ...
        decisions: of the space, flat.
        agent: the name of who proposed it; empty for a control.
        parent: the id of the candidate that it was made from.
        reason: why it was proposed, in the agent's words.
        cost: what proposing it cost (`tokens`, `usd`).
        status: of the search run: `pending`, `running`, `done`, `failed` or `stopped` (by a scheduler). Whoever was
            interrupted is `pending` again.
        failure: `(reason, message)` of the last attempt that failed. A candidate that is `done` has one only if its
            final run failed.
        search: the measurement on the validation set that the search ranks by.
        final: the measurement on the sealed test set, from fresh seeds, of finalists.
        search_tasks, final_tasks: of a campaign on several tasks, the measurements on each that is done, by label; then
            `search` and `final` are their mean, once all are done. See `archsearch.training.pooling`.
        finalist: whether it was chosen for the finals.
        last: step and score of the latest report.
        reports: the reports of the search run's last attempt; with several tasks there are none here, see the curves
            of the copies.
        attempts: how often a training of it was begun, search and finals together.
        seconds: wall-clock between the beginning and the end of its attempts, by the driver's clock.
    """

    id: str
    number: int | None
    role: str
    hash: str
    line: str
    families: tuple[str, ...]
    facts: Mapping[str, Any]
    decisions: Mapping[str, Any]
    agent: str = ""
    parent: str | None = None
    reason: str = ""
    cost: Mapping[str, float] = field(default_factory=dict)
    status: str = "pending"
    failure: tuple[str, str] | None = None
    search: Measurement | None = None
    final: Measurement | None = None
    finalist: bool = False
    last: tuple[int, float | None] | None = None
    reports: tuple[ReportRecord, ...] = ()
    attempts: int = 0
    seconds: float = 0.0
    search_tasks: Mapping[str, Measurement] = field(default_factory=dict)
    final_tasks: Mapping[str, Measurement] = field(default_factory=dict)

    def parts(self, phase: str) -> Mapping[str, Measurement]:
        """`search_tasks` or `final_tasks`."""
        return self.search_tasks if phase == "search" else self.final_tasks

    @property
    def is_control(self) -> bool:
        """Whether it stands in the campaign for comparison and was not searched."""
        return self.role == "control"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` gives an equal record back."""
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        out["search"] = self.search and self.search.to_dict()
        out["final"] = self.final and self.final.to_dict()
        out["reports"] = [[r.step, r.score, r.loss, r.seconds] for r in self.reports]
        for name in ("search_tasks", "final_tasks"):
            out[name] = {label: m.to_dict() for label, m in out[name].items()}
        return out

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> CandidateRecord:
        """What `to_dict` wrote."""
        values = dict(data)
        values["families"] = tuple(values["families"])
        values["failure"] = values["failure"] and (values["failure"][0], values["failure"][1])
        values["last"] = values["last"] and (values["last"][0], values["last"][1])
        values["search"] = values["search"] and Measurement.from_dict(values["search"])
        values["final"] = values["final"] and Measurement.from_dict(values["final"])
        values["reports"] = tuple(ReportRecord(*r) for r in values["reports"])
        for name in ("search_tasks", "final_tasks"):
            values[name] = {label: Measurement.from_dict(m) for label, m in values.get(name, {}).items()}
        return CandidateRecord(**values)


@dataclass(frozen=True)
class CampaignRecord:
    """A campaign as its results folder tells it.

    Args:
        name: of the campaign; the folder's name.
        path: the folder.
        config: the resolved configuration, as in `campaign.yaml`.
        task: `name`, `settings`, `metric`, `maximize`, `chance`, `ceiling`, `length`, `digest`; with several tasks
            these are of their mean, and `tasks` has the same of each by label, with the `best` that counts as 1.
        status: `running` (a driver holds the folder), `interrupted` (it does not, and the campaign is not over: resume
            it), `done`, `time` (its time was over), `exhausted` (the space has no more candidates), `no_success`, or
            `error` (the agent raised).
        message: what the end said beyond its status, and which finals failed or are missing.
        candidates: controls and searched ones, in order of admission.
        refused, duplicates: how many proposals a gate turned away, and how many were known already.
        seconds: wall-clock of the driver, all its runs added up.
        environment: of the driver: versions, platform, cores.
    """

    name: str
    path: Path
    config: Mapping[str, Any]
    task: Mapping[str, Any]
    status: str
    message: str
    candidates: tuple[CandidateRecord, ...]
    refused: int
    duplicates: int
    seconds: float
    environment: Mapping[str, Any]

    def candidate(self, id: str) -> CandidateRecord:
        """The candidate called `id`; a hash, or the beginning of one, will do.

        Raises:
            UnknownNameError: there is none, with the nearest ids.
        """
        for c in self.candidates:
            if c.id == id:
                return c
        by_hash = [c for c in self.candidates if len(id) >= 4 and c.hash.startswith(id)]
        if len(by_hash) == 1:
            return by_hash[0]
        raise UnknownNameError("candidate", id, [c.id for c in self.candidates])


def open_finals(candidates: Iterable[CandidateRecord]) -> str:
    """Which finalists have no result, and why: `finals: 1 of 4 failed: 7 timeout (no report for 9 s)`; often empty."""
    finalists = [c for c in candidates if c.finalist]
    failed = [f"{c.id} {c.failure[0]} ({c.failure[1]})" for c in finalists if c.final is None and c.failure]
    missing = [c.id for c in finalists if c.final is None and not c.failure]
    parts = [
        f"{len(found)} of {len(finalists)} {what}: {', '.join(found)}"
        for what, found in (("failed", failed), ("missing", missing))
        if found
    ]
    return f"finals: {'; '.join(parts)}" if parts else ""


def weights_file(task: str = "") -> str:
    """The file in a finalist's folder with its weights; of several tasks there is one for each."""
    return f"weights.{task}.pt" if task else "weights.pt"


def load(path: Path | str) -> CampaignRecord:
    """The campaign in a results folder, which may be read-only, a copy, or still growing.

    Raises:
        StoreError: there is no campaign, it cannot be read, or a newer archsearch wrote it.
    """
    from archsearch.campaign import index

    return index.load(Path(path))


def architecture(path: Path | str, id: str) -> Architecture:
    """The architecture of candidate `id` of the campaign in folder `path`.

    Raises:
        UnknownNameError: no candidate is called so.
        StoreError: the folder cannot be read.
    """
    from archsearch.campaign import index
    from archsearch.graph.architecture import Architecture

    return Architecture.from_dict(json.loads(index.candidate_line(Path(path), id))["architecture"])
