"""Tries out, with random numbers, what ops say of their linearity: the compiler of recurrences takes their word for it.

Along a random line x + s d an affine function has no second difference. Feature by feature means that a random mask
goes through: f(x + m ⊙ d) − f(x) = m ⊙ (f(x + d) − f(x)). An op that is neither passes by chance alone, unless it
behaves so wherever random numbers fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from archsearch.build.plan import Cell
from archsearch.errors import RuleError
from archsearch.ops.base import Context

__all__ = ["probe"]

_TOLERANCE = 1e-8  # in double precision, of the largest value met
_BATCH = 3


def probe(cells: Iterable[Cell], seed: int = 0) -> None:
    """Checks the ops of a cycle in double precision on the CPU, without touching any state of theirs.

    Raises:
        RuleError: an op is not as linear as it says.
    """
    generator = torch.Generator().manual_seed(seed)
    for cell in cells:
        if cell.op.linearity != "nonlinear":
            _probe(cell, generator)


def _probe(cell: Cell, generator: torch.Generator) -> None:
    weights = {name: w.detach().double().cpu() for name, w in cell.weights.items()}
    copies = next((w.shape[0] for w in weights.values()), 1)

    def draw(kind: Any) -> Tensor | None:
        shape = None if kind is None else (copies, _BATCH, *kind.shape)
        return None if shape is None else torch.randn(shape, generator=generator, dtype=torch.float64)

    def run(xs: list[Any]) -> list[Tensor]:
        y, _ = cell.op.step(weights, {}, *xs, ctx=Context())
        return list(y) if isinstance(y, tuple) else [y]

    xs, ds = ([draw(kind) for kind in cell.inputs] for _ in range(2))
    alone = cell.op.linearity in ("product", "bilinear")
    ports = [[i] for i, x in enumerate(xs) if x is not None]
    for moved in ports if alone else [[i for port in ports for i in port]]:
        if not _is_affine(run, xs, ds, moved):
            rule = (
                f"an op that says it is {cell.op.linearity} must be affine in {'each input' if alone else 'its inputs'}"
            )
            raise RuleError(rule, value=f"`{cell.op.name}`")
        if cell.op.linearity in ("elementwise", "product") and not _keeps_masks(run, xs, ds, moved, generator):
            rule = f"an op that says it is {cell.op.linearity} must keep the features apart"
            raise RuleError(rule, value=f"`{cell.op.name}`")


def _moved(xs: list[Any], ds: list[Any], which: list[int], by: float | Tensor) -> list[Any]:
    return [x + by * d if i in which else x for i, (x, d) in enumerate(zip(xs, ds, strict=True))]


def _is_affine(run: Callable[[list[Any]], list[Tensor]], xs: list[Any], ds: list[Any], which: list[int]) -> bool:
    points = [run(_moved(xs, ds, which, by)) for by in (0.0, 1.0, 3.0)]
    return all(_equal(c - a, 3.0 * (b - a)) for a, b, c in zip(*points, strict=True))


def _keeps_masks(
    run: Callable[[list[Any]], list[Tensor]],
    xs: list[Any],
    ds: list[Any],
    which: list[int],
    generator: torch.Generator,
) -> bool:
    """Only where all that moves has the shape of the output: smaller factors are constants on a cycle."""
    outs = run(xs)
    if any(xs[i].shape != y.shape for i in which for y in outs):
        return True
    mask = torch.randint(0, 2, outs[0].shape, generator=generator).double()
    whole, part = run(_moved(xs, ds, which, 1.0)), run(_moved(xs, ds, which, mask))
    return all(_equal(p - y, mask * (w - y)) for y, w, p in zip(outs, whole, part, strict=True))


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= _TOLERANCE * max(1.0, b.abs().max().item()))
