"""Feature maps of linear attention: what makes keys and queries positive, or many from few."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weights, op, setting
from archsearch.ops.rules import divides, vector

__all__ = ["FeatureMap"]

_LEAST = 1e-6  # added to a sum that may be zero
_KINDS = ("elu1", "dpfp", "taylor", "relu", "softmax")


@op(
    family="fast_weight",
    equation="elu1: elu(x) + 1; dpfp: r_i r_{i−j} of r = relu([x; −x]), j ≤ ν; taylor: [1; x/√√R; x xᵀ/√(2R)]",
    paper="Katharopoulos et al. 2020, arXiv:2006.16236; Schlag et al. 2021, arXiv:2102.11174; Arora et al. 2024, "
    "arXiv:2402.18668",
)
@dataclass(frozen=True)
class FeatureMap(Op):
    """Function of keys and queries whose products stand in for those of an attention kernel, head by head.

    Of R features of a head, `elu1`, `relu` and `softmax` make R, `dpfp` 2 ν R, and `taylor`, whose products are the
    second-order expansion of `exp(q · k / √R)`, 1 + R + R².
    """

    kind: str = setting("elu1", options=_KINDS, help="the function")
    heads: int = setting(1, low=1, help="parts of the width that are mapped by themselves")
    nu: int = setting(1, low=1, help="of dpfp: how many shifts, ν; there are 2 ν features for each one")
    sum_to_one: bool = setting(False, help="whether the features of a head are divided by their sum")

    def infer(self, x: ValueType) -> ValueType:
        part = divides("heads", self.heads, vector(type(self).name, "x", x).width)
        return ValueType((self.heads * self._features(part),), x.rate)

    def _features(self, part: int) -> int:
        return {"dpfp": 2 * part * self.nu, "taylor": 1 + part + part * part}.get(self.kind, part)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        width = self.infer(x).width
        own = {"softmax": 4 * width, "elu1": 2 * width}.get(self.kind, width)
        return Cost(flops=own + (2 * width if self.sum_to_one else 0))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        y = self._mapped(x.unflatten(-1, (self.heads, -1)))
        if self.sum_to_one:
            y = y / (y.sum(-1, keepdim=True) + _LEAST)
        return y.flatten(-2)

    def _mapped(self, x: Tensor) -> Tensor:
        match self.kind:
            case "elu1":
                return F.elu(x) + 1.0
            case "relu":
                return torch.relu(x)
            case "softmax":
                return torch.softmax(x, -1)
            case "dpfp":
                return self._dpfp(x)
        return _taylor(x)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, ctx=ctx), state

    def _dpfp(self, x: Tensor) -> Tensor:
        """Deterministic parameter-free projection, equation 37."""
        r = torch.relu(torch.cat([x, -x], -1))
        return torch.cat([r * r.roll(j, -1) for j in range(1, self.nu + 1)], -1)


def _taylor(x: Tensor) -> Tensor:
    """Based, equation 4: the features of `1 + s + s²/2` with `s = q · k / √R`."""
    x = x / x.shape[-1] ** 0.25
    pairs = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) / math.sqrt(2.0)
    return torch.cat([torch.ones_like(x[..., :1]), x, pairs], -1)
