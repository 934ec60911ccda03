"""The gated recurrent unit over all time steps, all copies in one loop, with the backward pass written out.

E copies, B batch, T time, D features in, W features of the state. Gates are stacked r, z, n, as in `torch.nn.GRU`:

    r, z = σ(x + U h⁻ + b)    m = U_n h⁻ + b_n    n = tanh(x_n + r ⊙ m)    h = n + z ⊙ (h⁻ − n)

Forward takes one product and five pointwise operations a step. Backward takes one product and two: what multiplies the
gradient of h is known before the loop, and the gradients of the weights are one product after it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.precision import exact, single

__all__ = ["gru"]


class _Gru(torch.autograd.Function):
    """From the projected input `(E, T, B, 3W)` to the states `(E, T, B, W)`."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        e, t, b, w = *x.shape[:3], weight.shape[-1]
        states = x.new_empty(e, t + 1, b, w)
        states[:, 0] = 0.0
        gates, inner = torch.empty_like(x), x.new_empty(e, t, b, w)
        steps = zip(x.unbind(1), gates.unbind(1), inner.unbind(1), states.unbind(1)[1:], strict=True)
        h, back, offset = states[:, 0], weight.mT, bias.unsqueeze(1)
        for x_t, gate, m, new in steps:
            y = torch.baddbmm(offset, h, back)
            rz, n = gate[..., : 2 * w], gate[..., 2 * w :]
            torch.add(x_t[..., : 2 * w], y[..., : 2 * w], out=rz).sigmoid_()
            m.copy_(y[..., 2 * w :])
            torch.addcmul(x_t[..., 2 * w :], rz[..., :w], m, out=n).tanh_()
            h = torch.lerp(n, h, rz[..., w:], out=new)
        return states[:, 1:], states, gates, inner

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, states, gates, inner = output
        ctx.mark_non_differentiable(states, gates, inner)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[1], states, gates, inner)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if g is None:
            return None, None, None
        weight, states, gates, inner = ctx.saved_tensors
        e, t, b, w = inner.shape
        before = states[:, :-1]
        r, z, n = gates.split(w, -1)
        d_n = (1.0 - z) * (1.0 - n * n)  # ∂h/∂(argument of n), and so on for the others
        factors = torch.stack([d_n * r, d_n * inner * r * (1.0 - r), (before - n) * z * (1.0 - z), d_n], 3)
        grads = torch.empty_like(factors)  # of m, r, z, n: the first three meet U, the last three meet x
        turned = weight.roll(w, 1)  # rows in the order n, r, z
        d_h = torch.zeros_like(g[:, 0])
        steps = zip(g.unbind(1), z.unbind(1), factors.unbind(1), grads.unbind(1), strict=True)
        for g_t, z_t, factor, grad in reversed(list(steps)):
            d_h = d_h + g_t
            torch.mul(d_h.unsqueeze(2), factor, out=grad)
            d_h = torch.baddbmm(d_h * z_t, grad[:, :, :3].flatten(2), turned)
        d_y = grads[:, :, :, :3].reshape(e, t * b, 3 * w)
        d_weight = torch.bmm(d_y.mT, before.reshape(e, t * b, w)).roll(-w, 1)
        return grads[:, :, :, 1:].flatten(3), d_weight, d_y.sum(1).roll(-w, 1)


def gru(x: Tensor, input: Tensor, hidden: Tensor, input_bias: Tensor, hidden_bias: Tensor) -> Tensor:
    """The states of a GRU that starts from zero.

    Args:
        x: `(E, B, T, D)`.
        input, hidden: `(E, 3W, D)` and `(E, 3W, W)`; biases `(E, 3W)`.

    Returns:
        `(E, B, T, W)`, a view with time before the batch in memory.
    """
    e, b, t, d = x.shape
    flat = x.transpose(1, 2).reshape(e, t * b, d)
    projected = torch.baddbmm(input_bias.unsqueeze(1), flat, input.mT).view(e, t, b, -1)
    with exact(x.device):
        states: Tensor = _Gru.apply(*map(single, (projected, hidden, hidden_bias)))[0]  # type: ignore[no-untyped-call]
    return states.transpose(1, 2).to(projected.dtype)
