"""The selective scan of Mamba over all time steps, with the backward pass written out.

E copies, B batch, T time, D features, N states of a feature; K steps of a chunk. The recurrence is, for each feature,

    h_t = a_t ⊙ h_{t−1} + (Δ_t x_t) B_t,   y_t = C_tᵀ h_t,   a_t = exp(Δ_t A), or 2 exp(Δ_t A) − 1

(Gu and Dao 2023, arXiv:2312.00752, algorithm 2; the second form has eigenvalues in (−1, 1): Grazzi et al. 2024,
arXiv:2411.12537). The states of all steps, N times as large as the input, are never held: forward keeps the state
before each chunk, and backward computes a chunk's decays and states again. Examples go in blocks, so that a chunk stays
in a processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels.dispatch import selective_chunk
from archsearch.kernels.precision import single
from archsearch.kernels.scan import scan

__all__ = ["decay_of", "selective_scan"]

_LOG2_E = 1.0 / math.log(2.0)


def decay_of(log_decay: Tensor, signed: bool) -> Tensor:
    """The factor of one step: `exp(log_decay)`, or `2 exp(log_decay) − 1` where eigenvalues may be negative."""
    decay = torch.exp(log_decay)
    return 2.0 * decay - 1.0 if signed else decay


def selective_scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, *, signed: bool = False
) -> tuple[Tensor, Tensor]:
    """All outputs, and the state after the last step.

    Args:
        x, dt: `(E, B, T, D)`.
        a: `(E, N, D)`.
        b, c: `(E, B, T, N)`.
        signed: whether eigenvalues are in (−1, 1) and not in (0, 1).

    Returns:
        `(E, B, T, D)` and `(E, B, N, D)`; no gradient flows through the state.
    """
    out = _SelectiveScan.apply(*map(single, (x, dt, a, b, c)), signed)  # type: ignore[no-untyped-call]
    return out[0].to(x.dtype), out[1].to(x.dtype)


class _SelectiveScan(torch.autograd.Function):
    """Saves its inputs and the state before each chunk."""

    @staticmethod
    def forward(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, signed: bool) -> tuple[Tensor, ...]:
        e, n, d = a.shape
        length = selective_chunk(x.device, x.shape[2])
        chunks = -(-x.shape[2] // length)
        y = x.new_empty(x.shape)
        before = x.new_empty(chunks + 1, e, x.shape[1], n, d)
        for at in _blocks(x, n):
            _forward(y[at], before[:, *at], *(v[at] for v in (x, dt)), a[at[0]], *(v[at] for v in (b, c)), signed)
        return y, before[-1], before

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *values, ctx.signed = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*values, output[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if g is None:
            return (None,) * 6
        x, dt, a, b, c, before = ctx.saved_tensors
        d_x, d_dt, d_b, d_c = (torch.empty_like(v, memory_format=torch.contiguous_format) for v in (x, dt, b, c))
        d_a = torch.zeros_like(a)
        for at in _blocks(x, a.shape[1]):
            given = (g[at], x[at], dt[at], a[at[0]], b[at], c[at], before[:, *at])
            _backward(d_x[at], d_dt[at], d_a[at[0]], d_b[at], d_c[at], *given, ctx.signed)
        return d_x, d_dt, d_a, d_b, d_c, None


_BLOCK = 1 << 15  # numbers of one step's states that are worked on at a time


def _blocks(x: Tensor, n: int) -> Iterator[tuple[slice, slice]]:
    """Slices of copies and of examples: whole copies where they are small; all at once where it is not a CPU."""
    e, b, _, d = x.shape
    if x.device.type != "cpu":
        yield slice(e), slice(b)
        return
    copies = max(1, _BLOCK // (b * n * d))
    examples = b if copies > 1 else max(1, _BLOCK // (n * d))
    for i in range(0, e, copies):
        for j in range(0, b, examples):
            yield slice(i, i + copies), slice(j, j + examples)


def _steps(v: Tensor, t: int, length: int) -> Tensor:
    """The steps of a chunk, `(K, E, B, W)`, of `(E, B, T, W)`."""
    return v[:, :, t : t + length].permute(2, 0, 1, 3).contiguous()


def _decays(out: Tensor, dt: Tensor, a2: Tensor, signed: bool) -> None:
    """`exp2(dt a2)`, which takes half of the time of `exp` on a CPU, or `2 exp2(dt a2) − 1`, into `(K, E, B, N, D)`."""
    dt = dt.unsqueeze(3)
    if signed:
        torch.exp2(torch.addcmul(dt.new_ones(()), dt, a2, out=out), out=out).sub_(1.0)
    else:
        torch.exp2(torch.mul(dt, a2, out=out), out=out)


class _Recurrence:
    """Fills in the states of a chunk, in buffers that every chunk uses again: their steps are cut out once.

    On a CPU the steps go one by one, since states are many and a scan is bound by memory; on a GPU they are scanned.

    Args:
        states: `(K, ...)`, which hold what is added at each step.
        decays: `(K, ...)`.
    """

    def __init__(self, states: Tensor, decays: Tensor, forwards: bool) -> None:
        self.whole, self.forwards = (states, decays), forwards
        self.parallel = states.device.type != "cpu"
        self.steps = [] if self.parallel else list(zip(states.unbind(0), decays.unbind(0), strict=True))

    def __call__(self, length: int, h: Tensor) -> None:
        """The first `length` steps, from the state `h` before them in the direction of the recurrence.

        `decays` at step t multiply what comes from step t − 1, or from t + 1 in the recurrence backwards.
        """
        if self.parallel:
            states, decays = (v[:length].view(1, length, -1) for v in self.whole)
            if self.forwards:
                states.copy_(scan(decays, states, h.view(1, -1)))
            else:
                states.copy_(scan(decays.flip(1), states.flip(1), h.view(1, -1)).flip(1))
            return
        steps = self.steps[:length]
        for state, decay in steps if self.forwards else reversed(steps):
            h = torch.addcmul(state, decay, h, out=state)


def _read(v: Tensor, states: Tensor) -> Tensor:
    """Rows `(K, E, B, W)` times matrices `(K, E, B, W, V)`, a row each: `(K, E, B, V)`."""
    flat = torch.bmm(v.reshape(-1, 1, v.shape[-1]), states.flatten(0, 2))
    return flat.view(*v.shape[:-1], -1)


def _forward(y: Tensor, before: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, signed: bool) -> None:
    """Fills in the outputs and the states before the chunks, whose first entry is zero; the last is the final state."""
    length, a2 = selective_chunk(x.device, x.shape[2]), (a * _LOG2_E).unsqueeze(1)
    decays, states = (x.new_empty(length, *before.shape[1:]) for _ in range(2))
    recur = _Recurrence(states, decays, forwards=True)
    before[0] = 0.0
    for m, t in enumerate(range(0, x.shape[2], length)):
        x_t, dt_t, b_t, c_t = (_steps(v, t, length) for v in (x, dt, b, c))
        k = x_t.shape[0]
        decay, state = decays[:k], states[:k]
        _decays(decay, dt_t, a2, signed)
        torch.mul(b_t.unsqueeze(4), (x_t * dt_t).unsqueeze(3), out=state)
        recur(k, before[m])
        before[m + 1] = state[-1]
        y[:, :, t : t + k] = _read(c_t, state).permute(1, 2, 0, 3)


def _backward(
    d_x: Tensor,
    d_dt: Tensor,
    d_a: Tensor,
    d_b: Tensor,
    d_c: Tensor,
    g: Tensor,
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    before: Tensor,
    signed: bool,
) -> None:
    """Fills in the gradients, from the last chunk to the first; adds to that of A.

    The gradient of a state obeys `ḣ_t = g_t C_t + a_{t+1} ḣ_{t+1}`; that of `Δ_t A` is `∂a_t ḣ_t h_{t−1}`.
    """
    length, a, a2 = selective_chunk(x.device, x.shape[2]), a.unsqueeze(1), (a * _LOG2_E).unsqueeze(1)
    decays, grads = (x.new_empty(length, *before.shape[1:]) for _ in range(2))
    states = x.new_empty(length + 1, *before.shape[1:])
    forwards, backwards = _Recurrence(states[1:], decays, True), _Recurrence(grads[:-1], decays[1:], False)
    carry = torch.zeros_like(before[0])
    for m in reversed(range(before.shape[0] - 1)):
        t = m * length
        g_t, x_t, dt_t, b_t, c_t = (_steps(v, t, length) for v in (g, x, dt, b, c))
        u_t, k = x_t * dt_t, x_t.shape[0]
        decay, state, grad = decays[:k], states[: k + 1], grads[:k]
        _decays(decay, dt_t, a2, signed)
        state[0] = before[m]
        torch.mul(b_t.unsqueeze(4), u_t.unsqueeze(3), out=state[1:])
        forwards(k, state[0])
        torch.mul(c_t.unsqueeze(4), g_t.unsqueeze(3), out=grad)
        grad[-1].add_(carry)
        backwards(k - 1, grad[-1])

        d_u = _read(b_t, grad)
        for out, value in ((d_c, _read(g_t, state[1:].mT)), (d_b, _read(u_t, grad.mT)), (d_x, d_u * dt_t)):
            out[:, :, t : t + k] = value.permute(1, 2, 0, 3)
        slope = decay.mul_(grad)
        carry.copy_(slope[0])
        if signed:
            slope.add_(grad)
        slope.mul_(state[:-1])
        d_step = torch.mul(slope, a, out=grad).sum(3)
        d_dt[:, :, t : t + k] = d_step.addcmul_(d_u, x_t).permute(1, 2, 0, 3)
        d_a += slope.mul_(dt_t.unsqueeze(3)).sum((0, 2))
