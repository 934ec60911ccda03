"""Affine maps of one copy or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.dispatch import linears_at_once

__all__ = ["linear", "linears"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`y = x Wᵀ + b`, each copy with its own weights.

    One copy goes to the plain `F.linear`, several to one batched product.

    Args:
        x: `(E, ..., I)`, or `(1, ..., I)` for one input that all copies read.
        weight: `(E, O, I)`.
        bias: `(E, O)`.

    Returns:
        `(E, ..., O)`.
    """
    copies = weight.shape[0]
    if copies == 1:
        return F.linear(x, weight.squeeze(0), None if bias is None else bias.squeeze(0))
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    if x.shape[0] != copies:
        flat = flat.expand(copies, -1, -1)
    y = torch.bmm(flat, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)
    return y.view(copies, *x.shape[1:-1], weight.shape[1])


def linears(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> list[Tensor]:
    """Several affine maps of one value; the gradient of the value is summed up within the products.

    Args:
        x: as in `linear`; weights, biases: of each map.
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    if len(weights) == 1 or autocast or not linears_at_once(x.device, x.numel()):
        return [linear(x, w, b) for w, b in zip(weights, biases, strict=True)]
    copies = weights[0].shape[0]
    flat = x.reshape(x.shape[0], -1, x.shape[-1]).expand(copies, -1, -1)
    found = _Linears.apply(flat, len(weights), *weights, *biases)  # type: ignore[no-untyped-call]
    return [y.view(copies, *x.shape[1:-1], y.shape[-1]) for y in found]


class _Linears(torch.autograd.Function):
    """Values `(E, R, I)`; saves the value and the weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, *rest: Any) -> tuple[Tensor, ...]:
        weights, biases = rest[:count], rest[count:]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *weights)
        return tuple(
            _product(x, w.mT, None if b is None else b.unsqueeze(1)) for w, b in zip(weights, biases, strict=True)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gs: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        needs, count = ctx.needs_input_grad[2:], len(weights)
        d_x = None
        d_w = [_product(g.mT, x) if g is not None and need else None for g, need in zip(gs, needs, strict=False)]
        d_b = [g.sum(1) if g is not None and need else None for g, need in zip(gs, needs[count:], strict=True)]
        for g, w in zip(gs, weights, strict=True):
            if g is not None and ctx.needs_input_grad[0]:
                d_x = _product(g, w) if d_x is None else _add_product(d_x, g, w)
        return d_x, None, *d_w, *d_b


def _product(a: Tensor, b: Tensor, plus: Tensor | None = None) -> Tensor:
    if a.shape[0] == 1:
        y = torch.mm(a[0], b[0]) if plus is None else torch.addmm(plus[0], a[0], b[0])
        return y.unsqueeze(0)
    return torch.bmm(a, b) if plus is None else torch.baddbmm(plus, a, b)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    if a.shape[0] == 1:
        total[0].addmm_(a[0], b[0])
        return total
    return total.baddbmm_(a, b)
