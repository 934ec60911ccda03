"""A cycle that scans: its values as forms over all time steps, then one scan, then what the rest of the graph reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archsearch.build.forms import Form, Key, combine, shifted
from archsearch.build.plan import Cell, Slots, first
from archsearch.kernels.block_scan import block_scan
from archsearch.kernels.scan import cumulate, gated_scan, scan
from archsearch.ops.base import Context

__all__ = ["Scan"]

State = tuple[int, int]
"""A cell and the number of one of its outputs."""


@dataclass(slots=True)
class Scan:
    """A component whose states are diagonal in their past.

    Args:
        cells: in order.
        clock: a slot that gives copies, batch and time.
        reads, writes: slots, as in every call.
        states: those that are scanned, each with how many strides back it is read.
        eliminated: those that are put together from others.
        stride: as many scans are interleaved.
        wanted: the values that are read outside, with their slots.
        gate: the slots of z and c of a state `h = (1 − z) h⁻ + z c`, of whose nodes nothing else has to be known.
    """

    cells: tuple[Cell, ...]
    clock: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    states: tuple[tuple[State, int], ...]
    eliminated: tuple[State, ...]
    stride: int
    wanted: tuple[tuple[State, int], ...]
    gate: tuple[int, int] | None = None

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        clock = slots[self.clock]
        if self.gate is not None:
            ((state, slot),) = self.wanted
            slots[slot] = self._gated(state, slots[self.gate[0]], slots[self.gate[1]], clock)
            return
        forms = self._forms(slots, clock, ctx)
        solved = self._eliminate(forms, clock)
        values = self._solve(forms, clock)
        late: dict[Key, Tensor] = {}

        def read(key: Key) -> Tensor:
            state, delay = key[:2], key[2]
            if key not in late:
                late[key] = shifted(values[state], delay, self._before(state, clock), clock)
            return late[key]

        for state, form in reversed(solved):
            values[state] = self._spread(form.value(read), state, clock)
        for state, slot in self.wanted:
            if state not in values:
                values[state] = self._spread(forms[state].value(read), state, clock)
            slots[slot] = values[state]

    def _gated(self, state: State, gate: Tensor, new: Tensor, clock: Tensor) -> Tensor:
        states = gated_scan(self._lanes(gate), self._lanes(new), self._start(state, clock))
        return self._steps(states, state, clock)

    def _forms(self, slots: Slots, clock: Tensor, ctx: Context) -> dict[State, Form]:
        forms: dict[State, Form] = {}
        for c, cell in enumerate(self.cells):
            ins: list[Any] = []
            for e in cell.edges:
                if e.cell < 0:
                    ins.append(slots[e.slot])
                elif e.delay:
                    ins.append(Form({(e.cell, e.output, e.delay): 1.0}))
                else:
                    ins.append(forms[e.cell, e.output])
            shape = cell.outputs[0].shape
            for k, form in enumerate(combine(cell.op, cell.weights, ins, shape, clock, ctx)):
                forms[c, k] = form
        return forms

    def _eliminate(self, forms: dict[State, Form], clock: Tensor) -> list[tuple[State, Form]]:
        """Puts the forms of eliminated states in the place of their delayed reads; returns those forms."""
        solved = []
        for gone in self.eliminated:
            own = forms[gone]
            solved.append((gone, own))
            left = [s for s, _ in self.states] + [s for s in self.eliminated if s not in dict(solved)]
            for state in left:
                forms[state] = self._without(forms[state], gone, own, clock)
        return solved

    def _without(self, form: Form, gone: State, own: Form, clock: Tensor) -> Form:
        kept = Form({k: a for k, a in form.factors.items() if k[:2] != gone}, form.rest)
        for key, a in form.factors.items():
            if key[:2] != gone:
                continue
            late = Form(
                {(c, k, d + key[2]): shifted(f, key[2], 0.0, clock) for (c, k, d), f in own.factors.items()},
                shifted(own.rest, key[2], self._before(gone, clock), clock),
            )
            kept = kept.plus(late, a)
        return kept

    def _before(self, state: State, clock: Tensor) -> Tensor | float:
        """What is read before the start, `(E, B, *shape)`, or zero."""
        cell = self.cells[state[0]]
        start = cell.start[state[1]]
        if start is None:
            return 0.0
        return first(start, clock.new_zeros(()).expand(*clock.shape[:2], *cell.outputs[state[1]].shape))

    def _spread(self, x: Tensor | float, state: State, clock: Tensor) -> Tensor:
        """All of a value, `(E, B, T, *shape)`."""
        shape = (*clock.shape[:3], *self.cells[state[0]].outputs[state[1]].shape)
        return x.expand(shape) if isinstance(x, Tensor) else clock.new_full((), x).expand(shape)

    def _solve(self, forms: dict[State, Form], clock: Tensor) -> dict[State, Tensor]:
        if len(self.states) == 1 and self.states[0][1] == 1:
            state = self.states[0][0]
            return {state: self._single(state, forms[state], clock)}
        return self._block(forms, clock)

    def _single(self, state: State, form: Form, clock: Tensor) -> Tensor:
        (a,) = form.factors.values()
        b = self._lanes(self._spread(form.rest, state, clock))
        start = self._start(state, clock)
        if isinstance(a, float) and a == 1.0:
            return self._steps(cumulate(b, start), state, clock)
        return self._steps(scan(self._lanes(self._spread(a, state, clock)), b, start), state, clock)

    def _block(self, forms: dict[State, Form], clock: Tensor) -> dict[State, Tensor]:
        """One scan of all lags of all states, `(state, strides back)`, the past ones moved on by a one."""
        rows = [(state, lag) for state, lags in self.states for lag in range(lags)]
        place = {row: i for i, row in enumerate(rows)}
        zero, starts, rests, matrix = clock.new_zeros(()), [], [], []
        like = self._lanes(self._spread(0.0, rows[0][0], clock))
        for state, lag in rows:
            line: list[Tensor] = [zero.expand_as(like)] * len(rows)
            if lag:
                line[place[state, lag - 1]] = like.new_ones(()).expand_as(like)
                rests.append(zero.expand_as(like))
            else:
                for (c, k, d), a in forms[state].factors.items():
                    line[place[(c, k), d // self.stride - 1]] = self._lanes(self._spread(a, state, clock))
                rests.append(self._lanes(self._spread(forms[state].rest, state, clock)))
            matrix.append(torch.stack(line, 2))
            start = self._start(state, clock)
            starts.append(like.new_zeros(like.shape[0], like.shape[2]) if start is None else start)
        states = block_scan(torch.stack(matrix, 2), torch.stack(rests, 2), torch.stack(starts, 1))
        return {s: self._steps(states[:, :, place[s, 0]], s, clock) for s, _ in self.states}

    def _start(self, state: State, clock: Tensor) -> Tensor | None:
        """`(N, stride · L)`, or `None` for zero."""
        before = self._before(state, clock)
        return before.flatten(2).flatten(0, 1).repeat(1, self.stride) if isinstance(before, Tensor) else None

    def _lanes(self, x: Tensor) -> Tensor:
        """`(E, B, T, *shape)` to `(N, T / stride, stride · L)`, filled up at the end."""
        y = x.reshape(x.shape[0] * x.shape[1], x.shape[2], -1)
        if self.stride == 1:
            return y
        gap = -y.shape[1] % self.stride
        if gap:
            y = torch.nn.functional.pad(y, (0, 0, 0, gap))
        return y.reshape(y.shape[0], -1, self.stride * y.shape[2])

    def _steps(self, y: Tensor, state: State, clock: Tensor) -> Tensor:
        """Back from the lanes."""
        shape = self.cells[state[0]].outputs[state[1]].shape
        e, b, t = clock.shape[:3]
        return y.reshape(e * b, -1, y.shape[2] // self.stride)[:, :t].reshape(e, b, t, *shape)
