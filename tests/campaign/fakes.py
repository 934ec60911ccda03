"""A space, agents and a trainer that take no time, for tests of the campaign. Run as a script it is a driver to kill."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path

from archsearch.agent import Agent, Proposal
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


def gate(decisions) -> Blueprint:
    """Decisions are `{"x": int, "do": what the trainer does}`; an odd `refuse` breaks a rule."""
    if decisions.get("refuse"):
        raise RuleError("`x` must be liked", value=repr(decisions["x"]))
    digest = hashlib.sha256(repr(sorted(decisions.items())).encode()).hexdigest()[:16]
    return Blueprint(
        digest, {"fake": dict(decisions)}, f"fake({decisions['x']})", ("perceptron",), {"params": 10}, decisions
    )


class Scripted(Agent):
    """Proposes what a list says, and notes what it is told."""

    name = "scripted"

    def __init__(self, script, seed=0):
        super().__init__(None, seed=seed)
        self.script, self.log = script, []

    def propose(self, number):
        self.log.append(("propose", number))
        said = self.script(number, self) if callable(self.script) else self.script[number : number + 1]
        if isinstance(said, list):
            return Proposal(said[0]) if said else None
        return said

    def replay(self, number, proposal):
        self.log.append(("propose", number))

    def observe(self, result):
        self.log.append(("observe", result.number, result.status, result.score))


class FakeTrainer:
    """Scores `x / 100`; `do` in the decisions says what goes wrong."""

    def __init__(self, job: Job):
        self.job, self.finished, self.rung = job, False, 0
        self.about = job.architecture["fake"]
        self.do = self.about.get("do", "")
        if self.do == "refuse_build":
            raise CandidateError("error", "it cannot be built")

    def advance(self) -> Report:
        if self.do and (self.job.split == "validation" or self.do.startswith("final_")):
            self._misbehave(self.do.removeprefix("final_"))
        time.sleep(self.about.get("sleep", 0.0))
        self.rung += 1
        self.finished = self.rung >= self.job.training.reports
        score = self.about["x"] / 100
        return Report(self.rung, score, 1 - score, (score,), 0.001 * self.rung)

    def _misbehave(self, do: str) -> None:
        match do:
            case "raise":
                raise ValueError("boom\nsecond line")
            case "memory":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
            case "hang":
                for _ in range(6000):
                    time.sleep(0.01)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)

    def measurement(self) -> Measurement:
        training, job = self.job.training, self.job
        score = None if self.do == "nan" else self.about["x"] / 100
        loss = None if score is None else 1 - score
        copies = tuple(
            CopyResult(job.seed_base + i, 1e-3, "done", score, loss, curve=((1, score or 0.0, 1.0),))
            for i in range(training.seeds)
        )
        fidelity = Fidelity("fake", "0" * 16, training.steps, training.batch, (1e-3,), training.seeds, job.split)
        return Measurement(
            fidelity=fidelity, score=score, score_low=None, score_high=None, validation_score=score, validation_loss=loss,
            learning_rate=1e-3, copies=copies, steps=training.steps, examples=1, seconds=0.001 * self.rung + self.about.get("sleep", 0.0) * self.rung,
            train_seconds=0.001, tokens_per_second=1.0, peak_memory_bytes=1, params=10, body_params=10, flops_per_token=1.0,
            state_bytes=1.0, span=1.0, parallel_in_time=True, environment={},
        )  # fmt: skip

    def save_weights(self, path: str) -> None:
        Path(path).write_text("weights")


def config(**changes) -> CampaignConfig:
    values = {
        "space": "fake", "task": "fake", "trials": 6, "ahead": 2, "workers": 1, "executor": "inline", "name": "c",
        "finals": Finals(top=2, seeds=2), "training": TrainingSettings(reports=2), "controls": ("control",), **changes,
    }  # fmt: skip
    return CampaignConfig(**values)


CONTROLS = {"control": gate({"x": 1, "control": 1})}


def campaign(path: Path, agent, settings: CampaignConfig, *, controls=None, **more):
    """A desk over a folder that is made, or opened if it is there."""
    if (path / "events.jsonl").exists():
        store = Store.open(path)
        store.append("resume", sync=True, environment={})
    else:
        store = Store.create(path, {"campaign.yaml": settings.to_yaml()})
        store.append(
            "campaign",
            sync=True,
            name=path.name,
            config=settings.to_dict(),
            task=TASK,
            environment={},
            agent="scripted",
        )
    controls = CONTROLS if controls is None else controls
    return store, Campaign(settings, store, agent, gate, maximize=True, controls=controls, **more)


class Wandering(Agent):
    """Draws x from the seed and from the best it has seen, so that what it saw shows in what it proposes."""

    name = "wandering"

    def __init__(self, seed=0):
        super().__init__(None, seed=seed)
        self.best = 0.0

    def propose(self, number):
        x = self.generator(number).randrange(60) + int(40 * self.best)
        return Proposal(
            {"x": min(x, 99)} | ({"refuse": 1} if x % 7 == 0 else {}) | ({"do": "raise"} if x % 11 == 3 else {})
        )

    def observe(self, result):
        self.best = max(self.best, result.score or 0.0)


def main(folder: str, trials: str) -> None:
    """A driver that a test kills: trains `trials` candidates in `folder`, or goes on with it."""
    from archsearch.campaign.executors import inline

    slow = random.Random(os.getpid())
    store, desk = campaign(Path(folder), Wandering(), config(trials=int(trials)))
    with store:
        inline.run(desk, runner=RUNNER, tick=lambda: time.sleep(slow.random() * 0.004))


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
