"""State-space cores and blocks against the recurrences of their papers, written as loops, and against mambapy.

pip install mambapy        # optional; its test is skipped without it
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.modes import run_modes
from archsearch.kernels.selective_scan import System, selective_scan
from archsearch.kernels.ssd import ssd
from archsearch.ops.base import Context
from archsearch.ops.s5 import hippo
from tests.blocks.test_blocks import run
from tests.ops.contract import Case, close, parallel

Loop = Callable[[dict[str, Tensor], list[Tensor], bool], Tensor]


def selective_loop(w: dict[str, Tensor], xs: list[Tensor], signed: bool) -> Tensor:
    """Algorithm 2 of Mamba, one copy: `(B, T, D)`."""
    x, dt, b, c = xs
    a, delta = -torch.exp(w["log_a"]), F.softplus(dt + w["dt_bias"])
    h, ys = x.new_zeros(x.shape[0], *a.shape), []
    for t in range(x.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * a)
        decay = 2 * decay - 1 if signed else decay
        h = decay * h + delta[:, t, :, None] * b[:, t, None, :] * x[:, t, :, None]
        ys.append((h * c[:, t, None, :]).sum(-1) + w["skip"] * x[:, t])
    return torch.stack(ys, 1)


def ssd_loop(w: dict[str, Tensor], xs: list[Tensor], signed: bool) -> Tensor:
    """Mamba-2's recurrence, a head after the other."""
    x, dt, b, c = xs
    delta, size = F.softplus(dt + w["dt_bias"]), x.shape[2] // dt.shape[2]
    ys = []
    for head, part in enumerate(x.split(size, 2)):
        s, outs = x.new_zeros(x.shape[0], size, b.shape[2]), []
        for t in range(x.shape[1]):
            decay = torch.exp(-delta[:, t, head] * w["log_rate"][head].exp())
            decay = 2 * decay - 1 if signed else decay
            entered = delta[:, t, head, None] * part[:, t]
            s = decay[:, None, None] * s + entered[:, :, None] * b[:, t, None, :]
            outs.append((s * c[:, t, None, :]).sum(-1) + w["skip"][head] * part[:, t])
        ys.append(torch.stack(outs, 1))
    return torch.cat(ys, 2)


@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
@pytest.mark.parametrize(
    ("name", "widths", "loop"),
    [("selective_scan", (8, 8, 4, 4), selective_loop), ("ssd", (8, 2, 4, 4), ssd_loop)],
)
@pytest.mark.parametrize("time", [1, 75])
def test_selective_cores_equal_the_loop(
    name: str, widths: tuple[int, ...], loop: Loop, eigenvalues: str, time: int
) -> None:
    case = Case(name, {"eigenvalues": eigenvalues}, widths)
    w, xs = case.weights(seeds=(4,), dtype=torch.float64), case.inputs(copies=1, time=time, dtype=torch.float64)
    with torch.no_grad():
        xs[1] += 3.0  # large steps, so that decays are far from one and some signed ones are negative
    (y,) = parallel(case, w, xs)
    expected = loop({k: v[0] for k, v in w.items()}, [x[0] for x in xs], eigenvalues == "signed")
    close(y[0], expected, "output", 1e-12)
    g = torch.randn_like(y)
    for p, q in zip(*(torch.autograd.grad(v, [*xs, *w.values()], g) for v in (y, expected[None])), strict=True):
        close(p, q, "gradient", 1e-10)


def test_s5_equals_the_complex_loop() -> None:
    case = Case("s5_core", {"state": 6, "blocks": 2})
    w, (x,) = case.weights(seeds=(4,), dtype=torch.float64), case.inputs(copies=1, time=300, dtype=torch.float64)
    (y,) = parallel(case, w, [x])
    one = {k: v[0] for k, v in w.items()}
    rate, dt = torch.complex(-one["log_rate"].exp(), one["frequency"]), one["log_dt"].exp()
    b, c = (torch.view_as_complex(one[k]) for k in ("b", "c"))
    held = ((torch.exp(dt * rate) - 1) / rate)[:, None] * b
    h, ys = torch.zeros(x.shape[1], 6, dtype=torch.complex128), []
    for t in range(x.shape[2]):
        h = torch.exp(dt * rate) * h + x[0, :, t].to(h.dtype) @ held.T
        ys.append(2 * (h @ c.T).real + one["skip"] * x[0, :, t])
    close(y[0], torch.stack(ys, 1), "output", 1e-12)


