"""A quick test of an op that was handed in: does it keep the contract of `archsearch.ops.base`, on tiny values?

Every promise is tried once, with default settings and the first input types that the op takes. What passes here may
still break a promise elsewhere; what fails is refused before anything is searched with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.graph.opspec import OpSpec, Setting
from archsearch.ops.base import Context, Cost, Op, ValueType, Weight

__all__ = ["probe"]

COPIES, BATCH, TIME, CHANGED = 2, 2, 6, 3
TOLERANCE = 1e-4
"""Of the largest magnitude, or of 1 if that is larger; in float32."""
SHAPES: tuple[tuple[int, ...], ...] = ((8,), (2, 4, 4), (1,), (16,))
LINEARITIES = ("elementwise", "product", "mixing", "bilinear", "nonlinear")
_VALUES = {int: 1, float: 1.0, bool: False, str: "a"}


def probe(cls: type[Op]) -> None:
    """Holds an op against the contract; does nothing where no input type of `SHAPES` fits it.

    Raises:
        RuleError: the clause that it breaks, and with which types. Anything else that the op itself raises passes.
    """
    spec = cls.spec()
    if spec.linearity not in LINEARITIES:
        raise RuleError(f"`linearity` is one of {', '.join(LINEARITIES)}", value=f"`{spec.linearity}`")
    given = {s.name: _required(s) for s in spec.settings if s.required}
    op = spec.make(**spec.complete(given))
    assert isinstance(op, Op)
    found = _types(op, spec)
    if found is None:
        return
    trial = _Trial(op, spec, *found)
    clauses: tuple[Callable[[], None], ...] = (
        trial.weights,
        trial.shapes,
        trial.cost,
        trial.causality,
        trial.steps,
        trial.batch,
        trial.copies,
        trial.order,
        trial.linearity,
        trial.gradients,
    )
    for clause in clauses:
        clause()


def _required(s: Setting) -> Any:
    """Some value for a setting without a default."""
    if s.options:
        return s.options[0]
    return s.low if s.low is not None else s.high if s.high is not None else _VALUES[s.kind]


def _types(op: Op, spec: OpSpec) -> tuple[tuple[ValueType | None, ...], tuple[ValueType, ...]] | None:
    """The first input types that the op takes, ports flattened, and what it infers from them."""
    choices: list[tuple[tuple[int, ...] | None, ...]] = []
    for port in spec.ports:
        shapes = (*SHAPES, None) if port.optional else SHAPES
        choices += [shapes] * (2 if port.many else 1)
    for shapes in itertools.product(*choices):
        types = tuple(None if s is None else ValueType(s) for s in shapes)
        try:
            out = op.infer(*types)
        except RuleError:
            continue
        outputs = out if isinstance(out, tuple) else (out,)
        if not all(isinstance(t, ValueType) for t in outputs):
            raise RuleError("`infer` gives a ValueType, or a tuple of them", value=_text(out))
        return types, outputs
    return None


def _text(value: Any) -> str:
    return f"`{value!r}`"[:80]


class _Trial:
    """One op with settings and types, its weights and some inputs.

    Legend of shapes: values are `(COPIES, BATCH, TIME, *shape)`.
    """

    def __init__(
        self, op: Op, spec: OpSpec, types: tuple[ValueType | None, ...], outputs: tuple[ValueType, ...]
    ) -> None:
        self.op, self.spec, self.types, self.outputs = op, spec, types, outputs
        self.slow = any(t.rate != 1 for t in outputs)
        self.causal = bool(op.is_causal())
        self.xs = [self._values(i) for i in range(len(types))]
        self.w: dict[str, Tensor] = {}
        self.ys: list[Tensor] = []

    def _values(self, i: int) -> Tensor | None:
        kind = self.types[i]
        if kind is None:
            return None
        return torch.randn(COPIES, BATCH, TIME, *kind.shape, generator=torch.Generator().manual_seed(i + 1))

    def _with(self) -> str:
        return f"with inputs {', '.join('none' if t is None else str(t) for t in self.types)}"

    def _run(self, w: Mapping[str, Tensor], xs: list[Tensor | None]) -> list[Tensor]:
        out = self.op.forward(w, *xs, ctx=Context())
        return list(out) if isinstance(out, tuple | list) else [out]

    def _same(self, clause: str, got: Tensor, expected: Tensor) -> None:
        if got.shape != expected.shape:
            raise RuleError(clause, value=f"{tuple(got.shape)} for {tuple(expected.shape)} {self._with()}")
        if not expected.numel():
            return
        error, scale = (got - expected).abs().max().item(), max(1.0, expected.abs().max().item())
        if not error <= TOLERANCE * scale:
            raise RuleError(clause, value=f"a difference of {error:.2g} {self._with()}")

    # ---- clauses ---------------------------------------------------------------------------------------------------

    def weights(self) -> None:
        clause = "`weights` declares tensors by `param`, each name once, each drawn in its shape as float32"
        declared = self.op.weights(*self.types)
        if not all(isinstance(x, Weight) for x in declared):
            raise RuleError(clause, value=f"{_text(declared)} {self._with()}")
        for x in declared:
            drawn = [x.init(torch.Generator().manual_seed(e), x.shape) for e in range(COPIES)]
            if x.name in self.w or any(d.shape != x.shape or d.dtype != torch.float32 for d in drawn):
                value = f"`{x.name}` of {tuple(drawn[0].shape)} for {x.shape} {self._with()}"
                raise RuleError(clause, value=value)
            self.w[x.name] = torch.stack(drawn)

    def shapes(self) -> None:
        before = [None if x is None else x.clone() for x in self.xs]
        self.ys = self._run(self.w, self.xs)
        found = [tuple(y.shape) if isinstance(y, Tensor) else None for y in self.ys]
        expected = [(COPIES, BATCH, -(-TIME * t.rate.numerator // t.rate.denominator), *t.shape) for t in self.outputs]
        if found != expected:
            clause = "`forward` gives values of the types that `infer` says, (copies, batch, time, *shape)"
            raise RuleError(clause, value=f"{found} for {expected} {self._with()}")
        if not all(y.isfinite().all() for y in self.ys):
            raise RuleError("`forward` gives finite numbers", value=f"others {self._with()}")
        if any(x is not None and not torch.equal(x, b) for x, b in zip(self.xs, before, strict=True)):  # type: ignore[arg-type]
            raise RuleError("`forward` leaves its inputs as they are", value=f"a change in place {self._with()}")

    def cost(self) -> None:
        cost = self.op.cost(*self.types, time=TIME)
        if not isinstance(cost, Cost) or cost.flops < 0 or cost.span < 1:
            clause = "`cost` gives a Cost with flops of at least 0 and a span of at least 1"
            raise RuleError(clause, value=f"{_text(cost)} {self._with()}")

    def causality(self) -> None:
        if not self.causal and not self.spec.mixes_time:
            raise RuleError("an op that is not causal says `mixes_time=True`", value="`mixes_time=False`")
        if self.slow:
            return
        moved = [None if x is None else x.clone() for x in self.xs]
        for x in moved:
            if x is not None:
                x[:, :, CHANGED] += 1.0
        for y, z in zip(self.ys, self._run(self.w, moved), strict=True):
            if self.causal:
                clause = "a causal op's output depends on no later step"
                self._same(clause, z[:, :, :CHANGED], y[:, :, :CHANGED])
            if not self.spec.mixes_time:
                clause = "an op that depends on other steps says `mixes_time=True`"
                self._same(clause, z[:, :, CHANGED + 1 :], y[:, :, CHANGED + 1 :])

    def steps(self) -> None:
        if not self.causal or self.slow:
            return
        state = self.op.start(self.w, BATCH, *self.types)
        outs: list[tuple[Tensor, ...]] = []
        for t in range(TIME):
            y, state = self.op.step(self.w, state, *[x if x is None else x[:, :, t] for x in self.xs], ctx=Context())
            outs.append(tuple(y) if isinstance(y, tuple | list) else (y,))
        clause = "`step`, one token after the other, gives what `forward` gives"
        for y, steps in zip(self.ys, zip(*outs, strict=True), strict=True):
            self._same(clause, torch.stack(steps, 2), y)
        held = sum(s[0, :1].numel() * s.element_size() for s in state.values())
        stated = self.op.cost(*self.types, time=TIME).state_bytes
        if held != stated:
            clause = "`cost` states the bytes of state that one stream carries"
            raise RuleError(clause, value=f"{stated:g} where `step` holds {held} {self._with()}")

    def batch(self) -> None:
        alone = self._run(self.w, [None if x is None else x[:, 1:] for x in self.xs])
        for y, z in zip(self.ys, alone, strict=True):
            self._same("an example's output does not depend on others of the batch", z, y[:, 1:])

    def copies(self) -> None:
        nan = [v.clone() for v in self.w.values()]
        xs = [None if x is None else x.clone() for x in self.xs]
        for v in (*nan, *xs):
            if v is not None:
                v[0] = float("nan")
        for y, z in zip(self.ys, self._run(dict(zip(self.w, nan, strict=True)), xs), strict=True):
            self._same("copies never meet: copy 1 stays as it is when copy 0 is not a number", z[1:], y[1:])

    def order(self) -> None:
        if not self.spec.commutative:
            return
        for y, z in zip(self.ys, self._run(self.w, self.xs[::-1]), strict=True):
            self._same("an op with `commutative=True` takes its inputs in any order", z, y)

    def linearity(self) -> None:
        """What `linearity` claims, by a blend of two points: an affine map of the blend is the blend of the maps."""
        claim = self.spec.linearity
        if claim == "nonlinear" or self.slow or any(x is None for x in self.xs):
            return
        xs = [x for x in self.xs if x is not None]
        if claim == "product":
            if len(self.outputs) == 1 and all(x.shape == xs[0].shape for x in xs):
                self._same("`linearity` product means the product, feature by feature", self.ys[0], _product(xs))
            return
        moving = [[i] for i in range(len(xs))] if claim == "bilinear" else [list(range(len(xs)))]
        for group in moving:
            other = [x.flip(1) + 0.5 if i in group else x for i, x in enumerate(xs)]
            blend = [0.3 * x + 0.7 * o for x, o in zip(xs, other, strict=True)]
            ys, os, bs = (self._run(self.w, list(v)) for v in (xs, other, blend))
            for y, o, b in zip(ys, os, bs, strict=True):
                self._same(f"an op with `linearity` {claim} is affine in its inputs", b, 0.3 * y + 0.7 * o)
        if claim == "elementwise":
            self._elementwise(xs)

    def _elementwise(self, xs: list[Tensor]) -> None:
        moved = [x.clone() for x in xs]
        for x in moved:
            x[..., 0] += 1.0
        for y, z in zip(self.ys, self._run(self.w, list(moved)), strict=True):
            clause = "`linearity` elementwise means that feature i of the output depends on feature i alone"
            self._same(clause, z[..., 1:], y[..., 1:])

    def gradients(self) -> None:
        leaves = {k: v.clone().requires_grad_() for k, v in self.w.items()}
        xs = [None if x is None else x.clone().requires_grad_() for x in self.xs]
        total = sum(y.square().sum() for y in self._run(leaves, xs))
        if not isinstance(total, Tensor) or not total.requires_grad:
            return
        reached = [v for v in (*leaves.values(), *xs) if v is not None]
        for g in torch.autograd.grad(total, reached, allow_unused=True):
            if g is not None and not g.isfinite().all():
                raise RuleError("gradients are finite", value=f"others {self._with()}")


def _product(xs: list[Tensor]) -> Tensor:
    out = xs[0]
    for x in xs[1:]:
        out = out * x
    return out
