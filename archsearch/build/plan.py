"""How a graph runs: a flat list of calls over numbered slots, made once, so that a node costs little Python a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from archsearch.build.forms import mask
from archsearch.graph.architecture import Source
from archsearch.graph.types import ValueType
from archsearch.kernels.linear import linear, linears
from archsearch.ops.base import Context, Op
from archsearch.ops.perceptron import Linear

__all__ = ["Call", "Cell", "Edge", "Every", "Linears", "Loop", "Plan", "Shift"]

Slots = list[Any]
Start = tuple[Mapping[str, Any], str] | None
"""What a delayed edge reads before the start: a branch's parameters and a name in it, or `None` for zero."""

NOTHING = 0
"""The slot that stays `None`: what an unconnected optional port reads."""


@dataclass(slots=True)
class Call:
    """One op over all time steps."""

    forward: Callable[..., Any]
    weights: Mapping[str, Any]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    several: bool

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        y = self.forward(self.weights, *[slots[i] for i in self.reads], ctx=ctx)
        if self.several:
            for i, part in zip(self.writes, y, strict=True):
                slots[i] = part
        else:
            slots[self.writes[0]] = y


@dataclass(slots=True)
class Linears:
    """Linear maps of one value; those that the compiler meets later join in."""

    reads: tuple[int, ...]
    writes: tuple[int, ...] = ()
    weights: list[Mapping[str, Any]] = field(default_factory=list)

    def join(self, weights: Mapping[str, Any], write: int) -> None:
        """Takes one more."""
        self.weights.append(weights)
        self.writes = (*self.writes, write)

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        ys = linears(slots[self.reads[0]], [w["weight"] for w in self.weights], [w.get("bias") for w in self.weights])
        for i, y in zip(self.writes, ys, strict=True):
            slots[i] = y


@dataclass(slots=True)
class Shift:
    """`x[t-k]` off a cycle: the sequence moved by k steps, the start in front."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    delay: int
    start: Start

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        x = slots[self.reads[0]]
        gap = min(self.delay, x.shape[2])
        before = first(self.start, x[:, :, 0]).unsqueeze(2).expand(-1, -1, gap, *x.shape[3:])
        slots[self.writes[0]] = torch.cat([before, x[:, :, : x.shape[2] - gap]], 2)


@dataclass(slots=True)
class Every:
    """Every k-th step of a value, the first included: what tells a cycle at a lower rate how many steps it has."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    every: int

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        slots[self.writes[0]] = slots[self.reads[0]][:, :, :: self.every]


def first(start: Start, like: Tensor) -> Tensor:
    """The value before the start, shaped as one step `like`, `(E, B, *shape)`."""
    if start is None:
        return torch.zeros_like(like)
    weights, name = start
    value: Tensor = weights[name]
    return value.unsqueeze(1).expand(value.shape[0], *like.shape[1:])


@dataclass(frozen=True, slots=True)
class Edge:
    """An input of a cell: a slot outside the loop, or an output of cell `cell`, `delay` steps ago."""

    slot: int = NOTHING
    cell: int = -1
    output: int = 0
    delay: int = 0


@dataclass(slots=True)
class Cell:
    """One op on a cycle, run a step at a time."""

    op: Op
    weights: Mapping[str, Any]
    edges: tuple[Edge, ...]
    inputs: tuple[ValueType | None, ...]
    outputs: tuple[ValueType, ...]
    writes: tuple[int, ...]
    start: tuple[Start, ...]
    several: bool


