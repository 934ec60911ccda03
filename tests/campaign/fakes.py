"""A gate, agents and a trainer that take no time, for tests of the campaign. As a script it is a driver to kill."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.agent import Agent, Proposal
from archsearch.campaign.attempt import Attempt, Outcome
from archsearch.campaign.config import CampaignConfig, Finals
from archsearch.campaign.gate import Blueprint
from archsearch.campaign.loop import Campaign
from archsearch.campaign.store import Store
from archsearch.errors import CandidateError, RuleError
from archsearch.training.measurement import CopyResult, Fidelity, Job, Measurement, Report, TrainingSettings

RUNNER = f"{Path(__file__).resolve()}:FakeTrainer"
TASK = {
    "name": "fake", "settings": {}, "metric": "accuracy", "maximize": True, "chance": 0.1, "ceiling": 1.0,
    "length": 8, "digest": "0" * 16,
}  # fmt: skip


def gate(decisions: Mapping[str, Any]) -> Blueprint:
    """`x` is the score in percent, `do` what the trainer does wrong; `refuse` breaks a rule."""
    if decisions.get("refuse"):
        raise RuleError("`x` must be liked", value=repr(decisions["x"]))
    digest = hashlib.sha256(repr(sorted(decisions.items())).encode()).hexdigest()[:16]
    line = f"fake({decisions['x']})"
    return Blueprint(digest, {"fake": dict(decisions)}, line, ("perceptron",), {"params": 10}, decisions)


class Scripted(Agent):
    """Proposes what a list of decisions, or a function of the number, says; notes what it is asked and told."""

    name = "scripted"

    def __init__(self, script: Any) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.script, self.log = script, []  # type: ignore[var-annotated]

    def propose(self, number: int) -> Proposal | None:
        self.log.append(("asked", number))
        if callable(self.script):
            return self.script(number)
        return Proposal(self.script[number]) if number < len(self.script) else None

    def replay(self, number: int, proposal: Proposal) -> None:
        self.log.append(("asked", number))

    def observe(self, result: Any) -> None:
        self.log.append(("told", result.number, result.status, result.score))


class Wandering(Agent):
    """Draws x from its number and from the best it has been told, so that what it knew shows in what it says."""

    name = "wandering"

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.told: list[int] = []
        self.sum = 0.0

    def propose(self, number: int) -> Proposal:
        x = (self.generator(number).randrange(100) + int(1000 * self.sum)) % 100
        odd = {"refuse": 1} if x % 7 == 0 else {"do": "raise"} if x % 11 == 3 else {}
        return Proposal({"x": x, **odd})

    def observe(self, result: Any) -> None:
        self.told.append(result.number)
        self.sum += (result.score or 0.0) * (1 + len(self.told))


class FakeTrainer:
    """Scores `x` percent, in the final too; `do` says what goes wrong, `final_...` in the final alone."""

    def __init__(self, job: Job) -> None:
        self.job, self.finished, self.rung = job, False, 0
        self.about = job.architecture["fake"]
        do = self.about.get("do", "")
        final = job.split == "test"
        self.do = do.removeprefix("final_") if final == do.startswith("final_") else ""
        if self.do == "unbuildable":
            raise CandidateError("error", "it cannot be built")

    def advance(self) -> Report:
        match self.do:
            case "raise":
                raise ValueError("boom\nand more")
            case "memory":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
            case "hang":
                for _ in range(6000):
                    time.sleep(0.01)
            case "exit":
                sys.exit("enough")
            case "interrupt":
                raise KeyboardInterrupt
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.about.get("sleep", 0.0))
        self.rung += 1
        self.finished = self.rung >= self.job.training.reports
        score = self.about["x"] / 100
        return Report(self.rung, score, 1 - score, (score,), 0.001 * self.rung)

    def measurement(self) -> Measurement:
        how, job = self.job.training, self.job
        score = None if self.do == "nan" else self.about["x"] / 100
        loss = None if score is None else 1 - score
        curve = ((1, 0.5, 1.0),)
        test = score if job.split == "test" else None
        seeds = range(job.seed_base, job.seed_base + how.seeds)
        copies = tuple(CopyResult(seed, 1e-3, "done", score, loss, test, curve=curve) for seed in seeds)
        return Measurement(
            fidelity=Fidelity("fake", "0" * 16, how.steps, how.batch, (1e-3,), how.seeds, job.split),
            score=score, score_low=None, score_high=None, validation_score=score, validation_loss=loss,
            learning_rate=1e-3, copies=copies, steps=how.steps, examples=1,
            seconds=self.rung * (0.001 + self.about.get("sleep", 0.0)), train_seconds=0.001, tokens_per_second=1.0,
            peak_memory_bytes=1, params=10, body_params=10, flops_per_token=1.0, state_bytes=1.0, span=1.0,
            parallel_in_time=True, environment={},
        )  # fmt: skip

    def save_weights(self, path: str) -> None:
        Path(path).write_text("weights")


class HashTrainer(FakeTrainer):
    """Scores a real architecture by a hash of it, for campaigns on real spaces."""

    def __init__(self, job: Job) -> None:
        text = json.dumps(job.architecture["nodes"], sort_keys=True)
        x = int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) % 100
        super().__init__(replace(job, architecture={"fake": {"x": x}}))


def config(**changes: Any) -> CampaignConfig:
    values: dict[str, Any] = {
        "space": "fake", "task": "fake", "trials": 6, "ahead": 2, "workers": 1, "executor": "inline", "name": "c",
        "finals": Finals(top=2, seeds=2), "training": TrainingSettings(reports=2), "gpus_per_trial": 0.0, **changes,
    }  # fmt: skip
    return CampaignConfig(**values)


CONTROLS = {"control": gate({"x": 1, "control": 1})}


def campaign(
    path: Path, agent: Agent, settings: CampaignConfig, *, controls: Any = None, task: Any = TASK, **more: Any
) -> tuple[Store, Campaign]:
    """A desk over a folder that is made, or gone on with if it is there."""
    if (path / "events.jsonl").exists():
        store = Store.open(path)
    else:
        store = Store.create(path, {"campaign.yaml": settings.to_yaml()})
    if store.ledger.head.name:
        store.append("resume", sync=True, environment={})
    else:
        about = {"name": path.name, "config": settings.to_dict(), "task": task, "environment": {}, "agent": agent.name}
        store.append("campaign", sync=True, **about)
    controls = CONTROLS if controls is None else controls
    return store, Campaign(settings, store, agent, gate, maximize=True, controls=controls, **more)


def work(desk: Campaign, *, workers: int = 2, shuffle: int = 0, most: int = 10_000, drain: bool = False) -> list[str]:
    """Works like an executor with several workers that finish in a random order; returns the keys of the jobs.

    After `most` jobs it drops what it holds, as one that dies, or with `drain` sees it through.
    """
    rng, out, keys = random.Random(shuffle), {}, []
    while not desk.closed:
        while len(out) < workers and len(keys) < most and (job := desk.next()) is not None:
            out[job.key] = Attempt(job, RUNNER)
            keys.append(job.key)
        if len(keys) >= most and not (out and drain):
            break
        key = rng.choice(sorted(out))
        report, outcome = out[key].advance()
        goes_on = report is None or desk.report(key, report)
        if outcome is not None or not goes_on:
            del out[key]
            desk.finish(key, outcome or Outcome("stopped"))
    return keys


def main(folder: str, trials: str, executor: str = "inline") -> None:
    """A driver that a test kills: trains `trials` candidates in `folder`, or goes on with it."""
    workers = 2 if executor == "ray" else 1
    settings = config(trials=int(trials), executor=executor, workers=workers, ahead=2 * workers)
    store, desk = campaign(Path(folder), Wandering(), settings)
    slow = random.Random(os.getpid())

    def tick() -> None:
        time.sleep(slow.random() * 0.01)

    with store:
        if executor == "ray":
            from archsearch.campaign.executors import ray_tune

            ray_tune.run(desk, settings, runner=RUNNER, tick=tick)
        else:
            from archsearch.campaign.executors import inline

            inline.run(desk, runner=RUNNER, tick=tick)


if __name__ == "__main__":
    main(*sys.argv[1:])