def test_hippo_is_diagonalised() -> None:
    size = 8
    n = torch.arange(size, dtype=torch.float64)
    legs = -torch.sqrt(2 * n[:, None] + 1) * torch.sqrt(2 * n + 1)
    legs = legs.tril(-1) - torch.diag(n + 1)
    low_rank = torch.sqrt(n + 0.5)
    normal = legs + low_rank[:, None] * low_rank  # HiPPO-LegS is this normal matrix less a matrix of rank one
    imaginary, vectors = hippo(size)
    both = torch.cat([vectors, vectors.conj()], 1)
    values = torch.cat([torch.complex(torch.full_like(imaginary, -0.5), s * imaginary) for s in (1, -1)])
    close(torch.view_as_real(both @ torch.diag(values) @ both.mH)[..., 0], normal, "the matrix", 1e-12)
    assert imaginary.min() > 0


def test_s5_starts_as_the_real_system_of_its_paper() -> None:
    w = Case("s5_core", {"state": 4}).weights(seeds=(3,))
    c, b = (torch.view_as_complex(w[k].detach()[0].double()) for k in ("c", "b"))
    _, v = hippo(8)
    turned = v @ b + (v @ b).conj()  # V Vᴴ B, both halves of the pairs: B again, which is real
    assert turned.real.std().item() == pytest.approx(8**-0.5, rel=0.35)
    assert (2 * (c @ v.mH).real).std().item() == pytest.approx(8**-0.5, rel=0.35)


def test_step_sizes_start_between_their_bounds_and_nothing_of_the_system_decays() -> None:
    for case in (Case("selective_scan", {}, (64, 64, 4, 4)), Case("ssd", {}, (64, 64, 4, 4)), Case("s6", {}, (64,))):
        dt = F.softplus(case.weights()["dt_bias"])
        assert 1e-3 * 0.99 <= dt.min() < 3e-3 and 3e-2 < dt.max() <= 0.1 * 1.01
        declared = {v.name: v for v in case.op.weights(*case.types)}
        assert not any(declared[k].decay for k in declared.keys() & {"dt_bias", "log_a", "log_rate", "skip"})


@pytest.mark.parametrize("form", ["selective", "ssd", "modes"])
def test_long_sequences_stay_finite(form: str) -> None:
    time, g = 8192, torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g).requires_grad_()

    if form == "selective":
        x, dt, b, c = draw(1, 2, time, 4), draw(1, 2, time, 4), draw(1, 2, time, 3), draw(1, 2, time, 3)
        of = [x, dt, b, c]
        a = -torch.arange(1.0, 4)[None, :, None].expand(1, 3, 4)
        y = selective_scan(x, 4 * dt, b, c, System(torch.zeros(1, 4), a, torch.ones(1, 4)))[0]
    elif form == "ssd":
        x, dt, b, c = draw(2, time, 2, 4), draw(2, time, 2), draw(2, time, 3), draw(2, time, 3)
        of = [x, dt, b, c]
        y = ssd(x, -16 * F.softplus(4 * dt), b, c)[0]
    else:
        x, angle = draw(1, 3, 2, time, 2), draw(1, 3)
        of = [x, angle]
        y = run_modes(torch.full((1, 3), -1e-4, dtype=torch.float64), 10 * angle.double(), x)
    assert y.isfinite().all()
    assert all(v.isfinite().all() for v in torch.autograd.grad(y.square().mean(), of))


