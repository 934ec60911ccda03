"""A cycle of matrices that runs in chunks: what is written is gathered over all steps, and `matmul`s read it.

The state itself is never held for every step. The slot of its node holds `Written` instead of a tensor, and each
`matmul` that reads it is a `Reading`; `archsearch.graph.fast_weights` sees to it that nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from archsearch.build.forms import fitted
from archsearch.build.plan import Cell, Slots, first
from archsearch.graph.fast_weights import FastWeights
from archsearch.kernels.delta_rule import delta_rule
from archsearch.kernels.linear_attention import Chunks, chunked, last, read, states
from archsearch.kernels.precision import exact, single
from archsearch.ops.base import Context

__all__ = ["Outer", "Pair", "Reading", "Writing", "Written"]

Factor = Tensor | float


@dataclass(frozen=True, slots=True)
class Outer:
    """An outer product that is never formed: its two vectors, `(E, B, T, heads · ...)`, and its sign."""

    x: Any
    y: Any
    sign: float = 1.0


@dataclass(slots=True)
class _State:
    """`decay ⊙ S⁻`, and the outer product that is added to it."""

    decay: Factor = 1.0
    outer: Outer | None = None


@dataclass(slots=True)
class _Read:
    """`rest + S⁻ᵀ w`; `w` in the layout of a vector."""

    rest: Factor = 0.0
    w: Factor = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """All that was written to a state.

    Args:
        chunks: its pieces; before: the state before each.
        size: copies, batch, time, heads.
        by_rows: whether it is read by its rows; otherwise it is held turned over.
    """

    chunks: Chunks
    before: Tensor
    size: tuple[int, int, int, int]
    by_rows: bool

    def read(self, q: Tensor) -> Tensor:
        """`(E, B, T, H · V)` for `(E, B, T, H · R)`."""
        e, b, t, h = self.size
        with exact(q.device):
            y = read(_heads(single(q), h), self.chunks, self.before).view(e, b, h, t, -1)
        return y.transpose(2, 3).flatten(3).to(q.dtype)

    def last(self) -> Tensor:
        """The state after the last step, `(E, B, H, rows, columns)`."""
        e, b, _, h = self.size
        with exact(self.before.device):
            state: Tensor = last(self.chunks, self.before).unflatten(0, (e, b, h))
        return state if self.by_rows else state.mT


@dataclass(slots=True)
class Reading:
    """A `matmul` of a written state and a vector."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        state, q = slots[self.reads[0]], slots[self.reads[1]]
        slots[self.writes[0]] = state.read(q)


@dataclass(slots=True)
class Writing:
    """A component that is linear attention or a delta rule.

    Args:
        cells: in order; the edge of one that reads an outer product from outside reads the `Outer` in its slot.
        clock, reads, writes: slots, as in every call.
        state: the cell that holds the state.
        roles: what was recognised.
    """

    cells: tuple[Cell, ...]
    clock: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    state: int
    roles: FastWeights

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        clock = slots[self.clock]
        forms: list[Any] = []
        cell = self.cells[self.state]
        with exact(clock.device):
            for c in self.cells:
                ins = [_given(slots[e.slot]) if e.cell < 0 else _State() if e.delay else forms[e.cell] for e in c.edges]
                forms.append(_FORMS[c.op.name](c, ins))
            slots[cell.writes[0]] = self._written(forms[self.state], cell, single(clock))

    def _written(self, form: _State, cell: Cell, clock: Tensor) -> Written:
        e, b, t = clock.shape[:3]
        heads, rows, columns = cell.outputs[0].shape
        outer = form.outer
        assert outer is not None
        keys, values = (outer.x, outer.y) if self.roles.by_rows else (outer.y, outer.x)
        width = heads * (columns if self.roles.by_rows else rows)
        reading = values if isinstance(values, _Read) else _Read(values)
        rest = _whole(reading.rest, clock, width)
        start = self._start(cell, clock)
        decay = self._decay(form.decay, clock, heads)
        chunks = chunked(_heads(keys, heads), _heads(rest, heads) * outer.sign, decay, start)
        if self.roles.kind == "delta rule":
            w = _whole(reading.w, clock, keys.shape[3])
            chunks, before = delta_rule(_heads(w, heads) * outer.sign, chunks)
        else:
            before = states(chunks)
        return Written(chunks, before, (e, b, t, heads), self.roles.by_rows)

    def _start(self, cell: Cell, clock: Tensor) -> Tensor | None:
        if cell.start[0] is None:
            return None
        start = first(cell.start[0], clock.new_zeros(()).expand(*clock.shape[:2], *cell.outputs[0].shape))
        return (start if self.roles.by_rows else start.mT).flatten(0, 2)

    @staticmethod
    def _decay(g: Factor, clock: Tensor, heads: int) -> Tensor | None:
        """`(N, T, 1)` or `(N, T, R)`."""
        if isinstance(g, float):
            return None if g == 1.0 else clock.new_full((clock.shape[0] * clock.shape[1] * heads, clock.shape[2], 1), g)
        whole: Tensor = g.expand(*clock.shape[:3], heads, *g.shape[4:]).squeeze(-1)
        return whole.transpose(2, 3).flatten(0, 2)


