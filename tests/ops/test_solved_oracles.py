"""Solved cores against independent solvers, by their residuals, and over long sequences."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from archsearch.kernels import quadratic, ridge
from archsearch.kernels.quadratic import Programs, interior_point, minimise
from archsearch.ops.base import Context
from tests.ops.contract import Case, close, parallel

ORACLES = Path("/tmp/oracles")
PACKAGES = "flash-linear-attention fla-core einops qpth"
"""What is only compared with."""


def oracle(path: str) -> ModuleType:
    """A file of `ORACLES` as a module, without its package, which may need a GPU; skips where it is not."""
    file = ORACLES / path
    if not file.is_file():
        pytest.skip(f"pip install --no-deps --target {ORACLES} {PACKAGES}")
    sys.path.append(str(ORACLES))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ORACLES))
    return module


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mesa_inputs(time: int, heads: int, rows: int, columns: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries and keys of length one, values, weights and logarithms of decays, `(1, 2, T, ·)`."""
    q, k = (torch.nn.functional.normalize(normal(1, 2, time, heads, rows, seed=s), dim=-1).flatten(3) for s in (1, 2))
    v, b, g = normal(1, 2, time, heads * columns, seed=3), normal(1, 2, time, heads, seed=4), normal(1, 2, time, heads)
    decay = -torch.nn.functional.softplus(g) / 16
    return [x.to(dtype) for x in (q, k, v, b.sigmoid(), decay)]


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (16, 8)])
def test_mesa_is_the_least_squares_fit_of_all_examples_so_far(rows: int, columns: int) -> None:
    case = Case("mesa_core", {"heads": 2}, (2 * rows, 2 * rows, 2 * columns))
    q, k, v, _, _ = mesa_inputs(15, 2, rows, columns, torch.float64)
    w = case.weights(seeds=(1,), dtype=torch.float64)
    (y,) = parallel(case, w, [q, k, v])
    query, key, value = (x[0, 1].unflatten(-1, (2, -1)) for x in (q, k, v))
    penalty = (torch.nn.functional.softplus(w["penalty"][0]) + 0.25).sqrt()
    close(penalty, torch.ones_like(penalty), "the penalty at the start", 1e-6)
    for t in (0, 7, 14):
        for h in range(2):
            # Ridge regression is least squares with one more example of value zero for every feature.
            a = torch.cat([key[: t + 1, h], torch.diag(penalty[h])])
            b = torch.cat([value[: t + 1, h], torch.zeros(rows, columns, dtype=torch.float64)])
            fit = torch.linalg.lstsq(a, b).solution
            close(y[0, 1, t].unflatten(-1, (2, -1))[h], query[t, h] @ fit, f"step {t}, head {h}", 1e-9)


def test_mesa_equals_another_implementation() -> None:
    naive = oracle("fla/ops/mesa_net/naive.py").naive_mesa_net_exact
    case = Case("mesa_core", {"heads": 2}, (16, 16, 16, 2, 2))
    xs = mesa_inputs(40, 2, 8, 8, torch.float32)
    w = case.weights(seeds=(1,))
    (y,) = parallel(case, w, xs)
    q, k, v, beta, decay = (x[0] for x in xs)
    penalty = torch.nn.functional.softplus(w["penalty"][0]) + 0.25
    q, k, v = (x.unflatten(-1, (2, -1)) for x in (q, k, v))
    theirs = naive(q, k, v, decay, penalty, beta)[0]
    close(y[0], theirs.flatten(2), "output")


def test_mesa_solves_its_equations_over_a_long_sequence() -> None:
    time = 8192
    q, k, _, beta, decay = (x[0, :1].transpose(0, 2) for x in mesa_inputs(time, 1, 16, 1, torch.float32))
    q, k, b, g = (x.transpose(0, 2) for x in (q, k, k * beta, decay.exp()))
    penalty = torch.ones(1, 16)
    x = ridge.ridge(q, k, b, penalty, g)
    h, worst = torch.zeros(16, 16, dtype=torch.float64), 0.0
    for t, (k_t, b_t, g_t) in enumerate(zip(*(z[0].double().unbind(0) for z in (k, b, g)), strict=True)):
        h = g_t * h + torch.outer(k_t, b_t)
        off = (h + torch.eye(16, dtype=torch.float64)) @ x[0, t].double() - q[0, t]
        worst = max(worst, (off.norm() / q[0, t].norm()).item())
    assert worst < 1e-5


