"""Kernels against plain forms, at sizes that the contract of ops does not reach."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archsearch.kernels.diagonal import impulse_response
from archsearch.kernels.dispatch import gru_in_one_loop
from archsearch.kernels.fft_conv import causal_convolution, fast_length
from archsearch.kernels.gru import gru
from archsearch.kernels.linear import linear
from archsearch.kernels.rms_norm import rms_norm
from archsearch.kernels.rotary import rotate
from archsearch.ops.base import Context, Op
from tests.ops.contract import Case, close


def test_fast_lengths_are_even_products_of_small_primes_and_never_too_short() -> None:
    for n in range(1, 700):
        length = fast_length(n)
        assert length >= n and length % 2 == 0 and length <= 2 * n + 1
        for prime in (2, 3, 5):
            while length % prime == 0:
                length //= prime
        assert length == 1
    assert [fast_length(n) for n in (1, 7, 255, 513, 2047)] == [2, 8, 256, 540, 2048]


@pytest.mark.parametrize("time", [1, 2, 7, 300, 1024])
def test_causal_convolution_equals_the_direct_sum(time: int) -> None:
    x, k = torch.randn(2, 3, time, 4, requires_grad=True), torch.randn(2, 4, time, requires_grad=True)
    y = causal_convolution(x, k)
    groups = F.pad(x.double().permute(1, 0, 3, 2).reshape(3, 8, time), (time - 1, 0))
    direct = F.conv1d(groups, k.double().flip(-1).reshape(8, 1, time), groups=8)
    direct = direct.view(3, 2, 4, time).permute(1, 0, 3, 2)
    close(y, direct, "output", 2e-6)
    g = torch.randn_like(y)
    for a, b in zip(
        torch.autograd.grad((y * g).sum(), (x, k)), torch.autograd.grad((direct * g).sum(), (x, k)), strict=True
    ):
        close(a, b, "gradient", 2e-6)


@pytest.mark.parametrize("time", [1, 5, 64, 1000])
def test_impulse_response_equals_the_powers(time: int) -> None:
    g = torch.Generator().manual_seed(0)
    decay, angle = -torch.rand(2, 3, 16, generator=g).double() * 0.05, torch.rand(2, 3, 16, generator=g).double() * 100
    gain = torch.randn(2, 3, 16, 2, generator=g)
    modes = torch.exp(torch.complex(decay, angle)[..., None] * torch.arange(time))
    expected = (torch.view_as_complex(gain.double())[..., None] * modes).sum(-2).real
    close(impulse_response(decay, angle, gain, time), expected, "response", 1e-6)


def test_s4d_stays_exact_over_a_long_sequence() -> None:
    case = Case("s4d_core", {"state": 32})
    w, (x,) = case.weights(), case.inputs(time=1024)
    exact = case.op.forward({k: v.double() for k, v in w.items()}, x.double(), ctx=Context())
    close(case.op.forward(w, x, ctx=Context()), exact, "output", 3e-6)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_of_one_input_for_all_copies(copies: int, bias: bool) -> None:
    x, w, b = torch.randn(1, 4, 5, 6), torch.randn(copies, 7, 6), torch.randn(copies, 7)
    y = linear(x, w, b if bias else None)
    assert y.shape == (copies, 4, 5, 7)
    for e in range(copies):
        close(y[e], F.linear(x[0], w[e], b[e] if bias else None), f"copy {e}")
    close(linear(x[:, :, 0], w, b), linear(x, w, b)[:, :, 0], "one step")


def test_rms_norm_of_large_and_small_numbers() -> None:
    w = torch.rand(2, 8)
    for scale in (1e-8, 1e-3, 1.0, 1e4, 1e15):
        x = (torch.randn(2, 3, 8) * scale).requires_grad_()
        y, expected = rms_norm(x, w, 1e-6), F.rms_norm(x.double(), (8,), None, 1e-6) * w.double()[:, None]
        close(y, expected, f"output at {scale:g}", 1e-6)
        (a,), (b,) = (torch.autograd.grad(v.square().sum(), x) for v in (y, expected))
        assert (a - b).abs().max() <= 1e-5 * b.abs().max() + 1e-6 / scale
    assert not rms_norm(torch.zeros(2, 3, 8), w, 1e-6).any()


def test_rotary_depends_on_the_difference_of_positions_alone() -> None:
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64), torch.randn(2, 1, 1, 8, dtype=torch.float64)
    near = (rotate(q, 5) * rotate(k, 2)).sum(-1)
    far = (rotate(q, 1005) * rotate(k, 1002)).sum(-1)
    close(far, near, "score", 1e-12)
    assert torch.equal(rotate(q, 0), q)
    assert not torch.allclose(near, (rotate(q, 6) * rotate(k, 2)).sum(-1))


def test_rotary_tables_made_in_inference_serve_training() -> None:
    with torch.inference_mode():
        rotate(torch.randn(1, 3, 1, 14))
    x = torch.randn(1, 3, 1, 14, requires_grad=True)
    rotate(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_rotary_of_half_precision_turns_in_single() -> None:
    x = torch.randn(1, 500, 1, 8)
    assert rotate(x.bfloat16()).dtype == torch.bfloat16
    close(rotate(x.bfloat16()).float(), rotate(x.bfloat16().float()), "output", 2**-8)


@pytest.mark.parametrize(("copies", "batch", "time", "width"), [(1, 2, 100, 8), (3, 4, 50, 16)])
def test_gru_equals_torch_with_gradients(copies: int, batch: int, time: int, width: int) -> None:
    modules = [nn.GRU(6, width, batch_first=True) for _ in range(copies)]
    w = [torch.stack(p).detach().requires_grad_() for p in zip(*(m.parameters() for m in modules), strict=True)]
    x = torch.randn(copies, batch, time, 6, requires_grad=True)
    y = gru(x, *w)
    theirs = torch.stack([m(x_e)[0] for m, x_e in zip(modules, x, strict=True)])
    close(y, theirs, "output")
    g = torch.randn_like(y)
    got = torch.autograd.grad((y * g).sum(), [x, *w])
    for e, m in enumerate(modules):
        expected = torch.autograd.grad((theirs[e] * g[e]).sum(), [x, *m.parameters()], retain_graph=True)
        close(got[0][e], expected[0][e], "gradient of x")
        for a, b in zip(got[1:], expected[1:], strict=True):
            close(a[e], b, f"gradient of a weight, copy {e}")


def test_both_forms_of_the_gru_agree_and_size_and_device_decide() -> None:
    cpu = torch.device("cpu")
    assert gru_in_one_loop(cpu, 32 * 64) and not gru_in_one_loop(cpu, 128 * 128)
    assert not gru_in_one_loop(torch.device("cuda"), 64)
    case = Case("gru_core")
    w, xs = case.weights(), case.inputs()
    close(case.op.forward(w, *xs, ctx=Context()), Op.forward(case.op, w, *xs, ctx=Context()), "output")


def test_gradients_of_fused_backward_passes_are_not_differentiated_in_silence() -> None:
    x = torch.randn(1, 2, 8, requires_grad=True)
    (g,) = torch.autograd.grad(rms_norm(x, torch.ones(1, 8), 1e-6).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()
    assert math.isfinite(g.sum().item())
