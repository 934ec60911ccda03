"""The scalar LSTM with exponential gates over all time steps, with the backward pass written out.

N = copies × heads; B batch, T time, C features of a head. Gates are stacked z, i, f, o. With the arguments
`ẑ, î, f̂, ô = x + R h⁻` (Beck et al. 2024, eq. 8–17):

    m = max(log σ(f̂) + m⁻, î)    i = exp(î − m)    f = exp(log σ(f̂) + m⁻ − m)
    c = f c⁻ + i tanh(ẑ)    n = f n⁻ + i    h = σ(ô) c / n

m starts at −∞, so that n is one after the first step and never less later. The outputs do not depend on m: it scales c
and n alike. So the backward pass takes it for a constant, and is exact all the same. Each step takes one product for
all heads of all copies; what multiplies the gradients of h, c and n is known before the loop backwards.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["slstm", "slstm_step"]

State = tuple[Tensor, Tensor, Tensor]


def slstm_step(gates: Tensor, cn: Tensor, m: Tensor) -> tuple[State, State]:
    """One step of the pointwise part.

    Args:
        gates: `(N, B, 4, C)`, the arguments ẑ, î, f̂, ô.
        cn: c and n, `(N, B, 2, C)`.
        m: `(N, B, C)`.

    Returns:
        `h, cn, m` after the step, and what the backward pass needs: the values i, f and `tanh ẑ`.
    """
    z, i, f, o = gates.unbind(2)
    kept = F.logsigmoid(f) + m
    m = torch.maximum(kept, i)
    i, f, z = torch.exp(i - m), torch.exp(kept - m), torch.tanh(z)
    cn = torch.addcmul(torch.stack([i * z, i], 2), f.unsqueeze(2), cn)
    return (torch.sigmoid(o) * cn[:, :, 0] / cn[:, :, 1], cn, m), (i, f, z)


class _Slstm(torch.autograd.Function):
    """From the input's part of the gates `(T, N, B, 4, C)` to h of all steps, and c, n and m of the last."""

    @staticmethod
    def forward(x: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        t, n, b, _, c = x.shape
        gates, values, states = x.new_empty(x.shape), x.new_empty(3, t, n, b, c), x.new_zeros(t + 1, n, b, c)
        cells = x.new_zeros(t + 1, n, b, 2, c)
        m, back = x.new_full((n, b, c), -torch.inf), hidden.mT
        steps = zip(x.unbind(0), gates.unbind(0), values.unbind(1), states[:-1].unbind(0), strict=True)
        for at, (x_t, gate, value, h) in enumerate(steps):
            torch.baddbmm(x_t.flatten(2), h, back, out=gate.view(n, b, 4 * c))
            (new, cn, m), known = slstm_step(gate, cells[at], m)
            states[at + 1], cells[at + 1] = new, cn
            torch.stack(known, out=value)
        return states[1:], cells[-1], m, gates, values, states, cells

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[1], *output[3:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None]:
        if g is None:
            return None, None
        hidden, gates, (i, f, z), states, cells = ctx.saved_tensors
        factor, slope = _slopes(gates, i, f, z, cells)
        grads = torch.empty_like(gates)
        d_h, d_cn = torch.zeros_like(g[0]), torch.zeros_like(cells[0])
        steps = zip(g.unbind(0), f.unbind(0), factor.unbind(0), slope.unbind(0), grads.unbind(0), strict=True)
        for g_t, f_t, factor_t, slope_t, grad in reversed(list(steps)):
            d_h = d_h + g_t
            d_cn = torch.addcmul(d_cn, d_h.unsqueeze(2), factor_t[:, :, :2])
            torch.mul(d_cn[:, :, :1], slope_t[:, :, :3], out=grad[:, :, :3])
            grad[:, :, 1:3].addcmul_(d_cn[:, :, 1:], slope_t[:, :, 3:])
            torch.mul(d_h, factor_t[:, :, 2], out=grad[:, :, 3])
            d_h = torch.bmm(grad.flatten(2), hidden)
            d_cn = d_cn * f_t.unsqueeze(2)
        t, n, b, _, c = gates.shape
        d_rows = grads.permute(1, 3, 4, 0, 2).reshape(n, 4 * c, t * b)
        return grads, torch.bmm(d_rows, states[:-1].transpose(0, 1).reshape(n, t * b, c))


def _slopes(gates: Tensor, i: Tensor, f: Tensor, z: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """What the gradients of h and of c and n are multiplied by.

    Returns:
        `∂h` by c, n and ô, `(T, N, B, 3, C)`, and `∂c` by ẑ, î, f̂ and `∂n` by î, f̂, `(T, N, B, 5, C)`.
    """
    o, rest = torch.sigmoid(gates[:, :, :, 3]), f * torch.sigmoid(-gates[:, :, :, 2])
    c, n = cells[1:].unbind(3)
    by_c, ratio = o / n, c / n
    before_c, before_n = cells[:-1].unbind(3)
    factor = torch.stack([by_c, -by_c * ratio, o * (1.0 - o) * ratio], 3)
    return factor, torch.stack([i * (1.0 - z * z), i * z, rest * before_c, i, rest * before_n], 3)


def slstm(x: Tensor, hidden: Tensor) -> tuple[Tensor, State]:
    """The outputs, from an empty state.

    Args:
        x: the input's part of the gates with their bias, `(T, N, B, 4, C)`.
        hidden: R, `(N, 4·C, C)`.

    Returns:
        `(T, N, B, C)`, and the last h, cn and m, through which no gradient flows, as `slstm_step` has them.
    """
    h, cn, m = _Slstm.apply(x, hidden)[:3]  # type: ignore[no-untyped-call]
    return h, (h[-1], cn, m)
