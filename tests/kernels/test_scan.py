"""Scans against plain loops, in both formulations, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from archsearch.kernels import scan as module
from archsearch.kernels.block_scan import block_scan
from archsearch.kernels.dispatch import scan_chunk
from archsearch.kernels.scan import cumulate, gated_scan, scan
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


def affine(a: Tensor, h: Tensor, b: Tensor) -> Tensor:
    return a * h + b


def gated(z: Tensor, h: Tensor, c: Tensor) -> Tensor:
    return (1 - z) * h + z * c


def agree(ours: Tensor, theirs: Tensor, of: list[Tensor], tolerance: float) -> None:
    """Equal values, equal gradients of a random sum."""
    close(ours, theirs, "states", tolerance)
    g = torch.randn_like(ours)
    pairs = zip(*(torch.autograd.grad(y, of, g, retain_graph=True) for y in (ours, theirs)), strict=True)
    for i, (p, q) in enumerate(pairs):
        assert (p - q).abs().max() <= tolerance * max(1.0, q.abs().max().item()), f"gradient {i}"


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("chunk", [0, 1, 3, 8])
@pytest.mark.parametrize("time", TIMES)
def test_scan_equals_the_loop(time: int, chunk: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "scan_chunk", lambda device, lanes, steps: min(chunk, steps))
    a, b = (draw(3, time, 5, dtype=dtype, seed=s) for s in (1, 2))
    start = draw(3, 5, dtype=dtype, seed=3)
    small = torch.tanh(a)
    agree(scan(small, b, start), loop(affine, small, b, start), [a, b, start], TOLERANCES[dtype])
    agree(scan(small, b), loop(affine, small, b, torch.zeros_like(start)), [a, b], TOLERANCES[dtype])


@pytest.mark.parametrize("chunk", [0, 1, 3, 8])
@pytest.mark.parametrize("time", TIMES)
def test_gated_scan_equals_the_loop(time: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "scan_chunk", lambda device, lanes, steps: min(chunk, steps))
    z, c, start = draw(3, time, 5, seed=1), draw(3, time, 5, seed=2), draw(3, 5, seed=3)
    gate = torch.sigmoid(z)
    agree(gated_scan(gate, c, start), loop(gated, gate, c, start), [z, c, start], 1e-10)
    agree(gated_scan(gate, c), loop(gated, gate, c, torch.zeros_like(start)), [z, c], 1e-10)


def test_zeros_signs_and_large_decays_do_no_harm() -> None:
    a, b = draw(2, 40, 6, seed=1), draw(2, 40, 6, seed=2)
    with torch.no_grad():
        a[:, ::3] = 0.0
        a[:, 1::3] *= -2.0
    states = scan(a, b)
    agree(states, loop(affine, a, b, torch.zeros(2, 6, dtype=a.dtype)), [a, b], 1e-10)


def test_a_decay_may_be_one_for_many_lanes() -> None:
    a, b = draw(2, 9, 1, seed=1), draw(2, 9, 4, seed=2)
    wide = a.expand(2, 9, 4)
    agree(scan(wide, b), loop(affine, wide, b, torch.zeros(2, 4, dtype=a.dtype)), [a, b], 1e-10)


def test_running_sums() -> None:
    b, start = draw(2, 9, 4, seed=2), draw(2, 4, seed=3)
    ones = torch.ones_like(b)
    close(cumulate(b, start), loop(affine, ones, b, start), "sums", 1e-12)
    close(cumulate(b), scan(ones, b), "sums", 1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("time", TIMES)
def test_block_scan_equals_the_loop(time: int, k: int) -> None:
    a, b, start = draw(3, time, k, k, 5, seed=1), draw(3, time, k, 5, seed=2), draw(3, k, 5, seed=3)
    small = a * 0.5
    theirs = loop(lambda a, h, b: torch.einsum("nijl,njl->nil", a, h) + b, small, b, start)
    agree(block_scan(small, b, start), theirs, [a, b, start], 1e-10)


def test_block_scan_of_sequences_that_fill_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    a, b, start = draw(7, 10, 1, 1, 4, seed=1), draw(7, 10, 1, 4, seed=2), draw(7, 1, 4, seed=3)
    theirs = loop(affine, a[:, :, 0], b, start)
    agree(block_scan(a, b, start), theirs, [a, b, start], 1e-10)


def test_few_lanes_go_in_chunks_and_many_one_step_after_the_other() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert 16 <= scan_chunk(cpu, 1024, 1024) <= 64
    assert scan_chunk(cpu, 4096, 1024) == scan_chunk(cpu, 1024, 16) == 1
    assert scan_chunk(gpu, 4096, 1024) == 0


@pytest.mark.parametrize("time", [33, 100, 257])
def test_the_chunks_that_are_chosen_give_the_same(time: int) -> None:
    a, b, start = draw(2, time, 3, seed=1), draw(2, time, 3, seed=2), draw(2, 3, seed=3)
    small = torch.tanh(a)
    agree(scan(small, b, start), loop(affine, small, b, start), [a, b, start], 1e-10)