def test_mesa_does_not_care_how_its_time_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("mesa_core", {"heads": 2}, (8, 8, 8, 2, 2))
    results = []
    for block in (1 << 20, 1):
        monkeypatch.setattr(ridge, "_BLOCK", block)
        xs = [x.requires_grad_() for x in mesa_inputs(19, 2, 4, 4, torch.float64)]
        (y,) = parallel(case, case.weights(dtype=torch.float64, seeds=(1,)), xs)
        results.append([y, *torch.autograd.grad(y.square().sum(), xs)])
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        close(a, b, f"result {i}", 1e-12)


def test_mesa_trains_over_a_long_sequence_in_little_memory() -> None:
    case = Case("mesa_core", {"heads": 4}, (64, 64, 64, 4, 4))
    xs = [x[:, :1].clone().requires_grad_() for x in mesa_inputs(8192, 4, 16, 16, torch.float32)]
    saved = [0]

    def keep(x: Tensor) -> Tensor:
        saved[0] += x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        (y,) = parallel(case, case.weights(seeds=(1,)), xs)
    grads = torch.autograd.grad(y.sum(), xs)
    assert all(x.isfinite().all() for x in (y, *grads))
    matrices = 8192 * 4 * 16 * 16 * 4
    assert saved[0] < 4 * matrices  # the matrices of all steps, had they been kept with their factors, are thrice that


def programs(n: int, c: int, k: int, dtype: torch.dtype = torch.float64) -> Programs:
    """Programs that bind at some constraints."""
    factor = torch.eye(c) + 0.3 * normal(n, c, c, seed=1, dtype=torch.float32)
    room = 0.3 + normal(n, k, seed=4, dtype=torch.float32).abs()
    q = factor @ factor.mT + 0.1 * torch.eye(c)
    g, inside = normal(n, k, c, seed=2, dtype=torch.float32), 0.1 * normal(n, c, seed=3, dtype=torch.float32)
    return Programs(*(x.to(dtype) for x in (q, g, inside, room)))


