"""Fixed points: what is found, its gradient, who sees whom, decoding, shared weights, and what is refused."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from archsearch.build.decode import Decoder
from archsearch.build.model import Model, build
from archsearch.content import block_files
from archsearch.errors import FileError
from archsearch.graph.analysis import facts
from archsearch.graph.architecture import Architecture
from archsearch.graph.normal import digest
from archsearch.graph.space import SearchSpace
from archsearch.kernels.fixed_point import solve
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind

INPUT, OUTPUT = InputKind("vectors", 5), OutputKind("steps", 4)
PLAIN = "{in: [z, x], nodes: {w: {op: linear, from: z}, s: {op: add, from: [w, x]}, out: {op: tanh, from: s}}}"
OVER_TIME = (
    "{in: [z, x], nodes: {s: {op: add, from: [z, x]}, g: {op: gru, from: s}, a: {op: attention, heads: 2, from: g}, "
    "out: {op: scale, by: 0.5, from: a}}}"
)


def architecture(body: str, more: str = "", width: int = 8) -> Architecture:
    text = f"graph: {{op: fixed_point, body: {body}{', ' + more if more else ''}}}\nscale: {{width: {width}}}"
    return space(text).sample(random.Random(0)).architecture


def space(text: str) -> SearchSpace:
    return SearchSpace.parse(text, registry(), path="space.yaml", definitions=block_files())


def model(found: Architecture, seeds: tuple[int, ...] = (0, 1)) -> Model:
    return build(found, INPUT, OUTPUT, seeds=seeds).double()


def inputs(batch: int = 3, time: int = 7) -> Tensor:
    return torch.randn(batch, time, 5, generator=torch.Generator().manual_seed(3)).double()


def unrolled(m: Model, x: Tensor, times: int) -> Tensor:
    """The same model with its body applied a number of times, the gradient through all of them."""
    e = m.embed(x)
    weights = m.graph.get_submodule("out")._parameters
    w, b = weights["body.w.weight"], weights["body.w.bias"]
    assert w is not None
    assert b is not None
    z = torch.zeros_like(e)
    for _ in range(times):
        z = torch.tanh(torch.einsum("ebti,eoi->ebto", z, w) + b[:, None, None] + e)
    return m.answer(z)


@pytest.mark.parametrize("solver", ["anderson", "iterate"])
def test_the_implicit_gradient_is_that_of_very_many_applications(solver: str) -> None:
    m = model(architecture(PLAIN, f"tolerance: 1e-12, steps: 300, solver: {solver}"))
    x = inputs().requires_grad_()
    direction = torch.randn(2, 3, 7, 4, generator=torch.Generator().manual_seed(4)).double()
    of = [x, *m.parameters()]
    y, slow = m(x), unrolled(m, x, 200)
    torch.testing.assert_close(y, slow, atol=1e-9, rtol=1e-9)
    ours, theirs = (torch.autograd.grad((v * direction).sum(), of) for v in (y, slow))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", ["anderson", "iterate"])
def test_every_row_ends_within_the_tolerance(solver: str) -> None:
    w = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    w = 0.9 * w / torch.linalg.matrix_norm(w, 2)[:, None, None]
    x = torch.randn(4, 3, 5, 16, generator=torch.Generator().manual_seed(1)).double()

    calls = []

    def f(z: Tensor) -> Tensor:
        calls.append(1)
        return torch.tanh(torch.einsum("ebti,eoi->ebto", z, w) + x)

    z = solve(f, torch.zeros_like(x), steps=300, tolerance=1e-8, solver=solver)
    residual = (f(z) - z).norm(dim=-1) / f(z).norm(dim=-1)
    assert residual.max() <= 1e-8
    assert len(calls) < (25 if solver == "anderson" else 200)


@pytest.mark.parametrize("solver", ["anderson", "iterate"])
def test_a_row_that_does_not_converge_keeps_its_best_iterate(solver: str) -> None:
    start = torch.tensor([2.0, 0.5]).double().expand(1, 1, 1, 2)

    def grows(z: Tensor) -> Tensor:
        return torch.stack([z[..., 0] ** 2 - 1.5 * z[..., 1] + z[..., 0], 2.0 * z[..., 1] + 1.0], -1)

    def residual(z: Tensor) -> float:
        return (grows(z) - z).norm().item()

    for steps in (3, 7, 20):
        found = solve(grows, start, steps=steps, tolerance=0.0, solver=solver)
        assert residual(found) <= 2 * residual(start)  # the last iterate of all is not measured again
    # A row that comes closer with every step is given the last of them, not the one whose residual was measured last.
    near = solve(lambda z: 0.5 * z + 1.0, start, steps=4, tolerance=0.0, solver="iterate")
    torch.testing.assert_close(near, 2.0 + (start - 2.0) / 16)


def test_nobody_changes_with_what_else_is_in_the_batch() -> None:
    w = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double() / 4
    x = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(1)).double()
    x[:, 1] *= 30.0
    x[:, 2] = 0.0  # converges at once
    x[:, 3, 2] = torch.nan

    def found(x: Tensor) -> Tensor:
        return solve(
            lambda z: torch.tanh((z[..., None, :] * w).sum(-1) + x), torch.zeros_like(x), steps=20, tolerance=1e-3
        )

    together = found(x)
    for b in range(3):
        assert torch.equal(together[:, b], found(x[:, b : b + 1])[:, 0])
    assert torch.equal(together[:, 3, :2], found(x[:, 3:, :2])[:, 0])


def test_copies_stand_alone() -> None:
    found = architecture(PLAIN)
    x = inputs()
    both, second = model(found), model(found, (1,))
    torch.testing.assert_close(both(x)[1:], second(x), atol=1e-10, rtol=1e-10)


def test_a_body_that_mixes_time_sees_no_later_step() -> None:
    m = model(architecture(OVER_TIME, "tolerance: 1e-4"))
    x = inputs(time=9)
    late = x.clone()
    late[:, 5:] = 7.0
    torch.testing.assert_close(m(x)[:, :, :5], m(late)[:, :, :5], atol=1e-13, rtol=0)


@pytest.mark.parametrize("body", [PLAIN, OVER_TIME])
def test_decoding_finds_the_same_point(body: str) -> None:
    m = model(architecture(body, "tolerance: 1e-9, steps: 100")).eval()
    x = inputs()
    whole, decoder = m(x), Decoder(m)
    state, answers = decoder.start(3), []
    for one in x.unbind(1):
        answer, state = decoder.step(state, one)
        answers.append(answer)
    torch.testing.assert_close(torch.stack(answers, 2), whole, atol=1e-7, rtol=1e-7)
    after, prompt = decoder.prefill(x)
    torch.testing.assert_close(prompt, whole, atol=1e-7, rtol=1e-7)
    for name, value in after.items():
        torch.testing.assert_close(value, state[name], atol=1e-6, rtol=1e-6)


def test_dropout_draws_one_mask_for_the_whole_search() -> None:
    body = "{in: [z, x], nodes: {d: {op: dropout, rate: 0.5, from: z}, w: {op: linear, from: d}, "
    body += "s: {op: add, from: [w, x]}, out: {op: tanh, from: s}}}"
    m = build(architecture(body, "tolerance: 1e-6, steps: 60"), INPUT, OUTPUT, seeds=[0]).double().train()
    a, b = m(inputs()), m(inputs())
    assert not torch.equal(a, b)  # another mask in another pass
    a.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in m.parameters() if p.grad is not None)


def test_a_fixed_point_inside_of_a_fixed_point() -> None:
    inner = f"{{op: fixed_point, body: {PLAIN}, tolerance: 1e-10, from: s}}"
    body = f"{{in: [z, x], nodes: {{s: {{op: add, from: [z, x]}}, i: {inner}, out: {{op: scale, by: 0.5, from: i}}}}}}"
    m = model(architecture(body, "tolerance: 1e-9, steps: 60"), (0,))
    x = inputs(1, 2)[:, :, :].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: m(x).square().sum(), (x,), atol=1e-5)


def test_turns_of_a_repeat_share_weights() -> None:
    text = f"graph: {{repeat: {{op: fixed_point, body: {PLAIN}}}, times: 2, tie: weights}}\nscale: {{width: 8}}"
    m = model(space(text).sample(random.Random(0)).architecture)
    assert sum(p.numel() for p in m.graph.parameters()) == 2 * (8 * 8 + 8)


def test_facts_count_the_body_as_often_as_it_may_run() -> None:
    few, many = (facts(architecture(OVER_TIME, f"steps: {n}"), registry(), 16) for n in (1, 10))
    assert many.flops_per_token == pytest.approx(10 * few.flops_per_token)
    assert (many.span - 1, many.params, many.state_bytes) == (10 * (few.span - 1), few.params, few.state_bytes)
    assert not many.parallel_in_time
    assert facts(architecture(PLAIN), registry(), 16).parallel_in_time


def test_settings_and_body_are_part_of_the_identity() -> None:
    kinds = [(PLAIN, ""), (PLAIN, "steps: 31"), (PLAIN, "solver: iterate"), (OVER_TIME, "")]
    found = [architecture(*kind) for kind in kinds]
    assert len({digest(a, registry()) for a in found}) == 4
    assert all(Architecture.from_dict(a.to_dict()) == a for a in found)


REFUSED: list[tuple[str, str, tuple[str, ...]]] = [
    (
        "type",
        "{in: [z, x], op: linear, width: 3, from: {x: z}}",
        ("must give the type that it starts from", "3 from 8"),
    ),
    ("inputs", "{op: linear}", ("must depend on its guess",)),  # its port is called x
    ("inputs", "{in: [a, b], op: add, from: [a, b]}", ("must have the inputs z, x", "a, b")),
    ("guess", "{in: [z, x], op: tanh, from: x}", ("must depend on its guess",)),
    ("late", '{in: [z, x], op: add, from: ["z[t-1]", x]}', ("read late",)),
    ("ahead", "{in: [z, x], op: attention, causal: false, heads: 2, from: z}", ("causal",)),
]


@pytest.mark.parametrize(("name", "body", "says"), REFUSED)
def test_bodies_that_are_refused(name: str, body: str, says: tuple[str, ...]) -> None:
    with pytest.raises(FileError) as caught:
        architecture(body)
    for words in says:
        assert words in str(caught.value), caught.value
    assert str(caught.value).startswith("space.yaml:1:")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("steps: 0", "`steps` must be at least 1"),
        ("solver: andersen", "Did you mean 'anderson'|`anderson`"),
        ("tolerance: -1", "`tolerance` must be at least 0"),
    ],
)
def test_settings_that_are_refused(more: str, says: str) -> None:
    with pytest.raises(FileError, match=says):
        architecture(PLAIN, more)


def test_a_value_inside_is_read_inside_alone() -> None:
    text = """graph:
  nodes:
    start: {op: fixed_point_start, from: in}
    h: {op: tanh, from: start}
    end: {op: fixed_point_end, from: {next: h, start: start}}
    out: {op: add, from: [end, h]}
"""
    with pytest.raises(FileError, match=r"space.yaml:5:.*read inside of it alone.*`h`, read by `out`"):
        space(text).sample(random.Random(0))
