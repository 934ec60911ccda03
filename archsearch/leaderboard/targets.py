"""What it took to reach a score: steps, operations and seconds, read off the validation curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.training.measurement import CopyResult, Measurement

__all__ = ["first_step", "to_target"]


def first_step(copy: CopyResult, target: float, *, maximize: bool) -> int | None:
    """The step of the first report that is as good as `target`; `None` if there is none."""
    reached = (step for step, score, _ in copy.curve if (score >= target if maximize else score <= target))
    return next(reached, None)


def to_target(m: Measurement, copies: Sequence[CopyResult], target: float | None, *, maximize: bool) -> dict[str, Any]:
    """The fields of a row about a target: means over the seeds that reached it, and how many did.

    Steps are those of reports, so that they are known to one report. Operations are of one copy; seconds are of the
    training steps of all copies together, on the device of the measurement.
    """
    found = [first_step(c, target, maximize=maximize) for c in copies] if target is not None else []
    steps = [s for s in found if s is not None]
    if not steps:
        return {"reached": 0 if found else None}
    mean = sum(steps) / len(steps)
    costs: Mapping[str, float] = {
        "flops_to_target": mean * m.step_flops,
        "seconds_to_target": mean * m.train_seconds / m.steps if m.steps else 0.0,
    }
    return {"reached": len(steps), "steps_to_target": mean, **{name: cost or None for name, cost in costs.items()}}
