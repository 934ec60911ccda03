"""Kolmogorov-Arnold layers: a trained function of one number on every edge."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.linear import linear
from archsearch.ops.base import (
    Context,
    Cost,
    Op,
    ValueType,
    Weight,
    Weights,
    kaiming_uniform,
    normal,
    op,
    param,
    setting,
)
from archsearch.ops.rules import vector

__all__ = ["Kan"]


@op(
    family="perceptron",
    equation="y_j = Σ_i (a_{ji} silu(x_i) + Σ_g c_{jig} B_g(x_i)), B_g the B-splines on a grid",
    paper="Liu et al. 2024, arXiv:2404.19756, section 2.2",
)
@dataclass(frozen=True)
class Kan(Op):
    """Kolmogorov-Arnold layer: sums of trained splines of single features.

    The scale of a spline, w_s in the paper, is left to its coefficients. Outside the grid splines are zero, and `silu`
    alone is left; the grid stays where it is.
    """

    width: int | None = setting(None, low=1, help="features of the output; those of the input if not said")
    grid: int = setting(5, low=1, help="intervals of the grid")
    order: int = setting(3, low=1, high=5, help="degree of the splines")
    reach: float = setting(
        2.0, low=1e-6, help="the grid goes from −reach to reach; inputs with a norm before are of size 1"
    )

    def infer(self, x: ValueType) -> ValueType:
        width = vector(self.name, "x", x).width
        return ValueType((self.width or width,), x.rate)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        """The splines start near zero, with σ = 0.1 as in the paper."""
        out, splines = self.width or x.width, x.width * (self.grid + self.order)
        return (
            param("base", (out, x.width), kaiming_uniform(x.width)),
            param("spline", (out, splines), normal(0.1 / math.sqrt(x.width))),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """Two products, and 5 operations for every spline of every degree."""
        splines = x.width * (self.grid + self.order)
        products = 2 * (self.width or x.width) * (x.width + splines)
        return Cost(flops=products + x.width + 5 * self.order * splines)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return linear(F.silu(x), w["base"]) + linear(self.splines(x).flatten(-2), w["spline"])

    def splines(self, x: Tensor) -> Tensor:
        """The B-splines at each feature, `(..., D, grid + order)`, by de Boor's recursion on even knots."""
        knots = torch.arange(-self.order, self.grid + self.order, device=x.device, dtype=x.dtype)
        u = (x.unsqueeze(-1) + self.reach) * (self.grid / (2 * self.reach)) - knots  # distance from the first knot
        b = ((u >= 0) & (u < 1)).to(x.dtype)
        for p in range(1, self.order + 1):
            u = u[..., :-1]
            b = (u * b[..., :-1] + (p + 1 - u) * b[..., 1:]) / p
        return b
