"""One candidate, one budget, one Measurement: the training loop, from top to bottom.

    trainer = Trainer(job)
    while not trainer.finished:
        report = trainer.advance()      # trains to the next rung, scores validation
    trainer.measurement()

Copies are seeds × learning rates of one architecture, trained as one model: copy s·R + r has seed s and rate r of R.
Copy i equals the solo run of its seed and rate; one that diverges ends alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.build.model import Model, build
from archsearch.errors import CandidateError
from archsearch.graph import analysis
from archsearch.graph.architecture import Architecture
from archsearch.graph.fits import FREQUENCIES, GRADIENT
from archsearch.kernels import backends
from archsearch.ops.base import Context, Op
from archsearch.ops.own import from_sources
from archsearch.ops.registry import registry
from archsearch.tasks import contract
from archsearch.tasks.base import Scores
from archsearch.tasks.registry import make
from archsearch.training import checkpoint, devices, results
from archsearch.training.batches import IndexStream
from archsearch.training.budget import seconds_of_a_step, step_flops, steps_for
from archsearch.training.faults import blamed_on_candidate
from archsearch.training.fitting import fit_readout
from archsearch.training.judge import Judge
from archsearch.training.loss import TrainingData
from archsearch.training.measurement import Job, Measurement, Report
from archsearch.training.memory import saved_bytes
from archsearch.training.optimizer import CopyOptimizer
from archsearch.training.results import CopyRecord
from archsearch.training.schedule import rungs
from archsearch.training.summary import measurement_of, report_of
from archsearch.training.weights import write_weights

__all__ = ["Trainer", "run"]

BLOCK = 64
"""Steps whose examples are drawn at a time."""


class Trainer:
    """Trains the copies of one candidate, rung by rung.

    Args:
        job: what to train, and how.
        ops: ops by name beside the shipped ones and those whose source the architecture carries.

    Attributes:
        step: optimiser steps done.
        finished: whether the budget is spent, or the task solved by every copy that lives.

    Raises:
        CandidateError: the model cannot be built.
        UserError: the task or a setting cannot be used, whatever the candidate.
    """

    def __init__(self, job: Job, *, ops: Mapping[str, type[Op]] | None = None) -> None:
        began = time.perf_counter()
        torch.set_num_threads(1)  # a reused worker may have more, and two workers with two threads each crawl
        devices.keep_memory()
        self.job, self.settings, self.ops = job, job.training, dict(ops or {})
        self.device = devices.choose(self.settings.device)
        devices.reset_peak(self.device)
        self.precision = devices.autocast(self.device, self.settings.dtype)
        backends.check(self.settings.backend, self.device)
        self.task = make(job.task, job.task_settings)
        contract.check(self.task, ("train", "validation", "test") if self._tests else ("train", "validation"))
        self.judge = Judge(
            self.task,
            self.device,
            split=job.split,
            limit=self.settings.evaluation_examples,
            batch=self.settings.evaluation_batch,
        )
        self.data = TrainingData(self.judge.train, self.task.output)
        self.saved: int | None = None
        with blamed_on_candidate("building the model"):
            self.architecture = Architecture.from_dict(job.architecture)
            self.ops = {**from_sources(self.architecture.sources), **self.ops}
            self._begin(job.learning_rates or self.settings.rates)
        self._earlier = time.perf_counter() - began
        self._since = time.perf_counter()

    def _begin(self, rates: Sequence[float]) -> None:
        """Puts fresh copies at the start: every seed at every rate."""
        many = self.settings.seeds
        if self._solves:
            rates = (0.0,)  # no step is done, at whatever rate
        if self.architecture.fit == FREQUENCIES:
            many = 1  # every other copy would say the same
        self.solutions: list[dict[str, Any]] = []
        seeds = range(self.job.seed_base, self.job.seed_base + many)
        self.rates = tuple(rates)
        self.copies = [CopyRecord(seed, rate) for seed in seeds for rate in rates]
        self.stream = IndexStream(len(self.data), self.settings.batch, [c.seed for c in self.copies])
        self.step, self.finished, self.solved = 0, False, False
        self.train_seconds = 0.0
        self.steps, self.step_seconds = self.job.steps or self.settings.steps, None
        self.model = self._build()
        self.optimizer = self._optimizer()
        length = self.task.length_in("train")
        self.step_flops = step_flops(self.model, self.facts().flops_per_token, self.settings.batch, length)
        if self.job.steps is None and not self._solves:
            self.steps, self.step_seconds = steps_for(self.settings, self.step_flops, self._measured_step)
            self.optimizer = self._optimizer()
        self.rungs = rungs(self.steps, self.settings.reports)

    def _measured_step(self) -> float:
        """Seconds of a step of all copies, which then start again as if it had not been."""

        def one() -> None:
            self._train_to(self.step + 1)
            devices.synchronize(self.device)

        self.optimizer = self._optimizer()
        seconds = seconds_of_a_step(one)
        self.step, self.model = 0, self._build()
        return seconds

    # ---- training --------------------------------------------------------------------------------------------------

    def advance(self) -> Report:
        """Trains to the next rung and scores validation.

        Raises:
            CandidateError: the candidate raised, ran out of memory, or its last copy diverged.
        """
        assert not self.finished, "a finished trainer has no next rung"
        with blamed_on_candidate(f"training from step {self.step}"):
            began = time.perf_counter()
            if self._solves:
                self._solve()
            else:
                self._train_to(next(rung for rung in self.rungs if rung > self.step))
            devices.synchronize(self.device)
            self.train_seconds += time.perf_counter() - began
            self._note_dead()
            self._note_scores(self.judge.validate(self._answer))
        self.finished = self.solved or self.step >= self.steps or self._solves
        report = report_of(self)
        if self.finished and (rate := self._one_more_rate()) is not None:
            with blamed_on_candidate("building the model"):
                self._begin((*self.rates, rate))
        elif self.finished:
            self._close()
        return report

    def _one_more_rate(self) -> float | None:
        """The rate beyond the edge of the grid, if the chosen one lies there and may be followed."""
        if not self.settings.extend_rates or self._tests or self.rates != self.settings.rates:
            return None
        return results.beyond_the_edge(self.rates, results.chosen_rate(self.copies, maximize=self.task.maximize))

    def _close(self) -> None:
        """What is scored once, at the end."""
        with blamed_on_candidate("scoring the training split"):
            fitted = self.judge.fitted(self._answer).score
        for record, score in zip(self.copies, fitted, strict=True):
            record.train_score = score if record.died is None else None
        if self._tests:
            self._open_test()

    def _train_to(self, rung: int) -> None:
        self.model.train()
        while self.step < rung:
            block = self.stream.block(self.step, min(BLOCK, rung - self.step)).to(self.device)
            for rows in block:
                ctx = Context(True, self.model.generators, losses=[])
                with self._counting(), self.precision, backends.use(self.settings.backend):
                    losses = self.data.losses(self.model(self.data.batch(rows), ctx), rows)
                    losses = sum(ctx.losses or [], losses)
                losses.sum().backward()
                self.optimizer.step(losses.detach(), self.step)
                self.step += 1

    def _solve(self) -> None:
        """Sets the readout as the architecture asks for, the body left as it was drawn."""
        self.model.eval()
        with self.precision, backends.use(self.settings.backend):
            batch = self.settings.evaluation_batch
            self.solutions = fit_readout(self.model, self.task, self.judge, batch=batch)

    @property
    def _solves(self) -> bool:
        return self.architecture.fit != GRADIENT

    def _note_dead(self) -> None:
        for record, died in zip(self.copies, self.optimizer.died.tolist(), strict=True):
            record.died = died or None

    def _note_scores(self, scores: Scores) -> None:
        """Enters validation into the curves; what cannot be scored ends here."""
        goal, sign = self.task.solved, 1.0 if self.task.maximize else -1.0
        for record, score, loss in zip(self.copies, scores.score, scores.loss, strict=True):
            if record.died is not None:
                continue
            if not (abs(score) < float("inf") and abs(loss) < float("inf")):
                record.died = self.step
                continue
            record.curve.append((self.step, score, loss))
            if goal is not None and record.solved_at is None and sign * score >= sign * goal:
                record.solved_at = self.step
        self.optimizer.freeze({i: r.died for i, r in enumerate(self.copies) if r.died is not None})
        living = [r for r in self.copies if r.died is None]
        if not living:
            last = max(r.died or 0 for r in self.copies)
            many = len(self.copies) > 1
            who = f"all {len(self.copies)} copies diverged, the last" if many else "the only copy diverged"
            raise CandidateError("diverged", f"{who} in step {last}")
        there = goal is not None and all(r.score is not None and sign * r.score >= sign * goal for r in living)
        self.solved = there and self.settings.stop_when_solved

    def _open_test(self) -> None:
        """Scores the sealed test once, and keeps what belongs to the rate chosen on validation."""
        with blamed_on_candidate("scoring the test"):
            scores = self.judge.test(self._answer).score
        rate = results.chosen_rate(self.copies, maximize=self.task.maximize)
        for record, score in zip(self.copies, scores, strict=True):
            if record.died is None and record.learning_rate == rate:
                record.test_score = score

    def _answer(self, inputs: Tensor) -> Tensor:
        self.model.eval()
        with self.precision, backends.use(self.settings.backend):
            return self.model(inputs)  # type: ignore[no-any-return]

    # ---- what comes of it ------------------------------------------------------------------------------------------

    def measurement(self) -> Measurement:
        """The result so far; complete once `finished`."""
        return measurement_of(self)

    def save_weights(self, path: Path | str) -> None:
        """Writes the weights of the best copy at the chosen rate, by validation; see `archsearch.training.weights`."""
        rate = results.chosen_rate(self.copies, maximize=self.task.maximize)
        sign = 1.0 if self.task.maximize else -1.0
        scores = {
            i: sign * r.score for i, r in enumerate(self.copies) if r.learning_rate == rate and r.score is not None
        }
        if not scores:
            raise CandidateError("error", "there are no weights to save before the first report")
        best = max(scores, key=scores.__getitem__)
        write_weights(Path(path), self.model, best, self.job, self.copies[best].seed)

    def facts(self) -> analysis.Facts:
        """What analysis says of the architecture at the task's length."""
        known = registry().with_ops(op.spec() for op in self.ops.values())
        return analysis.facts(self.architecture, known, self.task.length)

    @property
    def _tests(self) -> bool:
        return self.job.split == "test"

    @property
    def seconds(self) -> float:
        """Wall-clock inside the trainer so far."""
        return self._earlier + time.perf_counter() - self._since

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on as if nothing had happened: tensors and plain data."""
        return checkpoint.state_of(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over a checkpoint of the same job.

        Raises:
            ValueError: it is another job's, or of another format.
        """
        checkpoint.check(self, state)
        if tuple(state["rates"]) != self.rates:
            self._begin(state["rates"])
        self.steps = state["plain"]["steps"]
        self.rungs, self.optimizer = rungs(self.steps, self.settings.reports), self._optimizer()
        checkpoint.take_over(self, state)
        self._earlier, self._since = state["seconds"], time.perf_counter()

    # ---- building --------------------------------------------------------------------------------------------------

    def _build(self) -> Model:
        seeds = [record.seed for record in self.copies]
        model = build(self.architecture, self.task.input, self.task.output, seeds=seeds, ops=self.ops).to(self.device)
        if self.settings.freeze == "body":
            for parameter in model.body_parameters():
                parameter.requires_grad_(False)
        return model

    def _optimizer(self) -> CopyOptimizer:
        return CopyOptimizer(
            self.model.groups(),
            [record.learning_rate for record in self.copies],
            weight_decay=self.settings.weight_decay,
            clip=self.settings.clip,
            steps=self.steps,
            warmup=self.settings.warmup,
            final_rate=self.settings.final_rate,
        )

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Counts what the first step saves for its backward pass."""
        if self.saved is not None:
            yield
            return
        with saved_bytes() as counter:
            yield
        self.saved = counter.total(self.model.parameters())


def run(
    job: Job, on_report: Callable[[Report], bool] = lambda report: True, *, ops: Mapping[str, type[Op]] | None = None
) -> Measurement:
    """Trains a job to its end, or until `on_report` returns false, and writes its weights where it asks for that.

    Raises:
        CandidateError: see `Trainer`.
    """
    trainer = Trainer(job, ops=ops)
    while not trainer.finished and on_report(trainer.advance()):
        pass
    if job.save_weights is not None:
        trainer.save_weights(job.save_weights)
    return trainer.measurement()
