"""Fixed points: what stands between `fixed_point_start` and `fixed_point_end` becomes one op, solved and not unrolled.

The forward pass looks for z* = f(z*, x) without a gradient and applies f once more. The backward pass solves
g = (∂f/∂z)ᵀ g + ḡ at z* by the same solver, and what f hands on from g is the gradient of weights and of x: the
implicit function theorem, so that memory does not grow with the number of iterations.
Bai, Kolter and Koltun 2019, arXiv:1909.01377, eq. 6 to 9.

Legend of shapes: E copies, B batch, T time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.graph.architecture import Architecture, Source
from archsearch.graph.components import live_nodes
from archsearch.graph.opspec import Port
from archsearch.graph.regions import Region, regions
from archsearch.graph.types import ValueType
from archsearch.kernels.fixed_point import Along, solve
from archsearch.ops.base import Context, Op, State, Weight, Weights

__all__ = ["fold"]

Find = Callable[[str], type[Op]]
Values = dict[Source, Any]


def fold(architecture: Architecture, find: Find) -> tuple[Architecture, Find]:
    """The architecture with one node in place of each fixed point, and the classes of its ops.

    Raises:
        RuleError: a fixed point that is no region of its own, or shares weights with what is outside of it.
    """
    made: dict[str, type[Op]] = {}
    shared = _shared(architecture)

    def found(name: str) -> type[Op]:
        return made.get(name) or find(name)

    while waiting := regions(architecture):
        region = waiting[0]
        name = f"fixed_point {region.end.name}"
        made[name] = _op_of(name, region, architecture, found)
        architecture = _without(architecture, region, name, shared.get(region.end.name))
    return architecture, found


def _shared(architecture: Architecture) -> dict[str, str]:
    """What the weights of fixed points are called that share them with other fixed points, by the name of their end."""
    all_regions = regions(architecture)
    inside = [n.name for r in all_regions for n in r.body]
    found: dict[str, str] = {}
    for region in all_regions:
        own = {n.name for n in region.body}
        others = {n.weights: n.name for n in live_nodes(architecture) if n.weights is not None and n.name not in own}
        groups = [n.weights for n in region.body if n.weights in others]
        for group in groups:
            if others[group] not in inside or len(set(inside)) < len(inside):
                rule = "weights inside of a fixed point must not be shared with what is outside of it"
                raise RuleError(rule, value=f"`{group}`, at `{others[group]}` too", node=region.end.name)
        if groups:
            found[region.end.name] = " ".join(filter(None, (n.weights for n in region.body)))
    return found


def _without(architecture: Architecture, region: Region, op: str, weights: str | None) -> Architecture:
    gone = {region.start.name, *(n.name for n in region.body)}
    (origin,) = region.start.inputs[0]
    inputs = ((origin,), *((s,) for s in region.reads))
    node = dataclasses.replace(region.end, op=op, settings={}, inputs=inputs, weights=weights)
    nodes = tuple(node if n.name == node.name else n for n in architecture.nodes if n.name not in gone)
    return dataclasses.replace(architecture, nodes=nodes)


def _op_of(name: str, region: Region, architecture: Architecture, find: Find) -> type[Op]:
    """The op that a region becomes: ports are what it starts from, and then what it reads."""
    homes: dict[str, str] = {}
    cells = []
    around = region.end.name.rpartition(".")[0] + "."
    for node in region.body:
        sources = [s for port in node.inputs for s in (port or (None,))]
        types = tuple(None if s is None else architecture.type_of(s) for s in sources)
        op, short = find(node.op)(**node.settings), node.name.removeprefix(around)
        home = homes.setdefault(node.weights, short) if node.weights else short
        several = isinstance(op.infer(*types), tuple)
        cells.append(_Cell(node.name, short, home, op, tuple(sources), types, several))
    attributes = {
        "name": name,
        "ports": tuple(Port(f"x{i}") for i in range(1 + len(region.reads))),
        "mixes_time": any(c.op.mixes_time for c in cells),
        "region": region,
        "cells": tuple(cells),
    }
    return dataclass(frozen=True)(type("Solved", (_Implicit,), attributes))


@dataclass(frozen=True, slots=True)
class _Cell:
    """One node of the body; `short` is its name below that of the fixed point, `home` that of whose weights it has."""

    name: str
    short: str
    home: str
    op: Op
    sources: tuple[Source | None, ...]
    types: tuple[ValueType | None, ...]
    several: bool


@dataclass(frozen=True)
class _Implicit(Op):
    """A fixed point as an op."""

    region: ClassVar[Region]
    cells: ClassVar[tuple[_Cell, ...]]
    family: ClassVar[str] = "implicit"

    def infer(self, *types: ValueType) -> ValueType:
        return self.region.end.types[0]

    def is_causal(self) -> bool:
        return all(c.op.is_causal() for c in self.cells)

    def weights(self, *types: ValueType) -> tuple[Weight, ...]:
        own = (c for c in self.cells if c.home == c.short)
        return tuple(dataclasses.replace(w, name=f"{c.short}.{w.name}") for c in own for w in c.op.weights(*c.types))

    # ---- the body --------------------------------------------------------------------------------------------------

    def _body(self, w: Weights, values: Values, run: Callable[[_Cell, Mapping[str, Tensor], list[Any]], Any]) -> Tensor:
        """One application; `values` are what stands outside, and z under the name of the start."""
        for cell in self.cells:
            y = run(cell, _weights_of(w, cell), [None if s is None else values[s] for s in cell.sources])
            for k, part in enumerate(y if cell.several else (y,)):
                values[Source(cell.name, k)] = part
        out: Tensor = values[self.region.next]
        return out

    def _outside(self, z: Tensor, inputs: tuple[Tensor, ...]) -> Values:
        return {Source(self.region.start.name): z, **dict(zip(self.region.reads, inputs[1:], strict=True))}

    def _solved(self, f: Callable[[Tensor, Context], Tensor], like: Tensor, ctx: Context) -> Tensor:
        """The fixed point of `f` with the gradient of the implicit function theorem.

        The body counts `steps` applications: all but one look for z*, and one is where the gradient flows.
        """
        settings = dict(self.region.end.settings)
        steps = settings.pop("steps") - 1
        quiet = dataclasses.replace(ctx, losses=None)
        with _same_noise(ctx) as again:
            with torch.no_grad():

                def body(z: Tensor) -> Tensor:
                    return again(lambda: f(z, quiet))

                z = solve(body, torch.zeros_like(like), steps=steps, along=self._along(), **settings)
            point = z.requires_grad_(torch.is_grad_enabled())
            y = again(lambda: f(point, ctx))
        if not y.requires_grad:
            return y

        def adjoint(g: Tensor, grad: Tensor) -> Tensor:
            (back,) = torch.autograd.grad(y, point, g, retain_graph=True)
            return back + grad

        def find(grad: Tensor) -> Tensor:
            along = self._along(back=True)
            return solve(lambda g: adjoint(g, grad), grad, steps=max(steps, 1), along=along, **settings)

        out: Tensor = _Adjoint.apply(y, find)  # type: ignore[no-untyped-call]
        return out

    def _along(self, back: bool = False) -> Along:
        """What a time step waits for: a body that mixes time carries errors from step to step."""
        if not self.mixes_time:
            return ""
        if not self.is_causal():
            return "all"
        return "future" if back else "past"

    # ---- the op ----------------------------------------------------------------------------------------------------

    def forward(self, w: Weights, *inputs: Tensor, ctx: Context) -> Tensor:
        def f(z: Tensor, ctx: Context) -> Tensor:
            values = self._outside(z, inputs)
            return self._body(w, values, lambda cell, own, xs: cell.op.forward(own, *xs, ctx=ctx))

        return self._solved(f, inputs[0], ctx)

    def prefill(self, w: Weights, *inputs: Tensor, ctx: Context) -> tuple[Tensor, State] | None:
        if any(c.op.mixes_time and type(c.op).prefill is Op.prefill for c in self.cells):
            return None
        z = self.forward(w, *inputs, ctx=ctx)
        kept: State = {}
        whole = True

        def run(cell: _Cell, own: Mapping[str, Tensor], xs: list[Any]) -> Any:
            nonlocal whole
            if not cell.op.mixes_time:
                return cell.op.forward(own, *xs, ctx=ctx)
            done = cell.op.prefill(own, *xs, ctx=ctx)
            if done is None:
                whole = False
                return cell.op.forward(own, *xs, ctx=ctx)
            kept.update({f"{cell.short}:{key}": value for key, value in done[1].items()})
            return done[0]

        y = self._body(w, self._outside(z, inputs), run)
        return (y, kept) if whole else None

    def start(self, w: Weights, batch: int, *types: ValueType) -> State:
        return {
            f"{cell.short}:{key}": value
            for cell in self.cells
            for key, value in cell.op.start(_weights_of(w, cell), batch, *cell.types).items()
        }

    def step(self, w: Weights, state: State, *inputs: Tensor, ctx: Context) -> tuple[Tensor, State]:
        """Every application starts from the same past; what it keeps is that of the last one."""
        kept: State = {}

        def run(cell: _Cell, own: Mapping[str, Tensor], xs: list[Any], ctx: Context) -> Any:
            past = {key: state[f"{cell.short}:{key}"] for key in _keys(state, cell)}
            y, new = cell.op.step(own, past, *xs, ctx=ctx)
            kept.update({f"{cell.short}:{key}": value for key, value in new.items()})
            return y

        def f(z: Tensor, ctx: Context) -> Tensor:
            values = self._outside(z.squeeze(2), inputs)
            return self._body(w, values, lambda cell, own, xs: run(cell, own, xs, ctx)).unsqueeze(2)

        y = self._solved(f, inputs[0].unsqueeze(2), ctx).squeeze(2)
        return y, kept


class _Adjoint(torch.autograd.Function):
    """Its input, whose gradient is that of the fixed point."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, find: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.find = find
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.find(grad), None


def _weights_of(w: Weights, cell: _Cell) -> dict[str, Tensor]:
    """The weights of one node of the body, by their own names."""
    prefix = f"{cell.home}."
    names = {weight.name for weight in cell.op.weights(*cell.types)}
    return {name: w[prefix + name] for name in names}


def _keys(state: State, cell: _Cell) -> list[str]:
    prefix = f"{cell.short}:"
    return [key.removeprefix(prefix) for key in state if key.startswith(prefix)]


@contextmanager
def _same_noise(ctx: Context) -> Iterator[Callable[[Callable[[], Tensor]], Tensor]]:
    """Gives each application the same random numbers: dropout draws one mask for the whole search, as Bai et al. do."""
    generators = ctx.generators if ctx.training else None
    before = [g.get_state() for g in generators or ()]

    def again(f: Callable[[], Tensor]) -> Tensor:
        for generator, state in zip(generators or (), before, strict=True):
            generator.set_state(state)
        return f()

    yield again
