"""What training a candidate yields, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["CopyResult", "Fidelity", "Job", "Measurement", "Report", "TrainingSettings"]

PROTOCOL = 3
"""The version of the training protocol. Raised whenever the same settings would give other scores."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a candidate is trained. Every field can be set: `--set training.steps=400`.

    Args:
        budget: what is equal for all candidates: `steps`, `flops` or `seconds`.
        steps: optimiser steps, where the budget is steps.
        flops: operations that each copy may train with, forward and backward; see `archsearch.training.budget`.
        seconds: of training steps, all copies of a search run together, at the pace that the worker measures before it
            begins. The finals then take as many steps as the search did.
        batch: examples a step, per copy.
        learning_rates: each is tried with each seed; the best by validation is the candidate's.
        rate_factors: the grid is each rate times each of these, so that a grid can be asked for around a task's rate.
        extend_rates: where the chosen rate is the smallest or the largest of several, the search trains once more with
            a rate beyond it in the grid.
        seeds: how many seeds; copies = seeds × learning rates, trained as one model.
        weight_decay, clip: of AdamW; the norm to which gradients are clipped, copy by copy (0: not).
        warmup: the share of the steps over which the rate rises linearly; a cosine then takes it to `final_rate` of
            its peak.
        reports: how many rungs, evenly spaced, at which validation is scored and reported.
        evaluation_examples: at most so many examples of a split are scored (the first ones).
        stop_when_solved: end a copy's candidate once every copy has reached `task.solved` (the step is recorded).
        time_limit: seconds without a report after which the candidate counts as hung and is killed (0: none).
        freeze: `none`, or `body`: only stem and readout are trained.
        device: `auto`, `cpu`, `cuda`, `mps`.
        dtype: `float32`, or `bfloat16` (autocast).
        backend: `auto`, `torch`, or the accelerated library to use; see `archsearch.kernels.backends`.
    """

    budget: str = "steps"
    steps: int = 400
    flops: float = 1e12
    seconds: float = 10.0
    batch: int = 32
    learning_rates: tuple[float, ...] = (3e-3,)
    rate_factors: tuple[float, ...] = (1.0,)
    extend_rates: bool = False
    seeds: int = 1
    weight_decay: float = 0.1
    clip: float = 1.0
    warmup: float = 0.1
    final_rate: float = 0.1
    reports: int = 8
    evaluation_examples: int = 1024
    evaluation_batch: int = 128
    stop_when_solved: bool = True
    time_limit: float = 3600.0
    freeze: str = "none"
    device: str = "auto"
    dtype: str = "float32"
    backend: str = "auto"

    @property
    def rates(self) -> tuple[float, ...]:
        """The grid of learning rates."""
        if self.rate_factors == (1.0,):
            return tuple(self.learning_rates)
        return tuple(sorted({float(f"{r * f:.6g}") for r in self.learning_rates for f in self.rate_factors}))


@dataclass(frozen=True)
class Fidelity:
    """How much effort stands behind a score. Scores of different fidelities never share a ranking.

    Args:
        task: the task's name.
        digest: the task's digest.
        steps, batch: of training; 0 steps where the budget is another.
        learning_rates, seeds: the grid of copies; in the finals the grid that the rate was chosen from.
        split: `validation` or `test`, on which the score was taken.
        settings: a short hash of the remaining training settings that a score depends on.
        protocol: `PROTOCOL`.
        budget, amount: what the candidates have equal, and how much of it where that is not steps.
    """

    task: str
    digest: str
    steps: int
    batch: int
    learning_rates: tuple[float, ...]
    seeds: int
    split: str
    settings: str = ""
    protocol: int = PROTOCOL
    budget: str = "steps"
    amount: float = 0.0


@dataclass(frozen=True)
class CopyResult:
    """One copy: one seed at one learning rate.

    Args:
        status: `done`, `solved` (done early) or `diverged`.
        score: validation score at the end; `None` if diverged.
        loss: validation loss at the end.
        test_score: on the sealed test, in the finals only.
        train_score: at the end, on as many examples of the training split.
        learning_rate: `None` where the copy stands for a seed on several tasks; see `archsearch.training.pooling`.
        solved_at: the step of the first report at which the task was solved.
        curve: `(step, validation score, validation loss)` per report.
    """

    seed: int
    learning_rate: float | None
    status: str
    score: float | None
    loss: float | None
    test_score: float | None = None
    solved_at: int | None = None
    curve: tuple[tuple[int, float, float], ...] = ()
    train_score: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The result of one job. `score` is the mean over seeds at the best learning rate, by validation.

    Args:
        score: on `fidelity.split`; validation in the search, test in the finals.
        score_low, score_high: 95 % interval of the mean over seeds (Student's t); `None` with fewer than 2 seeds.
        validation_score: at the chosen rate, whatever the split of `score`.
        learning_rate: the chosen one.
        copies: every copy.
        steps: optimiser steps done (fewer than planned if solved early).
        examples: examples seen per copy.
        seconds: wall-clock inside the trainer, all included; `train_seconds` of optimiser steps alone.
        tokens_per_second: of training, all copies together.
        peak_memory_bytes: bytes of tensors saved for the backward pass of one step plus weights, gradients and
            optimiser state (CPU); the allocator's peak (CUDA).
        params: weights of one copy with stem and readout; `body_params`: of the graph alone.
        flops_per_token, state_bytes, span: of the graph, analytic, at the task's length.
        parallel_in_time: whether no part of the graph runs as a loop over time.
        environment: device, device_name, dtype, torch, python, threads, backend.
        train_score: on the training split, like `validation_score`.
        planned_steps: the steps that the budget bought; `step_flops`: operations of one of them, one copy.
        step_seconds: what a step of all copies took before training, where the budget is seconds.
        solutions: of a readout that was solved for, one mapping a copy; docs/solved.md says what is in it.
    """

    fidelity: Fidelity
    score: float | None
    score_low: float | None
    score_high: float | None
    validation_score: float | None
    validation_loss: float | None
    learning_rate: float | None
    copies: tuple[CopyResult, ...]
    steps: int
    examples: int
    seconds: float
    train_seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    params: int
    body_params: int
    flops_per_token: float
    state_bytes: float
    span: float
    parallel_in_time: bool
    environment: Mapping[str, Any] = field(default_factory=dict)
    train_score: float | None = None
    planned_steps: int = 0
    step_flops: float = 0.0
    step_seconds: float | None = None
    solutions: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data (NaN and infinity become `None`)."""
        return _plain(asdict(self))  # type: ignore[no-any-return]

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Measurement:
        """What `to_dict` wrote."""
        values = dict(data)
        f = dict(values["fidelity"])
        f["learning_rates"] = tuple(f["learning_rates"])
        values["fidelity"] = Fidelity(**f)
        values["copies"] = tuple(
            CopyResult(**{**c, "curve": tuple((int(s), a, b) for s, a, b in c["curve"])}) for c in values["copies"]
        )
        values["solutions"] = tuple(values.get("solutions", ()))
        return Measurement(**values)


def _plain(v: Any) -> Any:
    if isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))):
        return None
    if isinstance(v, Mapping):
        return {k: _plain(x) for k, x in v.items()}
    if isinstance(v, tuple | list):
        return [_plain(x) for x in v]
    return v


@dataclass(frozen=True)
class Report:
    """What a candidate says at a rung: mean over the copies that live, and the copies one by one."""

    step: int
    score: float | None
    loss: float | None
    scores: tuple[float | None, ...]
    seconds: float
    solved: bool = False


@dataclass(frozen=True)
class Job:
    """One training to be done, as plain data that crosses a process boundary.

    Args:
        key: unique in the campaign, `candidate/phase/attempt`.
        architecture: `Architecture.to_dict()`.
        task, task_settings: a task's name (or path) and settings.
        training: how.
        seed_base: seeds of the copies are `seed_base, seed_base + 1, ...`.
        split: on which the score is taken at the end: `validation`, or `test` in the finals.
        save_weights: the file for the weights.
        learning_rates, steps: what the search found, for the finals; `None` to go by `training`.
    """

    key: str
    architecture: Mapping[str, Any]
    task: str
    task_settings: Mapping[str, Any]
    training: TrainingSettings
    seed_base: int = 0
    split: str = "validation"
    save_weights: str | None = None
    learning_rates: tuple[float, ...] | None = None
    steps: int | None = None
