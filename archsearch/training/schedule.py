"""When the rate rises and falls, and at which steps a candidate reports."""

from __future__ import annotations

import math

__all__ = ["rate_factor", "rungs"]


def rate_factor(step: int, steps: int, warmup: float, final: float) -> float:
    """The factor on the peak rate in optimiser step `step` (0, 1, ...): linear warm-up, then a cosine to `final`.

    Args:
        steps: of the whole training.
        warmup: the share of the steps over which the factor rises from just above 0 to 1.
        final: the factor that the last step comes close to.
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(steps - rise, 1)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done))


def rungs(steps: int, reports: int) -> tuple[int, ...]:
    """The steps after which validation is scored: `reports` of them, evenly spaced, the last at the end."""
    return tuple(sorted({max(1, round(steps * (i + 1) / reports)) for i in range(reports)}))
