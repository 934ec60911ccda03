"""What every op promises, as functions of a case: an op with settings and the types of its inputs.

`check_<promise>(case)` raises `AssertionError` where the promise is broken. An op of one's own is checked the same way:
`check(Case("my_op", {...}, (16,)))`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
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


Run = Callable[["Case", Mapping[str, Tensor], list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Case:
    """An op with settings, fed with vectors of these widths (one a port, any number for a port that takes many).

    In place of a width may stand a shape, (heads, rows, columns).

    Args:
        rates: how often each input ticks; all at the rate of the graph's input unless said.
        unread: inputs whose values the op never looks at.
        time: the steps of a sequence at the rate of the graph's input.
        prepare: makes the inputs what the ports ask for, such as keys of length one, out of normal ones.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    widths: tuple[int | tuple[int, ...], ...] = (8,)
    rates: tuple[Fraction, ...] = ()
    unread: tuple[int, ...] = ()
    time: int = TIME
    prepare: Callable[[Case, list[Tensor]], list[Tensor]] | None = None

    @property
    def op(self) -> Op:
        """The op with its settings checked."""
        return op_class(self.name)(**op_class(self.name).spec().complete(self.settings))

    @property
    def types(self) -> tuple[ValueType, ...]:
        """The types of the inputs."""
        rates = self.rates or (Fraction(1),) * len(self.widths)
        shapes = [(w,) if isinstance(w, int) else w for w in self.widths]
        return tuple(ValueType(shape, rate) for shape, rate in zip(shapes, rates, strict=True))

    @property
    def outputs(self) -> tuple[ValueType, ...]:
        """The types of the outputs."""
        inferred = self.op.infer(*self.types)
        return inferred if isinstance(inferred, tuple) else (inferred,)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.settings.items())])

    def weights(self, seeds: tuple[int, ...] = (3, 5), dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The drawn weights, with gradients on for those that train."""
        declared = self.op.weights(*self.types)
        return {w.name: draw(w, w.name, seeds).to(dtype).requires_grad_(w.trained) for w in declared}

    def inputs(
        self, *, copies: int = COPIES, time: int | None = None, dtype: torch.dtype = torch.float32
    ) -> list[Tensor]:
        """Normal inputs, prepared, with gradients on; `time` steps, or the case's own."""
        g = torch.Generator().manual_seed(11)
        shapes = [(copies, BATCH, math.ceil((time or self.time) * t.rate), *t.shape) for t in self.types]
        xs = [torch.randn(shape, generator=g) for shape in shapes]
        return [x.to(dtype).requires_grad_() for x in (self.prepare(self, xs) if self.prepare else xs)]

    def read(self, xs: Sequence[Any]) -> list[Any]:
        """What belongs to the inputs whose values matter."""
        return [x for i, x in enumerate(xs) if i not in self.unread]


def parallel(case: Case, w: Mapping[str, Tensor], xs: list[Tensor]) -> list[Tensor]:
    """All steps at once; one tensor an output."""
    return _outputs(case.op.forward(w, *xs, ctx=Context()))


def stepwise(case: Case, w: Mapping[str, Tensor], xs: list[Tensor]) -> list[Tensor]:
    """A step after the other, stacked over time; the steps of a slower output that were there."""
    op, steps = case.op, []
    state = op.start(w, xs[0].shape[1], *case.types)
    for one in ticks(case, xs):
        y, state = op.step(w, state, *one, ctx=Context())
        steps.append(_outputs(y))
    return [torch.stack([y for y in ys if y is not None], 2) for ys in zip(*steps, strict=True)]


def ticks(case: Case, xs: list[Tensor]) -> Iterator[list[Tensor | None]]:
    """The inputs step by step, at the fastest of their rates; a slower one is `None` until it ticks."""
    fastest = max(t.rate for t in case.types)
    every = [fastest / t.rate for t in case.types]
    steps = [x.unbind(2) for x in xs]
    for t in range(max(map(len, steps))):
        due = [(t + 1) / k for k in every]
        yield [s[int(d) - 1] if d.denominator == 1 else None for s, d in zip(steps, due, strict=True)]


def _outputs(y: Any) -> list[Tensor]:
    return list(y) if isinstance(y, tuple) else [y]


def _gradients(ys: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    g = torch.Generator().manual_seed(7)
    return _derived([(y * torch.randn(y.shape, generator=g).to(y.dtype)).sum() for y in ys], of)


def _derived(parts: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    """Gradients of a sum; none where nothing is read."""
    return list(torch.autograd.grad(sum(parts), of, retain_graph=True)) if of else []


def close(a: Tensor, b: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """`a` equals `b` but for `tolerance` of b's largest magnitude."""
    assert a.shape == b.shape, f"{what}: {tuple(a.shape)} is not {tuple(b.shape)}"
    error, scale = largest(a.double() - b.double()), largest(b)
    assert error <= tolerance * max(scale, 1e-30), f"{what}: off by {error:.2e} where the largest is {scale:.2e}"


def largest(x: Tensor) -> float:
    """The largest magnitude; 0 of nothing."""
    return x.abs().max().item() if x.numel() else 0.0


def trained(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the weights that want a gradient."""
    return {name: v for name, v in w.items() if v.requires_grad}


def decodes(case: Case) -> bool:
    """Whether there is a step form: for all that is causal."""
    return case.op.is_causal()


def check_types(case: Case) -> None:
    """The outputs have the shapes that the type rule says, at odd lengths and at one step; inputs stay as they are."""
    for time in (1, 2, case.time):
        xs = case.inputs(time=time)
        before = [x.detach().clone() for x in xs]
        ys = parallel(case, case.weights(), xs)
        assert [y.shape for y in ys] == [(COPIES, BATCH, math.ceil(time * t.rate), *t.shape) for t in case.outputs]
        assert all(torch.equal(x, b) for x, b in zip(xs, before, strict=True)), "an input was overwritten"


def results(case: Case, run: Run, dtype: torch.dtype, nudge: float = 0.0, seed: int = 0) -> dict[str, Tensor]:
    """Outputs and gradients by name, all inputs and weights moved by a share of `nudge` of themselves, up or down.

    Of an output slower than its input, only windows that close within the sequence have steps.
    """
    w, xs = case.weights(dtype=dtype), case.inputs(dtype=dtype)
    if nudge:
        g = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for v in (*w.values(), *xs):
                v.mul_(1 + nudge * (2 * torch.randint(2, v.shape, generator=g) - 1))
    ys = [y[:, :, : math.floor(case.time * t.rate)] for y, t in zip(run(case, w, xs), case.outputs, strict=True)]
    read = case.read([f"gradient of input {i}" for i in range(len(xs))])
    names = [*(f"output {i}" for i in range(len(ys))), *read, *trained(w)]
    return dict(zip(names, [*ys, *_gradients(ys, [*case.read(xs), *trained(w).values()])], strict=True))


def check_forms_agree(case: Case) -> None:
    """Outputs and gradients of the parallel form and of the steps equal those of the steps in double precision.

    What is not causal has no steps: its parallel form in double precision is the reference.
    """
    forms = {"parallel": parallel, "steps": stepwise} if decodes(case) else {"parallel": parallel}
    reference = results(case, [*forms.values()][-1], torch.float64)
    for form, run in forms.items():
        for name, got in results(case, run, torch.float32).items():
            close(got, reference[name], f"{form}, {name}")


def check_prefill(case: Case) -> None:
    """What an op leaves after a prompt, where it offers that, is what its steps leave; and so is its answer."""
    for time in (1, 6, case.time):
        w, xs = case.weights(dtype=torch.float64), case.inputs(time=time, dtype=torch.float64)
        with torch.no_grad():
            done = case.op.prefill(w, *xs, ctx=Context()) if case.op.mixes_time else None
            if done is None:
                continue
            state = case.op.start(w, xs[0].shape[1], *case.types)
            for one in ticks(case, xs):
                _, state = case.op.step(w, state, *one, ctx=Context())
            for got, expected in zip(_outputs(done[0]), parallel(case, w, xs), strict=True):
                close(got, expected, f"{time} steps, output", 1e-10)
        assert done[1].keys() == state.keys()
        for name, kept in state.items():
            assert done[1][name].shape[1:] == kept.shape[1:]
            same = torch.where(kept.isfinite(), done[1][name] - kept, (done[1][name] != kept).to(kept))
            assert same.abs().sum() <= 1e-10 * (1 + kept[kept.isfinite()].abs().sum()), f"{time} steps, state {name}"


def check_gradients(case: Case) -> None:
    """Gradients equal finite differences in double precision, at a tiny size."""
    w = case.weights(seeds=(3,), dtype=torch.float64)
    if not (case.read(list(case.types)) or w):
        return
    xs = [x.detach()[:, :2].requires_grad_() for x in case.inputs(copies=1, time=3, dtype=torch.float64)]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(parallel(case, dict(zip(w, values, strict=False)), list(values[len(w) :])))

    assert torch.autograd.gradcheck(run, (*w.values(), *xs), fast_mode=True)


def check_time(case: Case, dtype: torch.dtype = torch.float32) -> None:
    """An output depends on no later step, by perturbation and by gradient; on its own alone if time is not mixed."""
    if not case.op.is_causal():
        return
    tolerance, slope = (TOLERANCE, 1e-6) if dtype == torch.float32 else (1e-11, 1e-11)
    at, w = case.time // 2, case.weights(dtype=dtype)
    xs = case.inputs(dtype=dtype)
    ys = parallel(case, w, xs)
    moved = [x.detach().clone() for x in xs]
    for x, t in zip(moved, case.types, strict=True):
        x[:, :, math.floor(at * t.rate)] += 1.0
    for y, z, t in zip(ys, parallel(case, w, moved), case.outputs, strict=True):
        before = math.floor(at * t.rate)
        close(z[:, :, :before], y[:, :, :before], "output before the change", tolerance)
        if not case.op.mixes_time:
            close(z[:, :, at + 1 :], y[:, :, at + 1 :], "output after the change", tolerance)
    for y, t in zip(ys, case.outputs, strict=True):
        step = math.floor(at * t.rate)
        closed = (step + 1) / t.rate
        grads = _derived([y[:, :, step].square().sum()], case.read(xs))
        for g, kind in zip(grads, case.read(case.types), strict=True):
            later = g[:, :, math.floor(closed * kind.rate) :]
            assert largest(later) <= slope * max(largest(g), 1.0), "a gradient reaches later steps"
            if not case.op.mixes_time:
                assert largest(g[:, :, :at]) == 0.0, "a gradient reaches earlier steps"


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
    for v, good in zip(bad, (*xs, *w.values()), strict=True):
        v.requires_grad_(good.requires_grad)
    together = dict(zip(w, bad[len(xs) :], strict=True))
    ys = parallel(case, together, bad[: len(xs)])
    grads = _gradients(ys, [*case.read(bad[: len(xs)]), *trained(together).values()])
    for e, seed in ((1, 5), (2, 8)):
        w1, xs1 = case.weights(seeds=(seed,)), [x.detach()[e : e + 1].requires_grad_() for x in xs]
        ys1 = parallel(case, w1, xs1)
        for y, y1 in zip(ys, ys1, strict=True):
            close(y[e : e + 1], y1, f"output of copy {e}")
        g = torch.Generator().manual_seed(7)
        mine = [torch.randn(y.shape, generator=g)[e : e + 1] for y in ys]
        parts = [(y * m).sum() for y, m in zip(ys1, mine, strict=True)]
        for got, solo in zip(grads, _derived(parts, [*case.read(xs1), *trained(w1).values()]), strict=True):
            close(got[e : e + 1], solo, f"gradient of copy {e}")


def check_weights(case: Case) -> None:
    """Weights are float32, finite, of the stated shapes, and the same for the same seed and other for another."""
    shapes = case.op.weight_shapes(*case.types)
    for declared in case.op.weights(*case.types):
        a, b, c = (draw(declared, declared.name, (seed,)) for seed in (1, 1, 2))
        assert a.shape == (1, *shapes[declared.name])
        assert a.dtype == torch.float32 and a.isfinite().all()
        assert torch.equal(a, b)
        if a.unique().numel() > 2 and declared.name not in ("frequency", "log_a"):  # S4D's are a fixed row
            assert not torch.equal(a, c)
        assert declared.lr_mult > 0
    assert case.op.params(*case.types) == sum(v[0].numel() for v in trained(case.weights()).values())


def check_cost(case: Case) -> None:
    """The stated bytes of state are those that one stream really carries; operations and span are sensible."""
    cost = case.op.cost(*case.types, time=case.time)
    assert cost.flops >= 0 and 1 <= cost.span <= case.time
    if not decodes(case):
        return
    w, xs = case.weights(seeds=(3,)), [x[:, :1] for x in case.inputs(copies=1)]
    state = case.op.start(w, 1, *case.types)
    for one in ticks(case, xs):
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
