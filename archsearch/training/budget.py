"""How many steps a budget buys: a number of steps, of operations a copy, or of seconds.

Operations are analytic, so that the same budget buys the same steps everywhere. Seconds are bought at the pace of some
measured steps, so that they need not be the same twice.

Legend of shapes: E copies, B batch, T time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from torch import nn

from archsearch.build.model import Model
from archsearch.training.measurement import TrainingSettings

__all__ = ["BACKWARD", "seconds_of_a_step", "step_flops", "steps_for"]

BACKWARD = 3.0
"""A step of training costs so many forward passes: the gradients by inputs and by weights take as long as it does."""

WARM, TIMED = 2, 5
"""Steps before the clock counts, and steps that count."""


def step_flops(model: Model, flops_per_token: float, batch: int, length: int) -> float:
    """Operations of a training step of one copy, stem and readout included.

    Args:
        flops_per_token: of the graph, forward.
        batch, length: B and T.
    """
    ends = {name: sum(p.numel() for p in end.parameters()) / model.copies for name, end in _ends(model)}
    stem = 0.0 if model.tokens else 2.0 * ends["stem"]  # a table is looked up
    answers = batch if model.once else batch * length
    forward = batch * length * (flops_per_token + stem) + answers * 2.0 * ends["readout"]
    return BACKWARD * forward


def _ends(model: Model) -> list[tuple[str, nn.Module]]:
    return [("stem", model.stem), ("readout", model.readout)]


def steps_for(settings: TrainingSettings, flops: float, step_seconds: Callable[[], float]) -> tuple[int, float | None]:
    """The steps that a budget buys, at least one, and what a step took where that was measured.

    Args:
        flops: of a step of one copy.
        step_seconds: measures a step of all copies.
    """
    match settings.budget:
        case "flops":
            return max(1, int(settings.flops / flops)), None
        case "seconds":
            seconds = step_seconds()
            return max(1, int(settings.seconds / seconds)), seconds
    return settings.steps, None


def seconds_of_a_step(step: Callable[[], object]) -> float:
    """The median duration of `step`, without the first calls, in which a model is still compiled and cached."""
    times = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM:])
