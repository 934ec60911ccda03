"""Which library an op runs with, and whether the adapters hand over the right values in the right layout.

There is no GPU here. A library is stood in for by a module with its name and functions of its signature, written in
plain torch: the references of flash-linear-attention where they are at hand, and recurrences below.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.campaign.settings import SETTINGS
from archsearch.errors import ConfigError
from archsearch.kernels import adapters, backends
from archsearch.kernels.selective_scan import System, selective_scan
from archsearch.kernels.short_conv import short_convolution
from archsearch.kernels.ssd import ssd
from archsearch.ops.base import Context
from tests.ops.cases import convolution, fast_weights, selective
from tests.ops.cases import ssd as ssd_cases
from tests.ops.contract import Case, close, parallel

ORACLES = Path("/tmp/oracles")
"""Where `pip install --target` puts libraries whose sources are only read."""

CASES = [*convolution.CASES, *fast_weights.CASES, *selective.CASES, *ssd_cases.CASES]
CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def values(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def recurrence(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """In the library's layout, `(B, T, H, ·)`, with logarithms `g` of `(B, T, H, 1)` or `(B, T, H, R)`."""
    state, found = q.new_zeros(q.shape[0], q.shape[2], q.shape[3], v.shape[3]), []
    for t in range(q.shape[1]):
        state = state * g[:, t].exp().unsqueeze(-1)
        new = v[:, t]
        if beta is not None:
            new = beta[:, t].unsqueeze(-1) * (new - torch.einsum("bhrc,bhr->bhc", state, k[:, t]))
        state = state + torch.einsum("bhr,bhc->bhrc", k[:, t], new)
        found.append(torch.einsum("bhrc,bhr->bhc", state, scale * q[:, t]))
    return torch.stack(found, 1), state


def fla_with(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    """Stands in for fla.ops; `asked` gets the names of the functions that are called."""

    def chunk_linear_attn(
        q: Tensor, k: Tensor, v: Tensor, scale: float, output_final_state: bool, normalize: bool
    ) -> Any:
        assert not normalize
        asked.append("chunk_linear_attn")
        return recurrence(q, k, v, q.new_zeros(*q.shape[:3], 1), None, scale)

    def chunk_simple_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, scale: float, output_final_state: bool) -> Any:
        assert g.shape == q.shape[:3]
        asked.append("chunk_simple_gla")
        return recurrence(q, k, v, g.unsqueeze(-1), None, scale)

    def chunk_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, scale: float, output_final_state: bool) -> Any:
        assert g.shape == k.shape
        asked.append("chunk_gla")
        return recurrence(q, k, v, g, None, scale)

    def chunk_gated_delta_rule(
        q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, scale: float, output_final_state: bool
    ) -> Any:
        assert g.shape == beta.shape == q.shape[:3]
        asked.append("chunk_gated_delta_rule")
        return recurrence(q, k, v, g.unsqueeze(-1), beta, scale)

    for name, f in (
        ("linear_attn", chunk_linear_attn),
        ("simple_gla", chunk_simple_gla),
        ("gla", chunk_gla),
        ("gated_delta_rule", chunk_gated_delta_rule),
    ):
        monkeypatch.setitem(sys.modules, f"fla.ops.{name}", SimpleNamespace(**{f.__name__: f}))


@pytest.mark.parametrize(
    ("name", "widths", "function"),
    [
        ("linear_attention_core", (8, 8, 6), "chunk_linear_attn"),
        ("linear_attention_core", (8, 8, 6, 2), "chunk_simple_gla"),
        ("linear_attention_core", (8, 8, 6, 8), "chunk_gla"),
        ("delta_rule_core", (8, 8, 6, 2), "chunk_gated_delta_rule"),
        ("delta_rule_core", (8, 8, 6, 2, 2), "chunk_gated_delta_rule"),
    ],
)
def test_fast_weights_get_what_their_cores_compute(
    monkeypatch: pytest.MonkeyPatch, name: str, widths: tuple[int, ...], function: str
) -> None:
    asked: list[str] = []
    fla_with(monkeypatch, asked)
    case = Case(name, {"heads": 2}, widths)
    xs = [x.detach() for x in case.inputs()]
    if name == "delta_rule_core":
        xs[1], xs[3] = F.normalize(xs[1], dim=-1), xs[3].sigmoid()
    y, state = backends.KERNELS[name].run(2, *xs)
    expected, last = case.op.prefill({}, *xs, ctx=Context()) or (None, {})
    assert expected is not None
    close(y.flatten(-2), expected, "output")
    close(state, last["S"], "state")
    assert asked == [function]


