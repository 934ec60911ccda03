"""The campaign as a desk: executors come for jobs and bring back reports and outcomes. It knows no processes.

    while not campaign.closed:
        job = campaign.next()                     # None: nothing to do right now
        goes_on = campaign.report(job.key, report)
        campaign.finish(job.key, outcome)

The order of things: controls and candidates at the search's fidelity; then the best again from fresh seeds on the
sealed test set, with the controls; then the end. Everything that happens is an event first and state second, so that a
resumed campaign is this one with its events replayed. One thread at a time may call it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from archsearch.agent import Agent, Proposal
from archsearch.campaign.asking import AgentError, Answer, Asker, Settled
from archsearch.campaign.attempt import Outcome
from archsearch.campaign.config import CampaignConfig
from archsearch.campaign.events import unwritable
from archsearch.campaign.gate import Blueprint
from archsearch.campaign.halving import Halving
from archsearch.campaign.record import CandidateRecord, open_finals, weights_file
from archsearch.campaign.store import Store
from archsearch.errors import StoreError
from archsearch.training.measurement import Job, Report

__all__ = ["PATIENCE", "Campaign"]

PATIENCE: Final = 1000
"""After so many proposals in a row that were refused or known, the space counts as exhausted."""

OVER: Final = ("done", "failed", "stopped")


@dataclass
class _Running:
    """An attempt that a worker has taken: whose, at which fidelity, and on which of several tasks."""

    id: str
    phase: str
    task: str
    halted: str = ""


class Campaign:
    """See the module.

    Args:
        config: resolved; `ahead` is a number.
        store: a folder that is held; what its events say is replayed.
        agent, gate: who proposes, and what a proposal has to pass.
        maximize: whether a larger score of the task is better.
        controls: the blueprints of the controls, by name.
        thread: where the agent thinks; `None` to wait for it.
        clock: seconds.
    """

    def __init__(
        self,
        config: CampaignConfig,
        store: Store,
        agent: Agent,
        gate: Callable[[Mapping[str, Any]], Blueprint],
        *,
        maximize: bool,
        controls: Mapping[str, Blueprint] | None = None,
        thread: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if config.ahead is None:
            raise ValueError("`ahead` must be resolved before a campaign begins")
        self.config, self.maximize = config, maximize
        self._store, self._clock = store, clock
        self._agent_name = type(agent).name or type(agent).__name__
        self._asker = Asker(
            agent, gate, self._settled, ahead=config.ahead, deterministic=config.deterministic, thread=thread
        )
        self._halving = Halving(maximize) if config.scheduler == "asha" else None
        # Of several tasks each is a job of its own, by its label; the one task of other campaigns has none.
        self._tasks = {choice.label if config.members else "": choice for choice in config.tasks}
        self._ready: deque[tuple[str, str, str]] = deque()
        self._running: dict[str, _Running] = {}
        self._attempts: Counter[tuple[str, str, str]] = Counter()
        self._own_training = {name: dict(c.training) for name, c in (controls or {}).items() if c.training}
        self._hashes: dict[str, str] = {}
        self._ids: dict[int, str] = {}
        self._barren = 0
        self._interrupted = False
        self._over = ""  # why no more proposals are asked for: `trials`, `time`, `exhausted`, `error`, `interrupted`
        self._message = ""
        self._deadline = None if config.time is None else clock() + config.time - self._spent()
        self._replay()
        self._admit_controls(controls or {})

    # ---- what executors call -----------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether everything is over: no job will come, and none is out."""
        return self._store.ledger.head.ended is not None and not self._running

    @property
    def candidates(self) -> Mapping[str, CandidateRecord]:
        """What is known so far, by id."""
        return self._store.ledger.candidates

    @property
    def running(self) -> Mapping[str, tuple[str, str]]:
        """Id and phase of the attempts that are out, by key."""
        return {key: (r.id, r.phase) for key, r in self._running.items()}

    @property
    def status(self) -> tuple[str, str]:
        """The status and message of the end, or `("running", "")`."""
        return self._store.ledger.head.ended or ("running", "")

    @property
    def in_finals(self) -> bool:
        """Whether the finalists have been chosen."""
        return self._store.ledger.head.chosen

    def tick(self) -> None:
        """Moves on what needs no worker: time, proposals, the finals, the end.

        Raises:
            StoreError: an event could not be written.
        """
        if self.closed:
            return
        if self._interrupted and self._over != "interrupted":
            self._over, self._message = "interrupted", "stopped by hand; resume it to go on"
            self._ready.clear()
            self._asker.forget()
        if self._deadline is not None and not self._over and self._clock() >= self._deadline:
            self._stop_asking("time", f"the time of {self.config.time:g} s was over")
            # Who was admitted ahead of need and has not begun stays pending; the controls are still wanted.
            self._ready = deque(job for job in self._ready if self._is_wanted_late(self.candidates[job[0]]))
        self._ask()
        if self._over and not self._ready and not self._running:
            self._next_stage()

    def next(self) -> Job | None:
        """The next job for a worker, or `None` while there is none. Raises `StoreError`."""
        self.tick()
        if not self._ready:
            return None
        name, phase, label = self._ready.popleft()
        self._attempts[name, phase, label] += 1
        attempt = self._attempts[name, phase, label]
        key = "/".join((name, phase, str(attempt), *filter(None, [label])))
        final, config, choice = phase == "final", self.config, self._tasks[label]
        training = config.in_finals(choice.training) if final else choice.training
        job = Job(
            key=key,
            architecture=self._store.architecture(name),
            task=choice.task,
            task_settings=choice.settings,
            training=replace(training, **self._own_training.get(name, {})),
            seed_base=config.final_seed if final else config.search_seed,
            split="test" if final else "validation",
            save_weights=str(self._store.folder(name) / weights_file(label)) if final else None,
            **(self._found(name, label) if final else {}),
        )
        self._store.append("attempt", **_about(name, phase, label), attempt=attempt, key=key)
        self._running[key] = _Running(name, phase, label)
        return job

    def _found(self, name: str, label: str) -> dict[str, Any]:
        """What the search found for a finalist: the rate that validation chose, the steps that its budget bought."""
        c, training = self.candidates[name], self.config.training
        search = c.search_tasks[label] if label else c.search
        assert search is not None, "a finalist was searched"
        several = len({c.learning_rate for c in search.copies}) > 1
        return {
            "learning_rates": (search.learning_rate,) if several and search.learning_rate is not None else None,
            "steps": search.planned_steps if training.budget != "steps" else None,
        }

    def report(self, key: str, report: Report) -> bool:
        """Takes note of a rung; returns whether the candidate is to go on. Raises `StoreError`."""
        running = self._running.get(key)
        if running is None:
            return False
        self._store.append(
            "report", key=key, step=report.step, score=report.score, loss=report.loss, seconds=report.seconds
        )
        if self._interrupted:
            running.halted = "interrupt"
        elif self._has_failed(running.id, running.phase):
            running.halted = "failure"
        elif self._halving and running.phase == "search" and not self.candidates[running.id].is_control:
            running.halted = "" if self._halving.report(key, report.score) else "scheduler"
        return not running.halted

    def finish(self, key: str, outcome: Outcome) -> None:
        """Takes note of how an attempt ended; on disk when this returns. A key that is not out is ignored.

        Raises:
            StoreError: the event, or the weights of the candidate, could not be written. The attempt then counts for
                nothing, and a resume makes another.
        """
        running = self._running.pop(key, None)
        if running is None:
            return
        if outcome.status == "unstored":
            raise StoreError(
                f"A results folder must be writable, but {outcome.message}. What is stored stays readable; "
                "`archsearch resume` goes on once the cause is gone."
            )
        about = {**_about(running.id, running.phase, running.task), "key": key}
        if outcome.status == "done" and outcome.measurement is not None:
            self._store.append("measurement", sync=True, **about, measurement=outcome.measurement.to_dict())
        elif outcome.status == "stopped":
            by = running.halted or "interrupt"
            self._store.append("stopped", sync=True, **about, by=by)
        else:
            if outcome.trace:
                _keep_trace(self._store.folder(running.id), outcome.trace)
            self._store.append("failure", sync=True, **about, reason=outcome.reason, message=outcome.message)
        if self._has_failed(running.id, running.phase):  # what it would score on other tasks is of no use
            self._ready = deque(job for job in self._ready if job[0] != running.id)
        self.tick()

    def _has_failed(self, name: str, phase: str) -> bool:
        """Whether a candidate, or its final, has failed: on another of several tasks."""
        c = self.candidates[name]
        return c.status == "failed" if phase == "search" else c.failure is not None

    def interrupt(self) -> None:
        """Asks for no more, gives out no more, and lets candidates stop at their next report; can be resumed.

        Only notes it, so that a signal's handler may call it.
        """
        self._interrupted = True

    # ---- proposals ---------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        while self._wants_more():
            try:
                answer = self._asker.answer()
            except AgentError as error:
                self._stop_asking("error", str(error))
                break
            if answer is not None:
                self._take(answer)
            if self._asker.admitted >= self.config.trials:
                self._stop_asking("trials")
            if not self._wants_more():
                break
            self._asker.ask()
            if not self._asker.answered:  # it thinks, or it is as far ahead as it may be
                return
        self._asker.forget()

    def _wants_more(self) -> bool:
        return not self._over

    def _take(self, answer: Answer) -> None:
        proposal, blueprint = answer.proposal, answer.blueprint
        if proposal is None:
            self._exhausted("the agent has nothing left to propose")
            return
        about: dict[str, Any] = {
            "number": answer.number,
            "decisions": dict(blueprint.decisions if blueprint else proposal.decisions),
            "parent": proposal.parent,
            "parent_id": None if proposal.parent is None else self._ids.get(proposal.parent),
            "reason": proposal.reason,
            "cost": dict(proposal.cost),
        }
        if blueprint is None:
            self._store.append("refused", **about, message=answer.message)
            self._asker.place(about["decisions"], None, admitted=False)
            self._count_barren()
        elif blueprint.hash in self._hashes:
            name = self._hashes[blueprint.hash]
            self._store.append("duplicate", **about, of=name)
            self._ids[answer.number] = name
            self._asker.place(about["decisions"], name, admitted=False)
            self._count_barren()
        else:
            name = str(self._asker.admitted + 1)
            self._admit(name, blueprint, role="search", agent=self._agent_name, **about)
            self._ids[answer.number] = name
            self._asker.place(about["decisions"], name, admitted=True)
            self._barren = 0

    def _admit(self, name: str, blueprint: Blueprint, **about: Any) -> None:
        self._store.append(
            "candidate",
            id=name,
            hash=blueprint.hash,
            architecture=blueprint.architecture,
            line=blueprint.line,
            families=blueprint.families,
            facts=blueprint.facts,
            **about,
        )
        self._know(blueprint.hash, name)
        self._ready.extend((name, "search", label) for label in self._tasks)

    def _know(self, hash: str, name: str) -> None:
        """An architecture that was trained need not be again, unless it was trained in another way."""
        if name not in self._own_training:
            self._hashes.setdefault(hash, name)

    def _admit_controls(self, controls: Mapping[str, Blueprint]) -> None:
        for name, blueprint in controls.items():
            if name not in self.candidates and not self._over:
                nothing: dict[str, Any] = {"parent": None, "parent_id": None, "reason": "", "cost": {}}
                self._admit(
                    name, blueprint, role="control", number=None, agent="", decisions=blueprint.decisions, **nothing
                )

    def _count_barren(self) -> None:
        self._barren += 1
        if self._barren >= PATIENCE:
            head = self._store.ledger.head
            self._exhausted(
                f"{PATIENCE} proposals in a row were known or refused ({head.duplicates} known and {head.refused} "
                "refused in all)"
            )

    def _exhausted(self, why: str) -> None:
        found, asked = self._asker.admitted, self.config.trials
        self._stop_asking("exhausted", f"the space gave {found} distinct candidates of the {asked} asked for: {why}")

    def _stop_asking(self, why: str, message: str = "") -> None:
        if not self._over:
            self._over, self._message = why, message

    def _settled(self, name: str) -> Settled | None:
        c = self.candidates[name]
        if c.status not in OVER:
            return None
        values = {k: float(v) for k, v in c.facts.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if c.search:
            values["seconds"] = c.search.seconds
            return c.status, c.search.score, values
        return c.status, c.last[1] if c.status == "stopped" and c.last else None, values

    # ---- stages ------------------------------------------------------------------------------------------------------

    def _next_stage(self) -> None:
        if self._over in ("interrupted", "error"):
            self._end(self._over, self._message)
        elif not self._ranked():
            self._end("no_success", "no candidate was trained to its end")
        elif not self.in_finals and self.config.finals.top > 0:
            self._store.append("final_choice", sync=True, ids=self._finalists(), over=self._over, message=self._message)
            self._ready.extend(self._open_finals())
        else:
            self._end("done" if self._over == "trials" else self._over, self._message)

    def _end(self, status: str, message: str) -> None:
        told = [message, open_finals(self.candidates.values())]
        self._store.append("end", sync=True, status=status, message="; ".join(part for part in told if part))

    def _ranked(self) -> list[CandidateRecord]:
        """The searched candidates that are done, best first; ties by loss, then by age."""
        sign = -1.0 if self.maximize else 1.0
        done = [c for c in self.candidates.values() if c.role == "search" and c.status == "done" and c.search]

        def place(c: CandidateRecord) -> tuple[float, float, int]:
            assert c.search is not None and c.search.score is not None
            loss = c.search.validation_loss
            return sign * c.search.score, float("inf") if loss is None else loss, c.number or 0

        return sorted((c for c in done if c.search and c.search.score is not None), key=place)

    def _finalists(self) -> Sequence[str]:
        controls = [c.id for c in self.candidates.values() if c.is_control and c.status == "done"]
        return [c.id for c in self._ranked()[: self.config.finals.top]] + controls

    def _open_finals(self) -> list[tuple[str, str, str]]:
        finalists = [c for c in self.candidates.values() if c.finalist and c.final is None and c.failure is None]
        return [job for c in finalists for job in self._open(c, "final")]

    def _open(self, c: CandidateRecord, phase: str) -> list[tuple[str, str, str]]:
        """The jobs of a candidate that are neither done nor out."""
        out = {r.task for r in self._running.values() if (r.id, r.phase) == (c.id, phase)}
        return [(c.id, phase, label) for label in self._tasks if label not in out and label not in c.parts(phase)]

    def _is_wanted_late(self, c: CandidateRecord) -> bool:
        """Whether a candidate is still to be trained when the time is over: a control, or one that has begun."""
        return c.is_control or c.status == "running" or bool(c.search_tasks)

    # ---- resume ------------------------------------------------------------------------------------------------------

    def _spent(self) -> float:
        head = self._store.ledger.head
        return head.before + max(0.0, head.latest - head.began)

    def _replay(self) -> None:
        """Brings agent, scheduler and queues to where the events leave off."""
        try:
            for event in self._store.take_events():
                self._replay_event(event)
        except AgentError as error:
            self._stop_asking("error", str(error))
        for c in self.candidates.values():
            self._know(c.hash, c.id)
            if c.status == "pending" and not self.in_finals:
                self._ready.extend(self._open(c, "search"))
        if self.in_finals:
            self._over, self._message = self._store.ledger.head.over
            self._ready.extend(self._open_finals())

    def _replay_event(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "attempt":
            self._attempts[event["id"], event["phase"], event.get("task", "")] = event["attempt"]
        elif kind == "report" and self._halving and "/search/" in event["key"]:
            if not self.candidates[event["key"].split("/")[0]].is_control:
                self._halving.report(event["key"], event["score"])
        elif kind in ("candidate", "refused", "duplicate") and event["number"] is not None:
            admitted = kind == "candidate"
            name = event["id"] if admitted else event.get("of")
            self._barren = 0 if admitted else self._barren + 1
            if name is not None:
                self._ids[event["number"]] = name
            proposal = Proposal(event["decisions"], event["parent"], event["reason"], event["cost"])
            self._asker.replay(proposal, name, admitted=admitted)


def _about(name: str, phase: str, label: str) -> dict[str, Any]:
    """What an event says of an attempt; `task` only where there are several."""
    return {"id": name, "phase": phase, **({"task": label} if label else {})}


def _keep_trace(folder: Path, trace: str) -> None:
    """The traceback of a failure, for whoever looks; raises `StoreError`."""
    path = folder / "error.txt"
    try:
        path.write_text(trace, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from None
