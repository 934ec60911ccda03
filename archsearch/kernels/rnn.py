"""The Elman network over all time steps, all copies in one loop, with the backward pass written out.

E copies, B batch, T time, D features in, W features of the state: `h = f(x + U h⁻ + b)`, f tanh or relu. Forward and
backward take one product and one pointwise operation a step; the gradients of the weights are one product after the
loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.precision import exact, single

__all__ = ["rnn"]


class _Rnn(torch.autograd.Function):
    """From the projected input `(E, T, B, W)` to the states of the same shape."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, relu: bool) -> tuple[Tensor, Tensor]:
        e, t, b, w = x.shape
        states = x.new_empty(e, t + 1, b, w)
        states[:, 0] = 0.0
        h, back = states[:, 0], weight.mT
        for x_t, new in zip(x.unbind(1), states.unbind(1)[1:], strict=True):
            h = torch.baddbmm(x_t, h, back, out=new)
            h.relu_() if relu else h.tanh_()
        return states[:, 1:], states

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[1], output[1])
        ctx.relu = inputs[2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None, None]:
        if g is None:
            return None, None, None
        weight, states = ctx.saved_tensors
        before, after = states[:, :-1], states[:, 1:]
        slope = (after > 0).to(g.dtype) if ctx.relu else 1.0 - after * after
        grads = torch.empty_like(slope)
        later = torch.zeros_like(g[:, 0])
        steps = zip(g.unbind(1), slope.unbind(1), grads.unbind(1), strict=True)
        for g_t, slope_t, grad in reversed(list(steps)):
            later = torch.mul(torch.baddbmm(g_t, later, weight), slope_t, out=grad)
        e, t, b, w = before.shape
        d_weight = torch.bmm(grads.reshape(e, t * b, w).mT, before.reshape(e, t * b, w))
        return grads, d_weight, None


def rnn(
    x: Tensor, input: Tensor, hidden: Tensor, input_bias: Tensor, hidden_bias: Tensor, *, relu: bool = False
) -> Tensor:
    """The states of an Elman network that starts from zero.

    Args:
        x: `(E, B, T, D)`.
        input, hidden: `(E, W, D)` and `(E, W, W)`; biases `(E, W)`.
        relu: whether f is relu and not tanh.

    Returns:
        `(E, B, T, W)`, a view with time before the batch in memory.
    """
    e, b, t, d = x.shape
    flat = x.transpose(1, 2).reshape(e, t * b, d)
    projected = torch.baddbmm((input_bias + hidden_bias).unsqueeze(1), flat, input.mT).view(e, t, b, -1)
    with exact(x.device):
        states: Tensor = _Rnn.apply(single(projected), single(hidden), relu)[0]  # type: ignore[no-untyped-call]
    return states.transpose(1, 2).to(projected.dtype)
