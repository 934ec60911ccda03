"""Both ends of a fixed point: what stands between them is applied until nothing changes; see `build.implicit`.

Alone, each treats a time step by itself. A graph holds them in pairs, as the shipped definition `fixed_point` does.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.graph.regions import END, START
from archsearch.kernels.fixed_point import SOLVERS
from archsearch.ops.base import Context, Cost, Op, ValueType, Weights, op, setting

__all__ = ["FixedPointEnd", "FixedPointStart"]

_PAPER = "Bai et al. 2019"


@op(START, family="implicit", linearity="elementwise", equation="z⁰ = 0", paper=_PAPER)
@dataclass(frozen=True)
class FixedPointStart(Op):
    """The guess that a fixed point starts from: zero, in the type of its input."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return 0.0 * x


@op(
    END,
    family="implicit",
    ports=("next", "start"),
    equation="z* = f(z*)",
    paper=_PAPER,
)
@dataclass(frozen=True)
class FixedPointEnd(Op):
    """The value that no longer changes when what leads here from `start` is applied to it."""

    steps: int = setting(30, low=1, help="how often the body is applied at most; its cost counts so often")
    tolerance: float = setting(1e-5, low=0, help="|f(z) - z| / |f(z)| at which a time step has converged")
    solver: str = setting("anderson", options=SOLVERS, help="Anderson's acceleration, or plain iteration")

    def infer(self, next: ValueType, start: ValueType) -> ValueType:
        if next != start:
            rule = "the body of a fixed point must give the type that it starts from"
            raise RuleError(rule, value=f"{next} from {start}")
        return next

    def cost(self, next: ValueType, start: ValueType, *, time: int) -> Cost:
        return Cost()

    def forward(self, w: Weights, next: Tensor, start: Tensor, *, ctx: Context) -> Tensor:
        return next
