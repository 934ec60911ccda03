"""Student's t distribution in plain Python, so that a leaderboard starts without loading SciPy."""

from __future__ import annotations

import math

__all__ = ["two_sided_p"]


def two_sided_p(t: float, df: float) -> float:
    """P(|T| ≥ |t|) for Student's t with `df` > 0 degrees of freedom.

    The two tails together are the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t²).
    """
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(df / 2.0, 0.5, df / (df + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for a, b > 0 and 0 ≤ x ≤ 1."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta)
    # The fraction converges fast below the mean of the beta distribution; above it the mirrored one does.
    if x < (a + 1.0) / (a + b + 2.0):
        return front / (a * _fraction(a, b, x))
    return 1.0 - front / (b * _fraction(b, a, 1.0 - x))


def _fraction(a: float, b: float, x: float) -> float:
    """1 + d₁/(1 + d₂/(1 + …)) of DLMF 8.17.22, from the front by the ratios of successive convergents (Lentz)."""
    value = upper = 1.0
    lower = 0.0
    for n in range(1, 300):
        m = n // 2
        if n % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1.0 / ((1.0 + d * lower) or 1e-300)
        upper = (1.0 + d / upper) or 1e-300
        value *= upper * lower
        if abs(upper * lower - 1.0) < 1e-15:
            break
    return value
