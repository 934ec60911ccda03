"""Caches that grow in place, against concatenation."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor

from archsearch.kernels.growing import longer

E, B, D = 2, 3, 4


def steps(count: int, seed: int = 0) -> list[Tensor]:
    return list(torch.randn(E, B, count, D, generator=torch.Generator().manual_seed(seed)).split(1, 2))


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("window", [None, 1, 5])
def test_every_cache_stays_as_it_was(window: int | None) -> None:
    xs = steps(100)
    caches = [xs[0]]
    for x in xs[1:]:
        size = caches[-1].shape[2]
        caches.append(longer(caches[-1], x, max(0, size + 1 - window) if window else 0))
    for t, cache in enumerate(caches):
        assert torch.equal(cache, torch.cat(xs[max(0, t + 1 - window) if window else 0 : t + 1], 2))


def test_a_cache_can_be_continued_twice() -> None:
    xs = steps(40)
    cache = xs[0]
    for x in xs[1:20]:
        cache = longer(cache, x)
    one, other = longer(cache, xs[20]), longer(cache, xs[30])
    one, other = longer(one, xs[21]), longer(other, xs[31])
    assert torch.equal(one, torch.cat(xs[:22], 2))
    assert torch.equal(other, torch.cat([*xs[:20], *xs[30:32]], 2))


def test_most_steps_copy_nothing() -> None:
    cache, buffers = steps(1)[0], set()
    for x in steps(1000):
        cache = longer(cache, x)
        buffers.add(cache.untyped_storage().data_ptr())
        assert cache.untyped_storage().nbytes() <= max(16, 2 * cache.shape[2]) * cache[:, :, :1].nbytes
    assert len(buffers) <= 8


def test_a_cache_is_a_plain_tensor_that_can_be_loaded() -> None:
    a, b, c = steps(3)
    cache, file = longer(a, b), io.BytesIO()
    torch.save({"k": cache}, file)
    file.seek(0)
    again = torch.load(file, weights_only=True)["k"]
    assert torch.equal(longer(again, c), longer(cache, c))


def test_gradients_go_through() -> None:
    a, b, c = (x.requires_grad_() for x in steps(3))
    with torch.enable_grad():
        cache = longer(longer(a, b), c)
        found = torch.autograd.grad(cache.square().sum(), (a, b, c))
    assert torch.equal(torch.cat(found, 2), 2 * cache)