def test_blocks_of_examples_and_copies_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = [(3, 5, 21, 4), (3, 5, 21, 4), (3, 5, 21, 2), (3, 5, 21, 2), (3, 4), (3, 2, 4), (3, 4)]
    of = [torch.randn(s, generator=g, dtype=torch.float64).requires_grad_() for s in shapes]
    x, dt, b, c = of[:4]
    system = System(of[4], -of[5].exp(), of[6])
    whole = selective_scan(x, dt, b, c, system)[0]
    for block in (8, 16, 80):  # an example, two of them, two copies
        monkeypatch.setattr("archsearch.kernels.selective_scan._BLOCK", block)
        part = selective_scan(x, dt, b, c, system)[0]
        close(part, whole, "output", 1e-12)
        got, expected = (torch.autograd.grad(y.square().sum(), of, retain_graph=True) for y in (part, whole))
        for p, q in zip(got, expected, strict=True):
            close(p, q, "gradient", 1e-12)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("selective_scan", {}, (8, 7, 4, 4)), "`dt` of `selective_scan` must be as wide as `x`, but got 7, 8"),
        (
            Case("selective_scan", {}, (8, 8, 4, 5)),
            "`B` and `C` of `selective_scan` must be equally wide, but got 4, 5",
        ),
        (Case("ssd", {}, (8, 3, 4, 4)), "must divide the width"),
        (Case("ssd", {}, (8, 2, 4, 5)), "`B` and `C` of `ssd` must be equally wide"),
        (Case("s5_core", {"state": 5, "blocks": 2}), "`blocks` must divide `state`"),
    ],
)
def test_types_that_do_not_fit_are_refused(case: Case, message: str) -> None:
    with pytest.raises(Exception, match=message):
        case.op.infer(*case.types)


def test_s6_equals_the_core_that_it_holds() -> None:
    case = Case("s6", {"state": 3, "rank": 2})
    w, (x,) = case.weights(), case.inputs()
    dt, b, c = torch.einsum("ebtd,eod->ebto", x, w["project"]).split([2, 3, 3], -1)
    dt = torch.einsum("ebtr,edr->ebtd", dt, w["dt"])
    core = Case("selective_scan", {}, (8, 8, 3, 3)).op
    close(parallel(case, w, [x])[0], core.forward(w, x, dt, b, c, ctx=Context()), "output")


@pytest.mark.parametrize("settings", ["", "state: 4, expand: 3, rank: 3, kernel: 2"])
def test_mamba_equals_mambapy(settings: str) -> None:
    theirs = pytest.importorskip("mambapy.mamba", reason="pip install mambapy: the block to compare with")
    said = {"state": 16, "expand": 2, "rank": 1, "kernel": 4} | {
        k: int(v) for k, v in (part.split(": ") for part in filter(None, settings.split(", ")))
    }
    _, w, x, y = run("mamba", settings)
    config = theirs.MambaConfig(
        d_model=x.shape[-1],
        n_layers=1,
        d_state=said["state"],
        expand_factor=said["expand"],
        dt_rank=said["rank"],
        d_conv=said["kernel"],
    )
    block = theirs.MambaBlock(config)
    block.load_state_dict(
        {
            "A_log": w["core.log_a"],
            "D": w["core.skip"],
            "in_proj.weight": torch.cat([w["branch.weight"], w["gate.weight"]]),
            "conv1d.weight": w["taps.weight"][:, None],
            "conv1d.bias": w["taps.bias"],
            "x_proj.weight": torch.cat([w["low.weight"], w["write.weight"], w["read.weight"]]),
            "dt_proj.weight": w["dt.weight"],
            "dt_proj.bias": w["core.dt_bias"],
            "out_proj.weight": w["out.weight"],
        }
    )
    close(y, block(x), "output")


def test_mamba2_is_its_paper_written_out() -> None:
    _, w, x, y = run("mamba2", "state: 4, heads: 2")

    def conv(name: str) -> Tensor:
        z, taps = x @ w[f"to_{name}.weight"].T, w[f"{name}_taps.weight"]
        z = F.conv1d(F.pad(z.mT, (taps.shape[1] - 1, 0)), taps[:, None], w[f"{name}_taps.bias"], groups=taps.shape[0])
        return F.silu(z.mT)

    core = {k.removeprefix("core."): v for k, v in w.items() if k.startswith("core.")}
    h = ssd_loop(core, [conv("x"), x @ w["dt.weight"].T, conv("b"), conv("c")], False)
    h = h * F.silu(x @ w["gate.weight"].T)
    h = h / torch.sqrt(h.square().mean(-1, keepdim=True) + 1e-5) * w["norm.weight"]
    close(y, h @ w["out.weight"].T, "output")


def test_s5_gates_what_it_activates() -> None:
    _, w, x, y = run("s5", "state: 4")
    core = {k.removeprefix("core."): v[None] for k, v in w.items() if k.startswith("core.")}
    h = F.gelu(Case("s5_core", {"state": 4}).op.forward(core, x[None], ctx=Context())[0])
    close(y, h * torch.sigmoid(F.linear(h, w["gate.weight"], w["gate.bias"])), "output")
    assert math.isfinite(y.abs().max().item())