def _given(x: Tensor | Outer) -> Tensor | Outer:
    return Outer(single(x.x), single(x.y)) if isinstance(x, Outer) else single(x)


def _heads(x: Tensor, heads: int) -> Tensor:
    """`(E, B, T, H · A)` to `(E · B · H, T, A)`."""
    split: Tensor = x.unflatten(3, (heads, -1))
    return split.transpose(2, 3).flatten(0, 2)


def _whole(x: Factor, clock: Tensor, width: int) -> Tensor:
    shape = (*clock.shape[:3], width)
    return x.expand(shape) if isinstance(x, Tensor) else clock.new_full(shape, x)


def _sum(cell: Cell, ins: list[Any]) -> _State | _Read:
    signs = [1.0, -1.0 if cell.op.name == "subtract" else 1.0, *[1.0] * (len(ins) - 2)]
    state = next(((x, s) for x, s in zip(ins, signs, strict=False) if isinstance(x, _State)), None)
    if state is not None:
        outer, sign = next((x, s) for x, s in zip(ins, signs, strict=False) if isinstance(x, Outer))
        return _State(state[0].decay * state[1], Outer(outer.x, outer.y, outer.sign * sign))
    total = _Read()
    for x, sign in zip(ins, signs, strict=False):
        part = x if isinstance(x, _Read) else _Read(x)
        total = _Read(total.rest + sign * part.rest, total.w + sign * part.w)
    return total


def _scaled(cell: Cell, ins: list[Any]) -> _State | _Read:
    (moving,) = (x for x in ins if isinstance(x, _State | _Read))
    factor: Factor = 1.0
    if cell.op.name == "neg":
        factor = -1.0
    elif cell.op.name == "scale":
        factor = float(cell.op.by)  # type: ignore[attr-defined]
    for x in ins:
        if isinstance(x, Tensor):
            factor = factor * fitted(x, cell.outputs[0].shape)
    if isinstance(moving, _State):
        return _State(moving.decay * factor)
    return _Read(moving.rest * factor, moving.w * factor)


def _read(cell: Cell, ins: list[Any]) -> _Read:
    state, x = ins if isinstance(ins[0], _State) else reversed(ins)
    if isinstance(state.decay, float):
        return _Read(w=x * state.decay)
    factor = state.decay.squeeze(-1)  # (E, B, T, H, 1 or R)
    return _Read(w=(x.unflatten(3, (_matrices(cell), -1)) * factor).flatten(3))


def _matrices(cell: Cell) -> int:
    """The heads of the matrices that a `matmul` reads."""
    return next(t.shape[0] for t in cell.inputs if t is not None and len(t.shape) == 3)


def _outer(cell: Cell, ins: list[Any]) -> Outer:
    return Outer(*ins)


_FORMS: Mapping[str, Callable[[Cell, list[Any]], Any]] = {
    "add": _sum,
    "subtract": _sum,
    "multiply": _scaled,
    "neg": _scaled,
    "scale": _scaled,
    "identity": lambda cell, ins: ins[0],
    "matmul": _read,
    "outer": _outer,
}


@dataclass(slots=True)
class Pair:
    """An `outer` off the cycle whose product nobody but the cycle reads: it only hands its vectors on."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]

    def run(self, slots: Slots, ctx: Context) -> None:
        """Reads and writes `slots`."""
        slots[self.writes[0]] = Outer(*(slots[i] for i in self.reads))
