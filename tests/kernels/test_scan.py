"""Scans against plain loops, in both formulations, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from archsearch.kernels import scan as module
from archsearch.kernels.block_scan import block_scan
from archsearch.kernels.dispatch import scan_in_parallel
from archsearch.kernels.scan import cumulate, scan
from tests.ops.contract import close

TIMES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 64, 101]
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def loop(step: Callable[[Tensor, Tensor, Tensor], Tensor], a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    states = []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = step(a_t, h, b_t)
        states.append(h)
    return torch.stack(states, 1)


def agree(ours: Tensor, theirs: Tensor, of: list[Tensor], tolerance: float) -> None:
    """Equal values, equal gradients of a random sum."""
    close(ours, theirs, "states", tolerance)
    g = torch.randn_like(ours)
    pairs = zip(*(torch.autograd.grad(y, of, g, retain_graph=True) for y in (ours, theirs)), strict=True)
    for i, (p, q) in enumerate(pairs):
        assert (p - q).abs().max() <= tolerance * max(1.0, q.abs().max().item()), f"gradient {i}"


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("time", TIMES)
def test_scan_equals_the_loop(time: int, parallel: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "scan_in_parallel", lambda *sizes: parallel)
    a, b = (draw(3, time, 5, dtype=dtype, seed=s) for s in (1, 2))
    start = draw(3, 5, dtype=dtype, seed=3)
    small = torch.tanh(a)
    step = lambda a, h, b: a * h + b  # noqa: E731
    agree(scan(small, b, start), loop(step, small, b, start), [a, b, start], TOLERANCES[dtype])
    agree(scan(small, b), loop(step, small, b, torch.zeros_like(start)), [a, b], TOLERANCES[dtype])


def test_zeros_signs_and_large_decays_do_no_harm() -> None:
    a, b = draw(2, 40, 6, seed=1), draw(2, 40, 6, seed=2)
    with torch.no_grad():
        a[:, ::3] = 0.0
        a[:, 1::3] *= -2.0
    states = scan(a, b)
    agree(states, loop(lambda a, h, b: a * h + b, a, b, torch.zeros(2, 6, dtype=a.dtype)), [a, b], 1e-10)


def test_sequences_that_fill_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    a, b, start = draw(7, 10, 4, seed=1), draw(7, 10, 4, seed=2), draw(7, 4, seed=3)
    agree(scan(a, b, start), loop(lambda a, h, b: a * h + b, a, b, start), [a, b, start], 1e-10)


def test_a_decay_may_be_one_for_many_lanes() -> None:
    a, b = draw(2, 9, 1, seed=1), draw(2, 9, 4, seed=2)
    wide = a.expand(2, 9, 4)
    agree(scan(wide, b), loop(lambda a, h, b: a * h + b, wide, b, torch.zeros(2, 4, dtype=a.dtype)), [a, b], 1e-10)


def test_running_sums() -> None:
    b, start = draw(2, 9, 4, seed=2), draw(2, 4, seed=3)
    ones = torch.ones_like(b)
    close(cumulate(b, start), loop(lambda a, h, b: a * h + b, ones, b, start), "sums", 1e-12)
    close(cumulate(b), scan(ones, b), "sums", 1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("time", TIMES)
def test_block_scan_equals_the_loop(time: int, k: int) -> None:
    a, b, start = draw(3, time, k, k, 5, seed=1), draw(3, time, k, 5, seed=2), draw(3, k, 5, seed=3)
    small = a * 0.5
    theirs = loop(lambda a, h, b: torch.einsum("nijl,njl->nil", a, h) + b, small, b, start)
    agree(block_scan(small, b, start), theirs, [a, b, start], 1e-10)


def test_few_lanes_scan_in_parallel_on_a_cpu_and_all_do_elsewhere() -> None:
    assert scan_in_parallel(torch.device("cpu"), 64, 1024)
    assert not scan_in_parallel(torch.device("cpu"), 4096, 1024)
    assert scan_in_parallel(torch.device("cuda"), 4096, 1024)