SIGNATURES = {
    "fla/ops/linear_attn/chunk.py": ("chunk_linear_attn", ["q", "k", "v", "scale", "output_final_state", "normalize"]),
    "fla/ops/simple_gla/chunk.py": ("chunk_simple_gla", ["q", "k", "v", "g", "scale", "output_final_state"]),
    "fla/ops/gla/chunk.py": ("chunk_gla", ["q", "k", "v", "g", "scale", "output_final_state"]),
    "fla/ops/gated_delta_rule/chunk.py": (
        "chunk_gated_delta_rule",
        ["q", "k", "v", "g", "beta", "scale", "output_final_state"],
    ),
}


@pytest.mark.parametrize("path", SIGNATURES)
def test_the_library_has_the_functions_that_are_called(path: str) -> None:
    function, names = SIGNATURES[path]
    file = ORACLES / path
    if not file.is_file():
        pytest.skip(f"pip install --no-deps --target {ORACLES} flash-linear-attention fla-core")
    found = {n.name: n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)}
    arguments = [a.arg for a in found[function].args.args]
    assert arguments[:3] == names[:3]
    assert set(names) <= set(arguments)
    assert function in (file.parent / "__init__.py").read_text()


def test_the_stand_in_is_the_library_s_own_reference() -> None:
    file = ORACLES / "fla/ops/gated_delta_rule/naive.py"
    if not file.is_file():
        pytest.skip(f"pip install --no-deps --target {ORACLES} flash-linear-attention fla-core einops")
    sys.path.append(str(ORACLES))
    try:
        theirs = runpy.run_path(str(file))["naive_recurrent_gated_delta_rule"]
    finally:
        sys.path.remove(str(ORACLES))
    q, k, v = (values(2, 9, 3, 4, seed=s) for s in (1, 2, 3))
    k, beta, g = F.normalize(k, dim=-1), values(2, 9, 3, seed=4).sigmoid(), -values(2, 9, 3, seed=5).abs()
    expected = theirs(q, k, v, beta, g, scale=1.0, output_final_state=True)
    got = recurrence(q, k, v, g.unsqueeze(-1), beta, 1.0)
    for what, a, b in zip(("output", "state"), got, expected, strict=True):
        close(a, b, what)


def test_ssd_gets_what_its_kernel_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    fla_with(monkeypatch, [])
    u, log_decay = values(3, 11, 2, 4, seed=1), -values(3, 11, 2, seed=2).abs()
    b, c = values(3, 11, 5, seed=3), values(3, 11, 5, seed=4)
    ours, theirs = ssd(u, log_decay, b, c), adapters.ssd(u, log_decay, b, c)
    for what, got, expected in zip(("output", "state"), theirs, ours, strict=True):
        close(got, expected, what)


def test_the_selective_scan_gets_what_its_kernel_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    def selective_scan_fn(
        u: Tensor,
        delta: Tensor,
        A: Tensor,  # noqa: N803
        B: Tensor,  # noqa: N803
        C: Tensor,  # noqa: N803
        D: Tensor,  # noqa: N803
        delta_bias: Tensor,
        delta_softplus: bool,
        return_last_state: bool,
    ) -> Any:
        """`u, delta: (B, D, T)`, `A: (D, N)`, `B, C: (B, N, T)`, the state `(B, D, N)`, as mamba-ssm has it."""
        assert delta_softplus and return_last_state and A.shape == (u.shape[1], B.shape[1])
        delta = F.softplus(delta + delta_bias[:, None])
        h, found = u.new_zeros(u.shape[0], *A.shape), []
        for t in range(u.shape[2]):
            h = torch.exp(delta[:, :, t, None] * A) * h + (delta * u)[:, :, t, None] * B[:, None, :, t]
            found.append(torch.einsum("bdn,bn->bd", h, C[:, :, t]) + D * u[:, :, t])
        return torch.stack(found, 2), h

    module = SimpleNamespace(selective_scan_fn=selective_scan_fn)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", module)
    x, dt = values(2, 3, 11, 4, seed=1), values(2, 3, 11, 4, seed=2)
    b, c, a = values(2, 3, 11, 5, seed=3), values(2, 3, 11, 5, seed=4), -values(2, 5, 4, seed=5).exp()
    system = System(values(2, 4, seed=6), a, values(2, 4, seed=7))
    ours, theirs = selective_scan(x, dt, b, c, system), adapters.selective_scan(x, dt, b, c, *system)
    for what, got, expected in zip(("output", "state"), theirs, ours, strict=True):
        close(got, expected, what)


