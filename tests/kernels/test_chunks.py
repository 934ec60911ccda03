"""Linear attention and the delta rule in chunks against a state that is carried step by step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archsearch.kernels.delta_rule import delta_rule
from archsearch.kernels.dispatch import chunk_length, scaled_chunk, system_chunk
from archsearch.kernels.linear_attention import chunked, read, states
from tests.kernels.test_scan import agree, draw

N, R, V = 3, 5, 4


def loop(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None, state: Tensor | None, w: Tensor | None = None) -> Tensor:
    s = torch.zeros(N, R, V, dtype=k.dtype) if state is None else state
    ys = []
    for t in range(k.shape[1]):
        u = v[:, t] if w is None else v[:, t] + torch.einsum("nrv,nr->nv", s, w[:, t])
        s = s if g is None else s * g[:, t, :, None]
        s = s + torch.einsum("nr,nv->nrv", k[:, t], u)
        ys.append(torch.einsum("nrv,nr->nv", s, q[:, t]))
    return torch.stack(ys, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("width", [0, 1, R])
@pytest.mark.parametrize("time", [1, 2, 31, 32, 33, 70])
def test_linear_attention(time: int, width: int, start: bool, dtype: torch.dtype) -> None:
    q, k, v = (draw(N, time, c, dtype=dtype, seed=c + i) for i, c in enumerate((R, R, V)))
    g = draw(N, time, width, dtype=dtype, seed=7) if width else None
    state = draw(N, R, V, dtype=dtype, seed=8) if start else None
    decay = None if g is None else torch.where(g > 1.0, 0.0, torch.tanh(g))  # zeros and negative ones among them
    chunks = chunked(k, v, decay, state)
    of = [x for x in (q, k, v, g, state) if x is not None]
    agree(read(q, chunks, states(chunks)), loop(q, k, v, decay, state), of, 1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("time", [1, 2, 31, 32, 33, 70])
def test_delta_rule(time: int, gated: bool, start: bool, dtype: torch.dtype) -> None:
    q, raw, v = (draw(N, time, c, dtype=dtype, seed=c + i) for i, c in enumerate((R, R, V)))
    g = draw(N, time, 1, dtype=dtype, seed=7) if gated else None
    state = draw(N, R, V, dtype=dtype, seed=8) if start else None
    decay = None if g is None else torch.sigmoid(g)
    k = torch.nn.functional.normalize(raw, dim=-1)
    w = -0.8 * k + 0.01 * q
    chunks, before = delta_rule(w, chunked(k, v, decay, state))
    of = [x for x in (q, raw, v, g, state) if x is not None]
    wanted = loop(q, k, v, decay, state, w)
    agree(read(q, chunks, before), wanted, of, 1e-5 if dtype == torch.float32 else 1e-10)


def test_chunks_are_longer_with_more_rows_and_on_a_gpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert chunk_length(cpu, 16) < chunk_length(cpu, 64) < chunk_length(gpu, 64)
    assert scaled_chunk(cpu, 8, 100) < scaled_chunk(cpu, 16, 100) < scaled_chunk(cpu, 128, 100)


@pytest.mark.parametrize("time", [1, 2, 3, 15, 100])
def test_a_chunk_in_two_halves_is_even_and_no_longer_than_it_must(time: int) -> None:
    for choose in (scaled_chunk, system_chunk):
        length = choose(torch.device("cpu"), 64, time)
        assert length % 2 == 0
        assert length <= max(2, time)
