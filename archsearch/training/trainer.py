"""One candidate, one budget, one Measurement: the training loop, from top to bottom.

    trainer = Trainer(job)
    while not trainer.finished:
        report = trainer.advance()      # trains to the next rung, scores validation
    trainer.measurement()

Copies are seeds × learning rates of one architecture, trained as one model: copy s·R + r has seed s and rate r of R.
Copy i equals the solo run of its seed and rate; one that diverges ends alone.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.build.model import Model, build
from archsearch.errors import CandidateError
from archsearch.graph import analysis
from archsearch.graph.architecture import Architecture
from archsearch.graph.fits import GRADIENT
from archsearch.kernels import backends
from archsearch.ops.base import Context, Op
from archsearch.ops.own import from_sources
from archsearch.ops.registry import registry
from archsearch.tasks import contract
from archsearch.tasks.base import Scores
from archsearch.tasks.registry import make
from archsearch.training import devices, results
from archsearch.training.batches import IndexStream
from archsearch.training.budget import seconds_of_a_step, step_flops, steps_for
from archsearch.training.faults import blamed_on_candidate
from archsearch.training.fitting import fit_readout
from archsearch.training.frequencies import answer_by_frequency
from archsearch.training.judge import Judge
from archsearch.training.loss import TrainingData
from archsearch.training.measurement import Job, Measurement, Report
from archsearch.training.memory import peak_bytes, saved_bytes
from archsearch.training.optimizer import CopyOptimizer
from archsearch.training.results import CopyRecord
from archsearch.training.schedule import rungs
from archsearch.training.weights import write_weights

__all__ = ["Trainer", "run"]

CHECKPOINT = 2
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
        self._saved: int | None = None
        with blamed_on_candidate("building the model"):
            self.architecture = Architecture.from_dict(job.architecture)
            self.ops = {**from_sources(self.architecture.sources), **self.ops}
            self._begin(job.learning_rates or self.settings.rates)
        self._earlier = time.perf_counter() - began
        self._since = time.perf_counter()

    def _begin(self, rates: Sequence[float]) -> None:
        """Puts fresh copies at the start: every seed at every rate."""
        many = self.settings.seeds
        if self.settings.fit == "frequencies":
            rates, many = rates[:1], 1  # every other copy would say the same
        elif self._solves:
            rates = (0.0,)  # no step is done, at whatever rate
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
        self.step_flops = step_flops(self.model, self._facts().flops_per_token, self.settings.batch, length)
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
            if self.settings.fit == "frequencies":
                answer_by_frequency(self.model, self.judge.train, self.task.output)
            elif self._solves:
                self._solve()
            else:
                self._train_to(next(rung for rung in self.rungs if rung > self.step))
            devices.synchronize(self.device)
            self.train_seconds += time.perf_counter() - began
            self._note_dead()
            self._note_scores(self.judge.validate(self._answer))
        at_once = self._solves or self.settings.fit == "frequencies"
        self.finished = self.solved or self.step >= self.steps or at_once
        report = self._report()
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
            self.solutions = fit_readout(self.model, self.task, self.judge.train, self.judge.validate, batch=batch)

    @property
    def _solves(self) -> bool:
        return self.architecture.fit != GRADIENT and self.settings.fit == GRADIENT

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
            raise CandidateError("diverged", f"all {len(self.copies)} copies diverged, the last in step {last}")
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
        rate = results.chosen_rate(self.copies, maximize=self.task.maximize)
        chosen = [r for r in self.copies if r.learning_rate == rate and r.score is not None]
        validation = [r.score for r in chosen if r.score is not None]
        scores = [r.test_score for r in chosen if r.test_score is not None] if self._tests else validation
        span = results.interval(scores)
        fitted = [r.train_score for r in chosen if r.train_score is not None]
        facts = self._facts()
        tokens = self.step * len(self.copies) * self.settings.batch * self.task.length
        return Measurement(
            fidelity=results.fidelity(self.task, self.settings, self.job.split),
            score=results.mean(scores) if scores else None,
            score_low=span[0] if span else None,
            score_high=span[1] if span else None,
            validation_score=results.mean(validation) if validation else None,
            validation_loss=results.mean([r.loss for r in chosen if r.loss is not None]) if chosen else None,
            learning_rate=rate,
            copies=tuple(r.result(ended_early=self.solved) for r in self.copies),
            steps=self.step,
            examples=len(self.data) if self.solutions else self.step * self.settings.batch,
            seconds=self._seconds(),
            train_seconds=self.train_seconds,
            tokens_per_second=tokens / self.train_seconds if self.train_seconds else 0.0,
            peak_memory_bytes=peak_bytes(self.model, self._saved or 0, self.device),
            params=sum(t.parameter.numel() for t in self.model.groups()) // len(self.copies),
            body_params=facts.params,
            flops_per_token=facts.flops_per_token,
            state_bytes=facts.state_bytes,
            span=facts.span,
            parallel_in_time=facts.parallel_in_time,
            environment=devices.environment(self.device, self.settings.dtype, self.settings.backend),
            train_score=results.mean(fitted) if fitted else None,
            planned_steps=self.steps,
            step_flops=self.step_flops,
            step_seconds=self.step_seconds,
            solutions=tuple(self.solutions),
        )

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

    def _report(self) -> Report:
        living = [r for r in self.copies if r.score is not None]
        return Report(
            step=self.step,
            score=results.mean([r.score for r in living if r.score is not None]),
            loss=results.mean([r.loss for r in living if r.loss is not None]),
            scores=tuple(r.score for r in self.copies),
            seconds=self._seconds(),
            solved=self.solved,
        )

    def _facts(self) -> analysis.Facts:
        known = registry().with_ops(op.spec() for op in self.ops.values())
        return analysis.facts(self.architecture, known, self.task.length)

    @property
    def _tests(self) -> bool:
        return self.job.split == "test"

    def _seconds(self) -> float:
        return self._earlier + time.perf_counter() - self._since

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on as if nothing had happened: tensors and plain data."""
        state = {
            "format": CHECKPOINT,
            "job": self._identity(),
            "rates": list(self.rates),
            "steps": [self.steps, self.step_seconds],
            "step": self.step,
            "finished": self.finished,
            "solved": self.solved,
            "seconds": self._seconds(),
            "train_seconds": self.train_seconds,
            "saved": self._saved,
            "copies": [vars(record) for record in self.copies],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": [g.get_state() for g in self.model.generators],
            "solutions": self.solutions,
        }
        return copy.deepcopy(state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over a checkpoint of the same job.

        Raises:
            ValueError: it is another job's, or of another format.
        """
        if state.get("format") != CHECKPOINT or state.get("job") != self._identity():
            raise ValueError("a checkpoint must come from the same job, but this one has another format or job")
        if tuple(state["rates"]) != self.rates:
            self._begin(state["rates"])
        self.steps, self.step_seconds = state["steps"]
        self.rungs, self.optimizer = rungs(self.steps, self.settings.reports), self._optimizer()
        self.step, self.finished, self.solved = state["step"], state["finished"], state["solved"]
        self._earlier, self._since = state["seconds"], time.perf_counter()
        self.train_seconds, self._saved = state["train_seconds"], state["saved"]
        self.copies = [CopyRecord(**{**record, "curve": list(record["curve"])}) for record in state["copies"]]
        self.model.load_state_dict(state["model"])
        self.solutions = state.get("solutions", [])
        self.optimizer.load_state_dict(state["optimizer"])
        for generator, bits in zip(self.model.generators, state["generators"], strict=True):
            generator.set_state(bits.cpu())

    def _identity(self) -> str:
        """A hash of what a checkpoint must agree with; the key and the limits of a job may differ."""
        how = asdict(results.fidelity(self.task, self.settings, self.job.split))
        text = json.dumps([self.job.architecture, how, self.job.seed_base, self.job.learning_rates], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

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
        if self._saved is not None:
            yield
            return
        with saved_bytes() as counter:
            yield
        self._saved = counter.total(self.model.parameters())


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