@dataclass(slots=True)
class Loop:
    """A component with a delayed cycle: its cells in order, a step after the other.

    Sequences are split with `unbind` before the loop: `x[:, t]` inside it would cost a full-size gradient a step. Masks
    of `dropout` are drawn before it, all steps at once, as a scan draws them. Linear maps of one value are one product.
    """

    cells: tuple[Cell, ...]
    clock: int
    """A slot that gives copies, batch and time where nothing outside feeds the loop."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        clock = slots[self.clock]
        outside = {i: slots[i].unbind(2) for i in self.reads if slots[i] is not None}
        past: list[list[list[Tensor]]] = [[[] for _ in cell.outputs] for cell in self.cells]
        before = [self._before(cell, clock) for cell in self.cells]
        states = [cell.op.start(cell.weights, clock.shape[1], *cell.inputs) for cell in self.cells]
        masks = [mask(cell.op, clock, cell.outputs[0].shape, ctx) for cell in self.cells]
        drops = [m.unbind(2) if isinstance(m, Tensor) else None for m in masks]
        groups = [_Linears(self.cells, group) for group in _together(self.cells)]
        leads = {group.members[0]: group for group in groups}
        ready: dict[int, Tensor] = {}  # of this step, from linear maps that were computed with others
        outer, ctx = ctx, ctx if ctx.losses is None else replace(ctx, losses=[])
        for t in range(clock.shape[2]):
            for c, cell in enumerate(self.cells):
                xs = [self._read(e, t, outside, past, before) for e in cell.edges]
                drop = drops[c]
                if c in leads:
                    ready.update(leads[c].run(xs[0]))
                if c in ready:
                    y = ready.pop(c)
                elif drop is None:
                    y, states[c] = cell.op.step(cell.weights, states[c], *xs, ctx=ctx)
                else:
                    y = xs[0] * drop[t]
                for out, part in zip(past[c], y if cell.several else (y,), strict=True):
                    out.append(part)
        if outer.losses is not None and ctx.losses:
            outer.losses.append(torch.stack(ctx.losses).sum(0) / clock.shape[2])
        for cell, outs in zip(self.cells, past, strict=True):
            for slot, steps in zip(cell.writes, outs, strict=True):
                slots[slot] = torch.stack(steps, 2)

    @staticmethod
    def _read(e: Edge, t: int, outside: Any, past: Any, before: Any) -> Any:
        if e.cell < 0:
            steps = outside.get(e.slot)
            return None if steps is None else steps[t]
        if t < e.delay:
            return before[e.cell][e.output]
        return past[e.cell][e.output][t - e.delay]

    @staticmethod
    def _before(cell: Cell, clock: Tensor) -> list[Tensor]:
        """What delayed edges out of `cell` read before the start, `(E, B, *shape)` per output."""
        shape = clock.shape[:2]
        return [
            first(start, clock.new_zeros(()).expand(*shape, *kind.shape))
            for start, kind in zip(cell.start, cell.outputs, strict=True)
        ]


def _together(cells: tuple[Cell, ...]) -> list[list[int]]:
    """Groups of linear maps that read the same value, with a bias or without; only groups of several."""
    groups: dict[Any, list[int]] = {}
    for c, cell in enumerate(cells):
        if type(cell.op) is Linear:
            groups.setdefault((cell.edges, cell.op.bias), []).append(c)
    return [members for members in groups.values() if len(members) > 1]


class _Linears:
    """Linear maps of one value as one product, their weights stacked."""

    def __init__(self, cells: tuple[Cell, ...], members: list[int]) -> None:
        self.members = members
        self.widths = [cells[c].outputs[0].width for c in members]
        weights = [cells[c].weights for c in members]
        self.weight = torch.cat([w["weight"] for w in weights], 1)
        self.bias = torch.cat([w["bias"] for w in weights], 1) if "bias" in weights[0] else None

    def run(self, x: Tensor) -> dict[int, Tensor]:
        """Their values, by cell."""
        return dict(zip(self.members, linear(x, self.weight, self.bias).split(self.widths, -1), strict=True))


@dataclass(slots=True)
class Plan:
    """The calls in order; the result of the graph is in slot `output`."""

    calls: list[Call | Linears | Shift | Loop]
    size: int
    inputs: Mapping[str, int]
    output: int
    spent: list[tuple[int, ...]]
    """Per call the slots that nothing reads later; they are let go, so that inference keeps few values alive."""

    places: Mapping[Source, int]
    """The slot of each value, and of each that is read late off a cycle."""

    def run(self, values: Mapping[str, Tensor], ctx: Context) -> Tensor:
        """The output for the inputs by name, each `(E, B, T, *shape)`."""
        slots: Slots = [None] * self.size
        for name, slot in self.inputs.items():
            slots[slot] = values[name]
        for call, spent in zip(self.calls, self.spent, strict=True):
            call.run(slots, ctx)
            for i in spent:
                slots[i] = None
        result: Tensor = slots[self.output]
        return result
