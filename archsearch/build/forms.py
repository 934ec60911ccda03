"""Values on a cycle as sums `Σ a_s ⊙ s + b` over its delayed states: what a scan is made of.

A form holds its factors and its rest over all time steps, `(E, B, T, *shape)` or what spreads to it; a factor that is
the same number everywhere stays a number. Ops map forms to forms: the common ones by name, exactly, others that are
affine feature by feature by three evaluations, f(b), f(a) and f(0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.ops.base import Context, Op

__all__ = ["Form", "Key", "combine", "fitted", "mask", "shifted"]

Key = tuple[int, int, int]
"""A delayed value: the cell of its state, the output, the delay."""


@dataclass(slots=True)
class Form:
    """`Σ factors[key] ⊙ value of key + rest`."""

    factors: dict[Key, Tensor | float] = field(default_factory=dict)
    rest: Tensor | float = 0.0

    def plus(self, other: Form, times: Tensor | float = 1.0) -> Form:
        """`self + times ⊙ other`."""
        factors = dict(self.factors)
        for key, a in other.factors.items():
            factors[key] = _add(factors.get(key, 0.0), _times(a, times))
        return Form(factors, _add(self.rest, _times(other.rest, times)))

    def value(self, read: Callable[[Key], Tensor]) -> Tensor | float:
        """The value, given those of its delayed states."""
        total = self.rest
        for key, a in self.factors.items():
            total = _add(total, _times(a, read(key)))
        return total


def _times(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    for x, y in ((a, b), (b, a)):
        if isinstance(x, float) and x in (0.0, 1.0):
            return y if x else 0.0
    return a * b


def _add(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    if isinstance(a, float) and a == 0.0:
        return b
    return a if isinstance(b, float) and b == 0.0 else a + b


def shifted(x: Tensor | float, delay: int, before: Tensor | float, like: Tensor) -> Tensor:
    """`x[t − delay]` over time, `before` in front.

    Args:
        like: any value with the time axis of the result, `(E, B, T, *shape)`.
    """
    time = like.shape[2]
    if isinstance(x, float):
        x = like.new_full((1, 1, 1, *[1] * (like.ndim - 3)), x)
    if x.shape[2] != time:
        x = x.expand(-1, -1, time, *x.shape[3:])
    gap = min(delay, time)
    if isinstance(before, float):
        front = x.new_full((), before).expand(*x.shape[:2], gap, *x.shape[3:])
    else:
        shape = torch.broadcast_shapes(before.shape, x.shape[:2] + x.shape[3:])
        x = x.expand(*shape[:2], time, *shape[2:])
        front = before.unsqueeze(2).expand(*shape[:2], gap, *shape[2:])
    return torch.cat([front, x[:, :, : time - gap]], 2)


def fitted(x: Tensor, of: tuple[int, ...]) -> Tensor:
    """A factor `(E, B, T, *shape)` of a value of shape `of` such that it spreads: one, one a head or one a row."""
    shape = tuple(x.shape[3:])
    if shape == of:
        return x
    if shape == (1,):
        return x.view(*x.shape[:3], *[1] * len(of))
    if len(of) == 3 and shape == (of[0],):
        return x.view(*x.shape[:3], of[0], 1, 1)
    if len(of) == 3 and shape == (of[0] * of[1],):
        return x.view(*x.shape[:3], of[0], of[1], 1)
    raise RuleError("a factor on a cycle must be one, one a head or one a row", value=f"{shape} of {of}")


def mask(op: Op, clock: Tensor, shape: tuple[int, ...], ctx: Context) -> Tensor | float:
    """The mask of a `dropout` for all steps at once, the same draws whether its cycle scans or loops; else 1."""
    if op.name != "dropout" or not ctx.training or not op.rate:  # type: ignore[attr-defined]
        return 1.0
    ones = clock.new_ones(()).expand(*clock.shape[:3], *shape).contiguous()
    masked: Tensor = op.forward({}, ones, ctx=ctx)
    return masked


def combine(
    op: Op, w: Mapping[str, Any], ins: list[Form | Tensor], shape: tuple[int, ...], clock: Tensor, ctx: Context
) -> list[Form]:
    """The forms of the outputs of an op.

    Args:
        ins: forms on the cycle, tensors from outside.
        shape: of the output.
        clock: any value outside, `(E, B, T, ...)`.
    """
    forms = [x if isinstance(x, Form) else Form(rest=x) for x in ins]
    name = op.name
    if name in ("add", "subtract"):
        total = forms[0]
        for f in forms[1:]:
            total = total.plus(f, 1.0 if name == "add" else -1.0)
        return [total]
    if name in ("identity", "neg", "one_minus"):
        return [forms[0] if name == "identity" else Form(rest=0.0 if name == "neg" else 1.0).plus(forms[0], -1.0)]
    if name == "multiply":
        (moving,) = (f for f in forms if f.factors)
        for x in ins:
            if isinstance(x, Tensor):
                moving = Form().plus(moving, fitted(x, shape))
        return [moving]
    if name == "scale":
        return [Form().plus(forms[0], _factor(op, w, len(shape)))]
    if name == "dropout":
        return [Form().plus(forms[0], mask(op, clock, shape, ctx))]
    return _evaluated(op, w, ins, shape, clock, ctx)


def _factor(op: Op, w: Mapping[str, Any], axes: int) -> Tensor | float:
    if "factor" not in w:
        return float(op.by)  # type: ignore[attr-defined]
    factor: Tensor = w["factor"]
    return factor.view(factor.shape[0], 1, 1, *factor.shape[-axes:])


def _evaluated(
    op: Op, w: Mapping[str, Any], ins: list[Form | Tensor], shape: tuple[int, ...], clock: Tensor, ctx: Context
) -> list[Form]:
    """Any op that is affine feature by feature, `f(Σ a s + b) = f(b) + Σ (f(a) − f(0)) s`; constants only in b."""

    def run(pick: Callable[[Form], Tensor | float], outside: bool) -> list[Tensor]:
        full = []
        for x in ins:
            if isinstance(x, Form):
                part = pick(x)
                tensor = part if isinstance(part, Tensor) else clock.new_full((1,) * (3 + len(shape)), part)
                full.append(tensor.expand(*clock.shape[:3], *shape))
            else:
                full.append(x if outside else torch.zeros_like(x))
        y = op.forward(w, *full, ctx=ctx)
        return list(y) if isinstance(y, tuple) else [y]

    zero = run(lambda f: 0.0, outside=False)
    found = [Form(rest=y) for y in run(lambda f: f.rest, outside=True)]
    for key in {k: None for x in ins if isinstance(x, Form) for k in x.factors}:
        lines = run(lambda f, key=key: f.factors.get(key, 0.0), outside=False)  # type: ignore[misc]
        for form, line, z in zip(found, lines, zero, strict=True):
            form.factors[key] = line - z
    return found