@pytest.mark.parametrize(("c", "k"), [(4, 2), (8, 8), (3, 12)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_solutions_meet_the_conditions_of_karush_kuhn_and_tucker(
    c: int, k: int, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    given, p = programs(3, c, k, dtype), (scale * normal(3, 50, c, seed=5)).to(dtype)
    found = interior_point(p, given, 20)
    z, dual = found.z, found.dual
    size = max(1.0, dual.max().item())
    stationary = z @ given.q + p + dual @ given.g
    left = given.h.unsqueeze(1) - z @ given.g.mT
    assert stationary.abs().max() < tolerance * scale * size
    assert left.min() > -tolerance * scale
    assert dual.min() >= 0.0
    assert (left * dual).abs().max() < tolerance * scale * size
    assert (left < 1e-4).any(-1).float().mean() > 0.2, "some constraint binds in many of the programs"


@pytest.mark.parametrize("c", [2, 8])
def test_large_inputs_are_solved_in_the_iterations_of_the_layer(c: int) -> None:
    """A hundred times as large as what a norm leaves; at ten thousand times more iterations would be needed."""
    layer = Case("quadratic_layer", {"heads": 4}, (4 * c,))
    given = layer.op._programs({k: v.double() for k, v in layer.weights(seeds=(2,)).items()})
    p = 100.0 * normal(4, 200, c, seed=5)
    found = interior_point(p, given, layer.op.iterations)
    residual = found.z @ given.q + p + found.dual @ given.g
    over = found.z @ given.g.mT - given.h.unsqueeze(1)
    assert residual.abs().max() < 1e-7 * 100.0 and over.max() < 1e-9 * 100.0
    assert (found.slack * found.dual).max() < 1e-7 * 100.0**2


@pytest.mark.parametrize("c", [2, 3])
def test_solutions_are_the_best_of_many_feasible_points(c: int) -> None:
    given, p = programs(1, c, 5), 3.0 * normal(1, 20, c, seed=5)
    z = interior_point(p, given, 20).z
    tried = z[0].unsqueeze(1) + 0.05 * normal(20, 2000, c, seed=6)

    def value(points: Tensor) -> Tensor:
        return 0.5 * ((points @ given.q[0]) * points).sum(-1) + (points * p[0].unsqueeze(1)).sum(-1)

    feasible = (tried @ given.g[0].mT <= given.h[0]).all(-1)
    assert feasible.float().mean() > 0.1
    worse = value(tried) - value(z[0].unsqueeze(1))
    assert worse[feasible].min() > -1e-9


def test_programs_without_a_binding_constraint_are_linear_systems() -> None:
    given, p = programs(2, 4, 3), 0.01 * normal(2, 5, 4, seed=5)
    free = Programs(given.q, given.g, given.inside, given.room + 10.0)
    close(minimise(p, free, 20), -torch.linalg.solve(given.q.unsqueeze(1), p.unsqueeze(-1)).squeeze(-1), "z", 1e-9)


def test_programs_do_not_care_how_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    given, p = programs(2, 4, 3), normal(2, 9, 4, seed=5)
    whole = interior_point(p, given, 12)
    monkeypatch.setattr(quadratic, "_BLOCK", 1)
    for name in ("z", "dual", "slack"):
        close(getattr(interior_point(p, given, 12), name), getattr(whole, name), name, 1e-12)


def test_equal_bounds_leave_a_program_regular() -> None:
    given = programs(1, 3, 2)
    twice = Programs(given.q, given.g.repeat(1, 2, 1), given.inside, given.room.repeat(1, 2))
    p = (5.0 * normal(1, 30, 3, seed=5)).requires_grad_()
    z = minimise(p, twice, 20)
    close(z, minimise(p, given, 20), "z", 1e-6)
    assert torch.autograd.grad(z.sum(), p)[0].isfinite().all()


def test_the_optimisation_layer_equals_another_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", ModuleType("cvxpy"))  # another of its solvers, which is not asked
    monkeypatch.syspath_prepend(str(ORACLES))
    solver = pytest.importorskip("qpth.qp").QPFunction
    given, p = programs(1, 5, 4), normal(1, 12, 5, seed=5).requires_grad_()
    z = minimise(p, given, 20)
    none = torch.empty(0, dtype=torch.float64)
    theirs = solver(verbose=-1)(given.q[0], p[0], given.g[0], given.h[0], none, none)
    close(z[0], theirs, "z", 1e-6)
    ours, other = (torch.autograd.grad(y.square().sum(), p)[0] for y in (z[0], theirs))
    close(ours, other, "gradient", 1e-4)


def test_kernel_regression_is_a_quotient_of_sums() -> None:
    case = Case("kernel_regression", {"heads": 2, "bandwidth": 0.8}, (6, 6, 8))
    q, k, v = (x.double() for x in case.inputs(copies=1))
    (y,) = parallel(case, case.weights(seeds=(1,), dtype=torch.float64), [q, k, v])
    q, k, v = (x[0].unflatten(-1, (2, -1)).transpose(1, 2) for x in (q, k, v))
    likeness = torch.exp(-torch.cdist(q, k).square() / (2 * 0.8**2)).tril()
    expected = (likeness @ v) / likeness.sum(-1, keepdim=True)
    close(y[0], expected.transpose(1, 2).flatten(2), "output", 1e-6)


def test_a_wide_kernel_averages_and_a_narrow_one_recalls() -> None:
    keys, values = normal(1, 1, 12, 8, seed=1), normal(1, 1, 12, 8, seed=2)
    for bandwidth, expected in ((1e4, values.cumsum(2) / torch.arange(1, 13)[:, None]), (1e-2, values)):
        case = Case("kernel_regression", {"heads": 1, "bandwidth": bandwidth}, (8, 8, 8))
        close(
            parallel(case, case.weights(seeds=(1,), dtype=torch.float64), [keys, keys, values])[0], expected, "y", 1e-5
        )


def test_a_bandwidth_by_default_is_as_sharp_as_attention() -> None:
    case = Case("kernel_regression", {"heads": 4}, (64, 64, 64))
    w = case.weights(seeds=(1,))
    assert torch.exp(2 * w["log_bandwidth"]).mean().item() == pytest.approx(math.sqrt(16))
    x = normal(1, 2, 5, 64, dtype=torch.float32)
    assert case.op.forward(w, x, x, x, ctx=Context()).shape == x.shape
