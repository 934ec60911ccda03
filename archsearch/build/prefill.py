"""All steps of a prompt: at once what is on no cycle or on one that scans or runs in chunks, the rest step by step.

An op that mixes time leaves its state by `Op.prefill` where it offers that, else by its steps. What is read late leaves
its last values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archsearch.build.fast_weights import Outer, Writing, Written
from archsearch.build.steps import Cell, Line, Steps, period
from archsearch.graph.types import ValueType
from archsearch.ops.base import Context

__all__ = ["prefill"]


def prefill(steps: Steps, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The output of the graph at every step, `(E, B, T, *shape)`, and what it keeps after the last.

    Args:
        x: the input of the graph, `(E, B, T, D)`, T at least 1.
    """
    return _Prompt(steps, x).run()


class _Prompt:
    """One prompt on its way: all steps of every value by slot, and what is kept after the last."""

    def __init__(self, steps: Steps, x: Tensor) -> None:
        self.steps, self.x, self.ctx = steps, x, Context()
        self.slots: list[Any] = [None] * steps.size
        self.slots[steps.input] = x
        self.state: dict[str, Tensor] = {}
        self.lines = {line.now: line for line in steps.lines.values()}
        self.late = {slot: (line, delay) for line in steps.lines.values() for delay, slot in line.late.items()}

    def run(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The output and the state."""
        for component in self.steps.order:
            cells = [self.steps.cells[name] for name in component.nodes]
            if component.cyclic:
                self._cycle(cells)
            else:
                self._alone(cells[0])
        for line in self.lines.values():
            written = self.slots[line.now]
            if isinstance(written, Written):
                self.state[line.names[0]] = written.last()
                continue
            newest = self._with_start(line).flip(2).unbind(2)
            self.state |= zip(line.names, newest, strict=False)
        output: Tensor = self._read(self.steps.output)
        return output, self.state

    def _alone(self, cell: Cell) -> None:
        """A node that is on no cycle."""
        if cell.name in self.steps.unplanned and self._ticks(cell.period):
            return
        done = self._at_once(cell) if self._ticks(cell.period) else None
        if done is None:
            self._loop([cell])
            return
        y, kept = done
        for slot, kind, part in zip(cell.writes, cell.outputs, y if cell.several else (y,), strict=True):
            self.slots[slot] = part[:, :, : self._ticks(period(kind))]  # a window cut short never closes
        self._keep(cell, kept)

    def _at_once(self, cell: Cell) -> tuple[Any, Mapping[str, Tensor]] | None:
        """What a node answers and keeps, unless it has to go through its steps."""
        xs = [self._read(slot) for slot in cell.reads]
        for state, q in (xs, xs[::-1]) if len(xs) == 2 else ():
            if isinstance(state, Written):
                return state.read(q), {}
        if cell.op.mixes_time:
            return cell.op.prefill(cell.weights, *xs, ctx=self.ctx)
        return cell.op.forward(cell.weights, *xs, ctx=self.ctx), {}

    def _cycle(self, cells: list[Cell]) -> None:
        """All nodes of a cycle, by its scan or its chunks where it has them."""
        scan, ticks = self.steps.scans.get(cells[0].name), self._ticks(cells[0].period)
        if scan is None or not ticks:
            self._loop(cells)
            return
        there: list[Any] = [None] * self.steps.plan.size  # the slots of the plan
        for slot in filter(None, scan.reads):
            there[slot] = self._planned(slot)
        there[scan.clock] = self.x[:, :, :ticks]
        if isinstance(scan, Writing):
            scan.run(there, self.ctx)
            self.slots[cells[scan.state].writes[0]] = there[scan.cells[scan.state].writes[0]]
            return
        late = {(c, k) for c, cell in enumerate(cells) for k, slot in enumerate(cell.writes) if slot in self.lines}
        wanted = sorted(late | {state for state, _ in scan.wanted})
        replace(scan, wanted=tuple((s, scan.cells[s[0]].writes[s[1]]) for s in wanted)).run(there, self.ctx)
        for c, k in wanted:
            self.slots[cells[c].writes[k]] = there[scan.cells[c].writes[k]]

    def _loop(self, cells: list[Cell]) -> None:
        """Cells in order, a step after the other."""
        rate = cells[0].period  # of all of them: what stands on a cycle does not mix time, and so has one rate
        past = {slot: self._before(slot) for cell in cells for slot in cell.writes}
        reads = [[self._given(*edge, past, rate) for edge in zip(c.reads, c.types, strict=True)] for c in cells]
        kept = [self._fresh(cell) for cell in cells]
        for n in range(self._ticks(rate)):
            for i, cell in enumerate(cells):
                xs = [steps[n + shift] for steps, shift in reads[i]]
                y, kept[i] = cell.op.step(cell.weights, kept[i], *xs, ctx=self.ctx)
                for slot, part in zip(cell.writes, y if cell.several else (y,), strict=True):
                    past[slot].append(part)
        for cell, state in zip(cells, kept, strict=True):
            self._keep(cell, state)
            for slot, kind in zip(cell.writes, cell.outputs, strict=True):
                found = [v for v in past[slot][len(self._before(slot)) :] if v is not None]
                none = self.x.new_zeros(*self.x.shape[:2], 0, *kind.shape)
                self.slots[slot] = torch.stack(found, 2) if found else none

    # ---- what is read ----------------------------------------------------------------------------------------------

    def _planned(self, slot: int) -> Any:
        """All steps of a value in a slot of the plan, or the vectors of an outer product."""
        if slot in self.steps.pairs:
            return Outer(*(self._planned(s) for s in self.steps.pairs[slot].reads))
        return self._read(self.steps.slots[self.steps.sources[slot]])

    def _ticks(self, every: int) -> int:
        return int(self.x.shape[2]) // every

    def _read(self, slot: int) -> Any:
        """All steps of a value, moved where it is read late."""
        if slot not in self.late:
            return self.slots[slot]
        line, delay = self.late[slot]
        return self._with_start(line).narrow(2, len(line.names) - delay, self._ticks(line.period))

    def _with_start(self, line: Line) -> Tensor:
        """As many times the value before the start as the longest delay asks for, and all steps."""
        before = line.before(self.x, *self.x.shape[:2]).unsqueeze(2)
        return torch.cat([before.expand(-1, -1, len(line.names), *line.kind.shape), self.slots[line.now]], 2)

    def _before(self, slot: int) -> list[Any]:
        line = self.lines.get(slot)
        return [line.before(self.x, *self.x.shape[:2])] * len(line.names) if line else []

    def _given(
        self, slot: int, kind: ValueType | None, past: Mapping[int, list[Any]], rate: int
    ) -> tuple[Sequence[Any], int]:
        """What a slot holds at each tick of a loop, and how many entries come before the first of them."""
        if slot in past:
            return past[slot], len(self._before(slot))
        if slot in self.late and self.late[slot][0].now in past:
            line, delay = self.late[slot]
            return past[line.now], len(line.names) - delay
        if kind is None:
            return [None] * self._ticks(rate), 0
        steps, every = self._read(slot).unbind(2), period(kind) // rate
        return [steps[n // every] if n % every == every - 1 else None for n in range(self._ticks(rate))], 0

    # ---- what is kept ----------------------------------------------------------------------------------------------

    def _fresh(self, cell: Cell) -> dict[str, Tensor]:
        return cell.op.start(cell.weights, int(self.x.shape[1]), *cell.types)

    def _keep(self, cell: Cell, kept: Mapping[str, Tensor]) -> None:
        self.state |= {f"{cell.name}:{key}": value for key, value in kept.items()}
