"""The pointwise work around gated linear recurrences, each in one pass with its backward written out.

Autograd would keep about ten tensors of the size of the input and run twice as many kernels; these keep three.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.precision import single

__all__ = ["at_most_zero", "candidate", "rg_lru_terms"]

_LEAST = 1e-6  # bounds the slope of the root where a decay comes close to one: at most 1000 times what comes in


def at_most_zero(x: Tensor, least: float = -math.inf) -> Tensor:
    """What `x.clamp(least, 0)` gives, up to the least normal number, in a tenth of the time where it has a gradient."""
    return F.hardtanh(x, least, torch.finfo(x.dtype).tiny)


class _Candidate(torch.autograd.Function):
    """Saves its output. `where` and `masked_fill`, as autograd would run, take 10 times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp_max(0.0).sigmoid_().add_(x.relu())
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """`y (1 − y)` of what is below ½ and one of the rest, of which the first factor takes 1/4."""
        (y,) = ctx.saved_tensors
        below = y.clamp_max(0.5)
        above: Tensor = torch.ops.aten.threshold_backward(g, y, 0.5)
        return above.mul_(0.75).add_(torch.ops.aten.sigmoid_backward(g, below))


def candidate(x: Tensor) -> Tensor:
    """`x + ½` where `x ≥ 0`, else `σ(x)`: continuous and positive."""
    y: Tensor = _Candidate.apply(x)  # type: ignore[no-untyped-call]
    return y


class _RgLruTerms(torch.autograd.Function):
    """Saves the two gates, the input and the decay; what else is needed follows from these."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, i: Tensor, x: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        r, i = torch.sigmoid(r), torch.sigmoid(i)
        log_a = -rate * r
        a = torch.exp(log_a)
        root = torch.expm1(log_a.mul_(2.0)).neg_().clamp_min_(_LEAST).sqrt_()
        b = (root * i).mul_(x)
        ctx.save_for_backward(r, i, x, rate, a, root)
        return a, b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_a: Tensor, d_b: Tensor) -> tuple[Tensor, ...]:
        r, i, x, rate, a, root = ctx.saved_tensors
        scaled = d_b * root
        d_x = scaled * i
        d_i = scaled.mul_(x).mul_(i).mul_(1.0 - i)
        d_root = (d_b * i).mul_(x).div_(root).mul_(a)
        d_log_a = (d_a - d_root).mul_(a)  # √(1 − a²) changes by −a² / √(1 − a²) with log a
        d_rate = -(d_log_a * r).sum_to_size(rate.shape)
        d_r = d_log_a.mul_(rate).mul_(r).mul_(r - 1.0)
        return d_r, d_i, d_x, d_rate


def rg_lru_terms(r: Tensor, i: Tensor, x: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and inputs of a real-gated linear recurrent unit, `exp(−rate σ(r))` and `√(1 − a²) σ(i) x`.

    `1 − a²` is taken as `−expm1(2 log a)`, which keeps its digits where a is close to one.

    Args:
        r, i: the gates before their sigmoids, `(E, ..., D)`.
        x: the input, of the same shape.
        rate: `−log a` of an open gate, `(E, 1, ..., D)`.

    Returns:
        a and b of `h_t = a_t h_{t−1} + b_t`.
    """
    terms: tuple[Tensor, Tensor] = _RgLruTerms.apply(*map(single, (r, i, x, rate)))  # type: ignore[no-untyped-call]
    return terms
