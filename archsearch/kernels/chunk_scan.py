"""Linear recurrences in chunks of time: all chunks take a step at once, then one state a chunk is carried.

N sequences, T time, L lanes, M chunks of C steps. A first pass over the steps of all chunks gives, from a state of
zero, the state after each chunk and what it keeps of the one before it; a pass over chunks gives the state before each;
a last pass over the steps fills in all states. That is 3 C + M operations on tensors that stay in a processor's cache,
and six numbers read or written a state, where the odd/even scan moves eleven.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["AFFINE", "GATED", "Kind", "fill_in_chunks"]


class Kind(NamedTuple):
    """A recurrence, by what one step does.

    Args:
        advance: the next state from what is added, the factor and the state, into a tensor that may be the state.
        fade: takes the factor of a step into what is kept of a state, in place.
    """

    advance: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    fade: Callable[[Tensor, Tensor], Tensor]


AFFINE = Kind(lambda b, a, h, out: torch.addcmul(b, a, h, out=out), lambda kept, a: kept.mul_(a))
"""`h ← a h + b`."""

GATED = Kind(lambda c, z, h, out: torch.lerp(h, c, z, out=out), lambda kept, z: kept.addcmul_(kept, z, value=-1.0))
"""`h ← (1 − z) h + z c`."""


def fill_in_chunks(
    states: Tensor, factors: Tensor, added: Tensor, start: Tensor, length: int, kind: Kind, *, forwards: bool = True
) -> None:
    """Writes all states.

    Args:
        states, factors, added: `(N, T, L)`; what is written, `a` or `z`, `b` or `c`.
        start: the state before the first step, `(N, L)`.
        length: C, at most T; steps that fill no chunk go one by one, and all do where C = 1.
        forwards: the direction of the recurrence.
    """
    time = states.shape[1]
    rest = time if length == 1 else time % length
    whole, odd = (slice(0, time - rest), slice(time - rest, None)) if forwards else (slice(rest, None), slice(0, rest))
    values = (added, factors, states)
    if rest < time:
        b, a, out = (x[:, whole].unflatten(1, (-1, length)) for x in values)
        start = _fill(b, a, out, start, kind, forwards)
    for b, a, out in _steps(*(x[:, odd] for x in values), axis=1, forwards=forwards):
        start = kind.advance(b, a, start, out)


def _fill(added: Tensor, factors: Tensor, states: Tensor, start: Tensor, kind: Kind, forwards: bool) -> Tensor:
    """Whole chunks, `(N, M, C, L)`; gives the state after the last."""
    steps = _steps(added, factors, states, axis=2, forwards=forwards)
    h = torch.zeros_like(states[:, :, 0], memory_format=torch.contiguous_format)
    kept = torch.ones_like(h)
    for b, a, _ in steps:
        kind.advance(b, a, h, h)
        kind.fade(kept, a)
    before = torch.empty_like(h)
    for after, keeps, at in _steps(h, kept, before, axis=1, forwards=forwards):
        at.copy_(start)
        start = torch.addcmul(after, keeps, start)
    h = before
    for b, a, out in steps:
        h = kind.advance(b, a, h, out)
    return start


def _steps(*values: Tensor, axis: int, forwards: bool) -> list[tuple[Tensor, ...]]:
    """The steps of several values along an axis, in the direction of the recurrence."""
    steps = list(zip(*(v.unbind(axis) for v in values), strict=True))
    return steps if forwards else steps[::-1]
