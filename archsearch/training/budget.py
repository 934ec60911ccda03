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

__all__ = ["seconds_of_a_step", "step_flops", "steps_for"]

WARM, TIMED = 2, 5
"""Steps before the clock counts, and steps that count."""


def step_flops(model: Model, flops_per_token: float, batch: int, length: int) -> float:
    """Operations of a training step of one copy, stem and readout included.

    The gradient of a product takes as long as the product for each of its two factors. It is taken by weights that are
    trained, and by what depends on such weights: not by the data, and not through layers in front of which nothing is
    trained.

    Args:
        flops_per_token: of the graph, forward.
        batch, length: B and T.
    """
    tokens, answers = batch * length, batch if model.once else batch * length
    stem_fixed, stem_trained = _weights(model.stem, model.copies)
    fixed, trained = _weights(model.graph, model.copies)
    end_fixed, end_trained = _weights(model.readout, model.copies)
    stem = 0.0 if model.tokens else 2.0 * (stem_fixed + 2.0 * stem_trained)  # a table is looked up
    follows = stem_trained > 0 or trained > 0
    graph = 3.0 * flops_per_token - min(flops_per_token, 2.0 * fixed) if follows else flops_per_token
    readout = 2.0 * (end_fixed + end_trained) * (2.0 if follows else 1.0) + 2.0 * end_trained
    return tokens * (stem + graph) + answers * readout


def _weights(part: nn.Module, copies: int) -> tuple[float, float]:
    """How many numbers of one copy stay as they are, and how many are trained."""
    sizes = [0, 0]
    for p in part.parameters():
        sizes[p.requires_grad] += p.numel()
    return sizes[0] / copies, sizes[1] / copies


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
