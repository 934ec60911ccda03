"""A leaky tanh network whose weights stay as they are, all copies in one loop, with the backward pass written out.

E copies, B batch, T time, N units: `h = (1 − a) h⁻ + a tanh(x + W h⁻)`. Only x wants a gradient, so that a step of the
backward pass is one product and three pointwise operations, and nothing is left to do after the loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.precision import single

__all__ = ["reservoir"]


class _Reservoir(torch.autograd.Function):
    """From what enters the units, `(E, T, B, N)`, to their states of the same shape."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, leak: float) -> tuple[Tensor, Tensor]:
        states, active = torch.empty_like(x), torch.empty_like(x)
        h, back = torch.zeros_like(x[:, 0]), weight.mT
        for x_t, a_t, new in zip(x.unbind(1), active.unbind(1), states.unbind(1), strict=True):
            torch.baddbmm(x_t, h, back, out=a_t).tanh_()
            h = torch.lerp(h, a_t, leak, out=new)
        return states, active

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[1], output[1])
        ctx.leak = inputs[2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None]:
        if g is None:
            return None, None, None
        weight, active = ctx.saved_tensors
        slope = ctx.leak * (1.0 - active * active)
        grads, d_h = torch.empty_like(slope), torch.zeros_like(g[:, 0])
        steps = zip(g.unbind(1), slope.unbind(1), grads.unbind(1), strict=True)
        for g_t, slope_t, grad in reversed(list(steps)):
            d_h = d_h + g_t
            torch.mul(d_h, slope_t, out=grad)
            d_h = torch.baddbmm(d_h, grad, weight, beta=1.0 - ctx.leak)
        return grads, None, None


def reservoir(x: Tensor, weight: Tensor, leak: float) -> Tensor:
    """The states of units that start from zero.

    Args:
        x: `(E, B, T, N)`, what enters the units from outside.
        weight: `(E, N, N)`; gets no gradient.
        leak: a, above 0 and at most 1.

    Returns:
        `(E, B, T, N)`, a view with time before the batch in memory.
    """
    steps = single(x).transpose(1, 2).contiguous()
    states: Tensor = _Reservoir.apply(steps, single(weight), leak)[0]  # type: ignore[no-untyped-call]
    return states.transpose(1, 2).to(x.dtype)