@pytest.mark.parametrize("has_bias", [True, False])
def test_short_convolutions_get_what_their_kernel_computes(monkeypatch: pytest.MonkeyPatch, has_bias: bool) -> None:
    def causal_conv1d_fn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        taps = weight.shape[1]
        return F.conv1d(F.pad(x, (taps - 1, 0)), weight.unsqueeze(1), bias, groups=x.shape[1])

    monkeypatch.setitem(sys.modules, "causal_conv1d", SimpleNamespace(causal_conv1d_fn=causal_conv1d_fn))
    x, weight = values(2, 3, 11, 4, seed=1), values(2, 4, 3, seed=2)
    bias = values(2, 4, seed=3) if has_bias else None
    close(adapters.causal_conv1d(x, weight, bias), short_convolution(x, weight, bias), "output")


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these libraries were there and no others."""
    monkeypatch.setattr(backends, "_found", {n: n in names for n in backends.LIBRARIES})
    monkeypatch.setattr(backends.Library, "version", lambda self: "1.2" if self.module in names else None)


def on(device: torch.device, dtype: torch.dtype) -> Any:
    """What stands for a tensor there."""
    return SimpleNamespace(device=device, dtype=dtype)


def test_auto_takes_what_is_installed_on_a_gpu_and_keeps_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    single, half = on(CUDA, torch.float32), on(CUDA, torch.bfloat16)
    installed(monkeypatch, "fla", "causal_conv1d")
    assert backends.find("short_conv", single) is adapters.causal_conv1d
    assert backends.find("delta_rule_core", half) is adapters.delta_rule
    assert backends.find("delta_rule_core", single) is None
    assert backends.find("selective_scan", single) is None
    assert backends.find("short_conv", on(CUDA, torch.float64)) is None
    assert backends.find("short_conv", on(CPU, torch.float32)) is None
    installed(monkeypatch)
    assert all(backends.find(op, half) is None for op in backends.KERNELS)


def test_under_autocast_what_is_single_may_be_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "fla")
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    assert backends.find("ssd", on(CUDA, torch.float32)) is adapters.ssd


@pytest.mark.parametrize("op", sorted(backends.KERNELS))
def test_a_core_asks_and_takes_what_it_gets(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    class AskedError(Exception):
        pass

    def asked(*_: Any) -> Any:
        raise AskedError

    monkeypatch.setattr(backends, "find", lambda name, x: asked if name == op else None)
    case = next(c for c in CASES if c.name == op and c.settings.get("kernel", 4) > 1)
    with pytest.raises(AskedError):
        parallel(case, case.weights(), case.inputs())


def test_a_back_end_that_is_asked_for_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, *backends.LIBRARIES)
    x = on(CUDA, torch.float32)
    with backends.use("torch"):
        assert all(backends.find(op, x) is None for op in backends.KERNELS)
    with backends.use("fla"):
        assert backends.find("delta_rule_core", x) is adapters.delta_rule
        assert backends.find("selective_scan", x) is None
    assert backends.find("selective_scan", x) is adapters.selective_scan


def test_what_cannot_be_used_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "fla")
    for name in ("auto", "torch"):
        backends.check(name, CPU)
    backends.check("fla", CUDA)
    with pytest.raises(ConfigError, match="'mamba_ssm' is not installed: pip install mamba-ssm"):
        backends.check("mamba_ssm", CUDA)
    with pytest.raises(ConfigError, match="'fla' needs a CUDA device, but training is on cpu"):
        backends.check("fla", CPU)
    with pytest.raises(ConfigError, match=r"must be one of auto, torch, .*Did you mean `torch`"):
        backends.check("troch", CPU)


def test_the_record_says_what_may_have_been_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "fla", "causal_conv1d")
    assert backends.describe("auto", CUDA) == "eager with fla 1.2, causal_conv1d 1.2"
    assert backends.describe("fla", CUDA) == "eager with fla 1.2"
    assert backends.describe("torch", CUDA) == backends.describe("auto", CPU) == "eager"


def test_every_kernel_is_of_a_library() -> None:
    assert SETTINGS["training.backend"].options == backends.NAMES
    assert {k.library for k in backends.KERNELS.values()} == set(backends.LIBRARIES)
    assert backends.attention_kernels(CPU)
