"""Long convolutions against explicit sums over their taps, and against lengths that they were not made for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from archsearch.kernels.fft_conv import causal_convolution
from archsearch.ops.base import Context
from tests.ops.contract import Case, close, parallel


def by_hand(x: Tensor, k: Tensor) -> Tensor:
    """`y_t = Σ_j k_j x_{t−j}` for `x` of (T, D) and `k` of (D, L)."""
    rows = [sum(k[:, j] * x[t - j] for j in range(min(t + 1, k.shape[1]))) for t in range(len(x))]
    return torch.stack(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(("time", "taps"), [(1, 1), (9, 9), (9, 4), (16, 1), (31, 17)])
def test_filters_shorter_than_the_sequence(time: int, taps: int) -> None:
    x, k = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, time, 5), (2, 5, taps)))
    y = causal_convolution(x, k)
    close(y[1, 2], by_hand(x[1, 2], k[1]), "output", 1e-12)
    assert torch.autograd.gradcheck(causal_convolution, (x, k), fast_mode=True)


def test_a_long_convolution_is_the_sum_over_its_squashed_taps() -> None:
    case = Case("long_conv_core", {"length": 12, "squash": 0.1})
    w, (x,) = case.weights(seeds=(4,)), case.inputs(copies=1)
    k = w["filter"][0].detach()
    k = torch.where(k.abs() > 0.1, k - 0.1 * k.sign(), torch.zeros_like(k))
    assert 0 < (k == 0).float().mean() < 1
    close(parallel(case, w, [x])[0][0, 0], by_hand(x[0, 0], k) + w["skip"][0] * x[0, 0], "output")


def test_filters_start_with_the_energy_of_a_single_tap() -> None:
    (weight,) = Case("long_conv_core", {"length": 500}, (64,)).weights(seeds=(1,))["filter"]
    energy = weight.square().sum(1)
    assert 0.8 < energy.mean() < 1.2
    ends = [row.square().cumsum(0).ge(0.9 * e).nonzero()[0].item() for row, e in zip(weight, energy, strict=True)]
    assert sum(ends[:8]) > 4 * sum(ends[-8:]), "the first features see far, the last ones near"


def test_an_implicit_convolution_is_the_sum_over_the_taps_of_its_network() -> None:
    case = Case("implicit_conv", {"length": 10, "hidden": 6, "bands": 3})
    w, (x,) = {k: v.double() for k, v in case.weights(seeds=(4,)).items()}, case.inputs(copies=1, dtype=torch.float64)
    one = {k: v[0] for k, v in w.items()}
    taps = []
    for step in range(x.shape[2]):
        u = step / 10
        z = torch.tensor([u, *(math.cos(2 * math.pi * k * u) for k in range(3))]).double()
        z = torch.cat([z, torch.tensor([-math.sin(2 * math.pi * k * u) for k in range(3)]).double()])
        for i in range(3):
            z = torch.sin(one["frequency"] * (one[f"layer{i}"] @ z + one[f"bias{i}"]))
        alpha = torch.linspace(math.log(100) / 1.5, math.log(100) / 0.3, 8).double()
        taps.append(torch.exp(-alpha * u) * (one["out"] @ z))
    close(
        parallel(case, w, [x])[0][0, 0], by_hand(x[0, 0], torch.stack(taps, 1)) + one["skip"] * x[0, 0], "output", 1e-6
    )


@pytest.mark.parametrize("name", ["long_conv_core", "implicit_conv"])
def test_what_a_step_gives_does_not_depend_on_how_long_the_sequence_is(name: str) -> None:
    """Also beyond the length of the filter."""
    case = Case(name, {"length": 16})
    w, (x,) = case.weights(), case.inputs(time=64)
    whole = parallel(case, w, [x])[0]
    for time in (5, 16, 33):
        close(parallel(case, w, [x[:, :, :time]])[0], whole[:, :, :time], f"{time} steps")
    if name == "long_conv_core":
        moved = torch.cat([x[:, :, :48] + 1.0, x[:, :, 48:]], 2)
        close(parallel(case, w, [moved])[0][:, :, 63:], whole[:, :, 63:], "a step sees no further than the filter")


def test_the_state_of_a_bounded_filter_stops_growing() -> None:
    case = Case("long_conv_core", {"length": 4})
    w, (x,) = case.weights(), case.inputs(time=6)
    state, kept = case.op.start(w, 3, *case.types), []
    for x_t in x.unbind(2):
        _, state = case.op.step(w, state, x_t, ctx=Context())
        kept.append(state["past"].shape[-1])
    assert kept == [1, 2, 3, 3, 3, 3]


@pytest.mark.parametrize("name", ["long_conv_core", "implicit_conv"])
def test_long_sequences_are_finite_under_autocast_too(name: str) -> None:
    case = Case(name)
    w, (x,) = case.weights(seeds=(1,)), case.inputs(copies=1, time=2048)
    with torch.autocast("cpu", torch.bfloat16):
        y = parallel(case, w, [x.bfloat16()])[0]
    y.square().mean().backward()
    assert y.dtype == torch.float32
    assert all(v.grad is not None and v.grad.isfinite().all() for v in w.values())
