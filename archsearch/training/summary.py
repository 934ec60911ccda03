"""From a trainer to its report and its measurement: plain data, whatever state it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archsearch.training import devices, results
from archsearch.training.measurement import Measurement, Report
from archsearch.training.memory import peak_bytes

if TYPE_CHECKING:
    from archsearch.training.trainer import Trainer

__all__ = ["measurement_of", "report_of"]


def report_of(t: Trainer) -> Report:
    """What a trainer says at a rung; at least one copy lives."""
    living = [r for r in t.copies if r.score is not None]
    return Report(
        step=t.step,
        score=results.mean([r.score for r in living if r.score is not None]),
        loss=results.mean([r.loss for r in living if r.loss is not None]),
        scores=tuple(r.score for r in t.copies),
        seconds=t.seconds,
        solved=t.solved,
    )


def measurement_of(t: Trainer) -> Measurement:
    """The result so far of a trainer; complete once it is finished."""
    rate = results.chosen_rate(t.copies, maximize=t.task.maximize)
    chosen = [r for r in t.copies if r.learning_rate == rate and r.score is not None]
    validation = results.mean_of(r.score for r in chosen)
    tests = [r.test_score if t.job.split == "test" else r.score for r in chosen]
    span = results.interval([s for s in tests if s is not None])
    facts = t.facts()
    tokens = t.step * len(t.copies) * t.settings.batch * t.task.length
    return Measurement(
        fidelity=results.fidelity(t.task, t.settings, t.job.split),
        score=results.mean_of(tests),
        score_low=span[0] if span else None,
        score_high=span[1] if span else None,
        validation_score=validation,
        validation_loss=results.mean_of(r.loss for r in chosen),
        learning_rate=rate,
        copies=tuple(r.result(ended_early=t.solved) for r in t.copies),
        steps=t.step,
        examples=len(t.data) if t.solutions else t.step * t.settings.batch,
        seconds=t.seconds,
        train_seconds=t.train_seconds,
        tokens_per_second=tokens / t.train_seconds if t.train_seconds else 0.0,
        peak_memory_bytes=peak_bytes(t.model, t.saved or 0, t.device),
        params=sum(g.parameter.numel() for g in t.model.groups()) // len(t.copies),
        body_params=facts.params,
        flops_per_token=facts.flops_per_token,
        state_bytes=facts.state_bytes,
        span=facts.span,
        parallel_in_time=facts.parallel_in_time,
        environment=devices.environment(t.device, t.settings.dtype, t.settings.backend),
        train_score=results.mean_of(r.train_score for r in chosen),
        planned_steps=t.steps,
        step_flops=t.step_flops,
        step_seconds=t.step_seconds,
        solutions=tuple(t.solutions),
    )
