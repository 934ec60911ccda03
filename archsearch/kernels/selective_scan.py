"""The selective scan of Mamba over all time steps, with the backward pass written out.

E copies, B batch, T time, D features, N states of a feature; K steps of a chunk. The recurrence is, for each feature,

    h_t = a_t ⊙ h_{t−1} + (Δ_t x_t) B_t,   y_t = C_tᵀ h_t + d x_t,   a_t = exp(Δ_t A), or 2 exp(Δ_t A) − 1

(Gu and Dao 2023, arXiv:2312.00752, algorithm 2; the second form has eigenvalues in (−1, 1): Grazzi et al. 2024,
arXiv:2411.12537). The states of all steps, N times as large as the input, are never held: forward keeps the state
before each chunk, and backward computes a chunk's decays and states again. Examples go in blocks, so that a chunk stays
in a processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from archsearch.kernels import backends
from archsearch.kernels.dispatch import selective_chunk
from archsearch.kernels.precision import single
from archsearch.kernels.scan import scan

__all__ = ["System", "decay_of", "selective_scan"]

_LOG2_E = 1.0 / math.log(2.0)


def decay_of(log_decay: Tensor, signed: bool) -> Tensor:
    """The factor of one step: `exp(log_decay)`, or `2 exp(log_decay) − 1` where eigenvalues may be negative."""
    decay = torch.exp(log_decay)
    return 2.0 * decay - 1.0 if signed else decay


class System(NamedTuple):
    """What a selective state-space model owns.

    Args:
        bias: `(E, D)`, of the step sizes.
        a: `(E, N, D)`.
        skip: `(E, D)`.
    """

    bias: Tensor
    a: Tensor
    skip: Tensor


def selective_scan(
    x: Tensor, dt: Tensor, b: Tensor, c: Tensor, system: System, *, signed: bool = False
) -> tuple[Tensor, Tensor]:
    """All outputs, and the state after the last step.

    Args:
        x, dt: `(E, B, T, D)`, the step sizes before their bias and softplus.
        b, c: `(E, B, T, N)`.
        signed: whether eigenvalues are in (−1, 1) and not in (0, 1).

    Returns:
        `(E, B, T, D)` and `(E, B, N, D)`; no gradient flows through the state.
    """
    fast = None if signed else backends.find("selective_scan", x)
    if fast is not None:
        return fast(x, dt, b, c, *system)  # type: ignore[no-any-return]
    y, last, _ = _SelectiveScan.apply(*map(single, (x, dt, b, c, *system)), signed)  # type: ignore[no-untyped-call]
    return y.to(x.dtype), last.to(x.dtype)


class _SelectiveScan(torch.autograd.Function):
    """Saves its inputs and the state before each chunk."""

    @staticmethod
    def forward(
        x: Tensor, dt: Tensor, b: Tensor, c: Tensor, bias: Tensor, a: Tensor, skip: Tensor, signed: bool
    ) -> tuple[Tensor, ...]:
        e, n, d = a.shape
        chunks = -(-x.shape[2] // selective_chunk(x.device, x.shape[2]))
        y = x.new_empty(x.shape)
        before = x.new_empty(chunks + 1, e, x.shape[1], n, d)
        for at in _blocks(x, n):
            system = System(*(v[at[0]] for v in (bias, a, skip)))
            _forward(y[at], before[:, *at], system, signed, *(v[at] for v in (x, dt, b, c)))
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
            return (None,) * 8
        *values, before = ctx.saved_tensors
        inputs, owned = values[:4], values[4:]
        d_inputs = [torch.empty_like(v, memory_format=torch.contiguous_format) for v in inputs]
        d_owned = [torch.zeros_like(v) for v in owned]
        for at in _blocks(inputs[0], before.shape[3]):
            to = _Gradients(*(v[at] for v in d_inputs), *(v[at[0]] for v in d_owned))
            system = System(*(v[at[0]] for v in owned))
            _backward(to, before[:, *at], system, ctx.signed, g[at], *(v[at] for v in inputs))
        return *d_inputs, *d_owned, None


_BLOCK = 1 << 14  # numbers of one step's states that are worked on at a time


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


def _forward(
    y: Tensor, before: Tensor, system: System, signed: bool, x: Tensor, dt: Tensor, b: Tensor, c: Tensor
) -> None:
    """Fills in the outputs and the states before the chunks, whose first entry is zero; the last is the final state."""
    length = selective_chunk(x.device, x.shape[2])
    bias, a2, skip = (v.unsqueeze(1) for v in (system.bias, system.a * _LOG2_E, system.skip))
    decays, states = (x.new_empty(length, *before.shape[1:]) for _ in range(2))
    recur = _Recurrence(states, decays, forwards=True)
    before[0] = 0.0
    for m, t in enumerate(range(0, x.shape[2], length)):
        x_t, dt_t, b_t, c_t = (_steps(v, t, length) for v in (x, dt, b, c))
        k, delta = x_t.shape[0], F.softplus(dt_t + bias)
        decay, state = decays[:k], states[:k]
        _decays(decay, delta, a2, signed)
        torch.mul(b_t.unsqueeze(4), (x_t * delta).unsqueeze(3), out=state)
        recur(k, before[m])
        before[m + 1] = state[-1]
        y[:, :, t : t + k] = torch.addcmul(_read(c_t, state), x_t, skip).permute(1, 2, 0, 3)


class _Gradients(NamedTuple):
    """Where they go: those of the inputs are filled in, those of the system are added to."""

    x: Tensor
    dt: Tensor
    b: Tensor
    c: Tensor
    bias: Tensor
    a: Tensor
    skip: Tensor


def _backward(
    to: _Gradients, before: Tensor, system: System, signed: bool, g: Tensor, x: Tensor, dt: Tensor, b: Tensor, c: Tensor
) -> None:
    """The gradients, from the last chunk to the first.

    That of a state obeys `ḣ_t = g_t C_t + a_{t+1} ḣ_{t+1}`; that of `Δ_t A` is `a'_t ḣ_t h_{t−1}`, with a' the slope of
    the decay, `a` or `a + 1`.
    """
    length = selective_chunk(x.device, x.shape[2])
    bias, a, skip = (v.unsqueeze(1) for v in system)
    a2 = a * _LOG2_E
    decays, grads = (x.new_empty(length, *before.shape[1:]) for _ in range(2))
    states = x.new_empty(length + 1, *before.shape[1:])
    forwards, backwards = _Recurrence(states[1:], decays, True), _Recurrence(grads[:-1], decays[1:], False)
    carry = torch.zeros_like(before[0])
    for m in reversed(range(before.shape[0] - 1)):
        t = m * length
        g_t, x_t, dt_t, b_t, c_t = (_steps(v, t, length) for v in (g, x, dt, b, c))
        raw = dt_t + bias
        delta = F.softplus(raw)
        u_t, k = x_t * delta, x_t.shape[0]
        decay, state, grad = decays[:k], states[: k + 1], grads[:k]
        _decays(decay, delta, a2, signed)
        state[0] = before[m]
        torch.mul(b_t.unsqueeze(4), u_t.unsqueeze(3), out=state[1:])
        forwards(k, state[0])
        torch.mul(c_t.unsqueeze(4), g_t.unsqueeze(3), out=grad)
        grad[-1].add_(carry)
        backwards(k - 1, grad[-1])

        d_b, d_c, d_u = _read(u_t, grad.mT), _read(g_t, state[1:].mT), _read(b_t, grad)
        slope = decay.mul_(grad)
        carry.copy_(slope[0])
        if signed:
            slope.add_(grad)
        slope.mul_(state[:-1])
        d_delta = torch.mul(slope, a, out=grad).sum(3).addcmul_(d_u, x_t)
        to.a.add_(slope.mul_(delta.unsqueeze(3)).sum((0, 2)))
        d_dt = d_delta.mul_(raw.sigmoid_())
        to.bias.add_(d_dt.sum((0, 2)))
        to.skip.add_((g_t * x_t).sum((0, 2)))
        d_x = d_u.mul_(delta).addcmul_(g_t, skip)
        for out, value in ((to.x, d_x), (to.dt, d_dt), (to.b, d_b), (to.c, d_c)):
            out[:, :, t : t + k] = value.permute(1, 2, 0, 3)
