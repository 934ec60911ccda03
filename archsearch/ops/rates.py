"""Time rates: fewer steps by `pool`, back to more by `upsample`; and time backwards by `reverse`.

A value at rate 1/k has one step for every k of the graph's input: ⌈T/k⌉ steps for a sequence of T, the last window cut
short where k does not divide T. Slow step j is there as soon as its window has closed, after token (j + 1) k − 1, and
never before: that is what keeps a graph with several rates causal.

A step at a time, a node ticks with the fastest of its inputs and outputs: at rate 1/m after tokens m − 1, 2m − 1, …
What ticks slower than that is `None` in between. So `pool` answers `None` but for the step that closes a window, its
readers at the slow rate are stepped only then, and `upsample` is stepped at the rate of its clock, with a value or
`None`. A window that the sequence ends before it closes is answered by the parallel form alone; in a causal graph
nothing reads it.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weights, op, setting

__all__ = ["Pool", "Reverse", "Upsample"]

FLOAT32 = 4  # bytes


@op(family="plumbing", mixes_time=True, equation="y_j = mean, last or max of x_{jk} … x_{jk+k−1}")
@dataclass(frozen=True)
class Pool(Op):
    """One step for every `by` steps: their mean, the last or the largest of each feature."""

    by: int = setting(2, low=1, high=4096, help="steps of one window")
    how: str = setting("mean", options=("mean", "last", "max"), help="what is kept of a window")

    def infer(self, x: ValueType) -> ValueType:
        return ValueType(x.shape, x.rate / self.by)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        if self.how == "last":
            return Cost()
        return Cost(flops=x.size, state_bytes=FLOAT32 * x.size)

    def is_identity(self, x: ValueType) -> bool:
        return self.by == 1

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        whole, rest = x.shape[2] // self.by, x.shape[2] % self.by
        windows = x[:, :, : whole * self.by].unflatten(2, (whole, self.by))
        closed = self._kept(windows, 3)
        if not rest:
            return closed
        return torch.cat([closed, self._kept(x[:, :, whole * self.by :], 2).unsqueeze(2)], 2)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """The state is that of the last window, which takes fewer than `by` steps to know."""
        state: State = {}
        for one in x[:, :, -(x.shape[2] % self.by or self.by) :].unbind(2):
            _, state = self.step(w, state, one, ctx=ctx)
        return self.forward(w, x, ctx=ctx), state

    def _kept(self, x: Tensor, axis: int) -> Tensor:
        match self.how:
            case "mean":
                return x.mean(axis)
            case "max":
                return x.amax(axis)
        return x.select(axis, -1)

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor | None, State]:
        """One step of the fast side: the window's value if this step closes it, else `None`."""
        # Steps are counted by a shape, since to read a number off a device would make every step wait for it.
        seen = 1 + (state["seen"].shape[2] if state else 0)
        so_far, empty = self._so_far(state.get("so_far"), x)
        if seen < self.by:
            return None, {"seen": x.new_zeros(*x.shape[:2], seen, 0), **so_far}
        y = so_far.get("so_far", x)
        return (y / self.by if self.how == "mean" else y), {"seen": x.new_zeros(*x.shape[:2], 0, 0), **empty}

    def _so_far(self, before: Tensor | None, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What is known of the window with `x` in it, and of one without a step."""
        if self.how == "mean":
            return {"so_far": x if before is None else before + x}, {"so_far": torch.zeros_like(x)}
        if self.how == "max":
            largest = x if before is None else torch.maximum(before, x)
            return {"so_far": largest}, {"so_far": torch.full_like(x, -torch.inf)}
        return {}, {}


@op(family="plumbing", ports=("x", "clock"), mixes_time=True, equation="y_t = x_j, j the newest window closed by t")
@dataclass(frozen=True)
class Upsample(Op):
    """The newest slow value at every step of a clock `by` times as fast; zero before the first window has closed.

    Of the clock only its steps are read, never its values.
    """

    by: int = setting(2, low=1, high=4096, help="steps of the clock for one of `x`: that of the `pool` it undoes")
    causal: bool = setting(True, help="false: every step sees its own window, which ends after it")

    def infer(self, x: ValueType, clock: ValueType) -> ValueType:
        if x.rate * self.by != clock.rate:
            rule = "`upsample` must bring its input to the rate of its clock"
            value = f"rate {x.rate} times by={self.by}, clock at rate {clock.rate}"
            raise RuleError(rule, value=value, setting="by")
        return ValueType(x.shape, clock.rate)

    def cost(self, x: ValueType, clock: ValueType, *, time: int) -> Cost:
        return Cost(state_bytes=FLOAT32 * x.size if self.causal else 0)

    def is_causal(self) -> bool:
        return self.causal

    def forward(self, w: Weights, x: Tensor, clock: Tensor, *, ctx: Context) -> Tensor:
        copies, batch, slow, *shape = x.shape
        steps = x.unsqueeze(3).expand(copies, batch, slow, self.by, *shape).flatten(2, 3)
        if self.causal:
            steps = torch.cat([x.new_zeros(copies, batch, self.by - 1, *shape), steps], 2)
        return steps[:, :, : clock.shape[2]]

    def prefill(self, w: Weights, x: Tensor, clock: Tensor, *, ctx: Context) -> tuple[Tensor, State] | None:
        if not self.causal:
            return None
        closed = clock.shape[2] // self.by
        held = x[:, :, closed - 1] if closed else x.new_zeros(*x.shape[:2], *x.shape[3:])
        return self.forward(w, x, clock, ctx=ctx), {"held": held}

    def start(self, w: Weights, batch: int, x: ValueType, clock: ValueType) -> State:
        """Zeros for one copy; the first step brings them to the copies, device and dtype of the clock."""
        return {"held": torch.zeros(1, batch, *x.shape)}

    def step(
        self, w: Weights, state: State, x: Tensor | None, clock: Tensor, *, ctx: Context
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step of the clock; `x` is `None` unless a window has closed with it."""
        if not self.causal:
            raise NotImplementedError("`upsample` with `causal: false` has no step form")
        held = x
        if held is None:
            held = state["held"].to(clock).expand(clock.shape[0], *state["held"].shape[1:])
        return held, {"held": held}


@op(family="plumbing", mixes_time=True, equation="y_t = x_{T−1−t}")
@dataclass(frozen=True)
class Reverse(Op):
    """The sequence backwards, for spaces that say `causal: false`; twice is the identity."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def is_causal(self) -> bool:
        return False

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x.flip(2)
