"""What every op promises, as functions of a case: an op with settings and the types of its inputs.

`check_<promise>(case)` raises `AssertionError` where the promise is broken. An op of one's own is checked the same way:
`check(Case("my_op", {...}, (16,)))`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from archsearch.build.seeding import draw
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.types import ValueType
from archsearch.ops.base import Context, Op
from archsearch.ops.registry import op_class

COPIES, BATCH, TIME = 2, 3, 23
TOLERANCE = 1e-5  # of the largest magnitude, in float32, at initialisation


@dataclass(frozen=True)
class Case:
    """An op with settings, fed with vectors of these widths (one a port, any number for a port that takes many)."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    widths: tuple[int, ...] = (8,)

    @property
    def op(self) -> Op:
        """The op with its settings checked."""
        return op_class(self.name)(**op_class(self.name).spec().complete(self.settings))

    @property
    def types(self) -> tuple[ValueType, ...]:
        """The types of the inputs."""
        return tuple(ValueType((w,)) for w in self.widths)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.settings.items())])

    def weights(self, seeds: tuple[int, ...] = (3, 5), dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The drawn weights, with gradients on."""
        drawn = {w.name: draw(w, w.name, seeds).to(dtype) for w in self.op.weights(*self.types)}
        return {name: w.requires_grad_() for name, w in drawn.items()}

    def inputs(self, *, copies: int = COPIES, time: int = TIME, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Normal inputs, with gradients on."""
        g = torch.Generator().manual_seed(11)
        return [torch.randn(copies, BATCH, time, w, generator=g).to(dtype).requires_grad_() for w in self.widths]


def parallel(case: Case, w: Mapping[str, Tensor], xs: list[Tensor]) -> list[Tensor]:
    """All steps at once; one tensor an output."""
    return _outputs(case.op.forward(w, *xs, ctx=Context()))


def stepwise(case: Case, w: Mapping[str, Tensor], xs: list[Tensor]) -> list[Tensor]:
    """A step after the other, stacked over time."""
    op, steps = case.op, []
    state = op.start(w, xs[0].shape[1], *case.types)
    for one in zip(*(x.unbind(2) for x in xs), strict=True):
        y, state = op.step(w, state, *one, ctx=Context())
        steps.append(_outputs(y))
    return [torch.stack(ys, 2) for ys in zip(*steps, strict=True)]


def _outputs(y: Any) -> list[Tensor]:
    return list(y) if isinstance(y, tuple) else [y]


def _gradients(ys: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    g = torch.Generator().manual_seed(7)
    loss = sum((y * torch.randn(y.shape, generator=g).to(y.dtype)).sum() for y in ys)
    return list(torch.autograd.grad(loss, of, allow_unused=False))


def close(a: Tensor, b: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """`a` equals `b` but for `tolerance` of b's largest magnitude."""
    assert a.shape == b.shape, f"{what}: {tuple(a.shape)} is not {tuple(b.shape)}"
    error, scale = (a.double() - b.double()).abs().max().item(), b.abs().max().item()
    assert error <= tolerance * max(scale, 1e-30), f"{what}: off by {error:.2e} where the largest is {scale:.2e}"


def decodes(case: Case) -> bool:
    """Whether there is a step form: for all that is causal."""
    return case.op.is_causal()


def check_types(case: Case) -> None:
    """The outputs have the shapes that the type rule says, at odd lengths and at one step; inputs stay as they are."""
    inferred = case.op.infer(*case.types)
    expected = inferred if isinstance(inferred, tuple) else (inferred,)
    for time in (1, 2, TIME):
        xs = case.inputs(time=time)
        before = [x.detach().clone() for x in xs]
        ys = parallel(case, case.weights(), xs)
        assert [y.shape for y in ys] == [(COPIES, BATCH, time, *t.shape) for t in expected]
        assert all(torch.equal(x, b) for x, b in zip(xs, before, strict=True)), "an input was overwritten"


def check_forms_agree(case: Case) -> None:
    """Outputs and gradients of the parallel form and of the steps equal those of the steps in double precision."""
    results = {}
    for form, run, dtype in (
        ("parallel", parallel, torch.float32),
        ("steps", stepwise, torch.float32),
        ("reference", stepwise, torch.float64),
    ):
        w, xs = case.weights(dtype=dtype), case.inputs(dtype=dtype)
        ys = run(case, w, xs)
        results[form] = [*ys, *_gradients(ys, [*xs, *w.values()])]
    names = [*(f"output {i}" for i in range(len(ys))), *(f"gradient of input {i}" for i in range(len(xs))), *w]
    for form in ("parallel", "steps"):
        for name, got, reference in zip(names, results[form], results["reference"], strict=True):
            close(got, reference, f"{form}, {name}")


def check_gradients(case: Case) -> None:
    """Gradients equal finite differences in double precision, at a tiny size."""
    w = case.weights(seeds=(3,), dtype=torch.float64)
    xs = [x.detach()[:, :2].requires_grad_() for x in case.inputs(copies=1, time=3, dtype=torch.float64)]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(parallel(case, dict(zip(w, values, strict=False)), list(values[len(w) :])))

    assert torch.autograd.gradcheck(run, (*w.values(), *xs), fast_mode=True)


def check_time(case: Case) -> None:
    """An output depends on no later step, by perturbation and by gradient; on its own alone if time is not mixed."""
    if not case.op.is_causal():
        return
    at, w = TIME // 2, case.weights()
    xs = case.inputs()
    ys = parallel(case, w, xs)
    moved = [x.detach().clone() for x in xs]
    for x in moved:
        x[:, :, at] += 1.0
    for y, z in zip(ys, parallel(case, w, moved), strict=True):
        close(z[:, :, :at], y[:, :, :at], "output before the change")
        if not case.op.mixes_time:
            close(z[:, :, at + 1 :], y[:, :, at + 1 :], "output after the change")
    for g in torch.autograd.grad(sum(y[:, :, at].square().sum() for y in ys), xs):
        scale = g.abs().max().item()
        assert g[:, :, at + 1 :].abs().max().item() <= 1e-6 * max(scale, 1.0), "a gradient reaches later steps"
        if not case.op.mixes_time:
            assert g[:, :, :at].abs().max().item() == 0.0, "a gradient reaches earlier steps"


def check_batch(case: Case) -> None:
    """An example's output does not depend on what else is in the batch."""
    w, xs = case.weights(), case.inputs()
    for y, alone in zip(parallel(case, w, xs), parallel(case, w, [x[:, 1:2] for x in xs]), strict=True):
        close(alone, y[:, 1:2], "example 1 alone")


def check_copies(case: Case) -> None:
    """Each of three copies equals its solo run, outputs and gradients, though the first is not a number throughout."""
    w, xs = case.weights(seeds=(3, 5, 8)), case.inputs(copies=3)
    bad = [v.detach().clone() for v in (*xs, *w.values())]
    for v in bad:
        v[0] = float("nan")
        v.requires_grad_()
    together = dict(zip(w, bad[len(xs) :], strict=True))
    ys = parallel(case, together, bad[: len(xs)])
    grads = _gradients(ys, bad)
    for e, seed in ((1, 5), (2, 8)):
        w1, xs1 = case.weights(seeds=(seed,)), [x.detach()[e : e + 1].requires_grad_() for x in xs]
        ys1 = parallel(case, w1, xs1)
        for y, y1 in zip(ys, ys1, strict=True):
            close(y[e : e + 1], y1, f"output of copy {e}")
        g = torch.Generator().manual_seed(7)
        mine = [torch.randn(y.shape, generator=g)[e : e + 1] for y in ys]
        loss = sum((y * m).sum() for y, m in zip(ys1, mine, strict=True))
        for got, solo in zip(grads, torch.autograd.grad(loss, [*xs1, *w1.values()]), strict=True):
            close(got[e : e + 1], solo, f"gradient of copy {e}")


def check_weights(case: Case) -> None:
    """Weights are float32, finite, of the stated shapes, and the same for the same seed and other for another."""
    shapes = case.op.weight_shapes(*case.types)
    for declared in case.op.weights(*case.types):
        a, b, c = (draw(declared, declared.name, (seed,)) for seed in (1, 1, 2))
        assert a.shape == (1, *shapes[declared.name])
        assert a.dtype == torch.float32 and a.isfinite().all()
        assert torch.equal(a, b)
        if a.unique().numel() > 2 and declared.name != "frequency":  # S4D's frequencies are a fixed row
            assert not torch.equal(a, c)
        assert declared.lr_mult > 0


def check_cost(case: Case) -> None:
    """The stated bytes of state are those that one stream really carries; operations and span are sensible."""
    cost = case.op.cost(*case.types, time=TIME)
    assert cost.flops >= 0 and 1 <= cost.span <= TIME
    if not decodes(case):
        return
    w, xs = case.weights(seeds=(3,)), [x[:, :1] for x in case.inputs(copies=1)]
    state = case.op.start(w, 1, *case.types)
    for one in zip(*(x.unbind(2) for x in xs), strict=True):
        _, state = case.op.step(w, state, *one, ctx=Context())
    assert sum(s.numel() * s.element_size() for s in state.values()) == cost.state_bytes
    assert case.op.mixes_time or not state, "what carries state mixes time"


def check_serialises(case: Case) -> None:
    """Settings survive JSON and a node of the op survives the architecture's plain data."""
    spec = op_class(case.name).spec()
    full = spec.complete(case.settings)
    assert spec.bind(json.loads(json.dumps(full))) == case.op
    inferred = case.op.infer(*case.types)
    outputs = inferred if isinstance(inferred, tuple) else (inferred,)
    ports = tuple((Source("in"),) for _ in case.widths)
    node = Node("out", case.name, full, ports, outputs)
    a = Architecture("one", {"in": case.types[0]}, (node,), Source("out"))
    assert Architecture.from_dict(json.loads(json.dumps(a.to_dict()))) == a


CHECKS = {name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")}


def check(case: Case) -> None:
    """Every promise, one after the other."""
    for promise in CHECKS.values():
        promise(case)
