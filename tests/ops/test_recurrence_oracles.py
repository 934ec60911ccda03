"""Recurrent cores against torch's modules, other packages and the papers' equations, a step at a time in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.errors import RuleError
from archsearch.kernels.additive_attention import additive_attention
from archsearch.kernels.dispatch import lstm_steps
from archsearch.kernels.gated import candidate, rg_lru_terms
from archsearch.kernels.rnn import rnn
from archsearch.ops.base import Context
from tests.blocks.contract import WIDTH, model
from tests.ops.contract import BATCH, TIME, Case, close, parallel

Loop = Callable[[dict[str, Tensor], list[Tensor]], Tensor]


def compare(case: Case, reference: Loop) -> None:
    """Outputs and all gradients of one copy equal those of a loop in double precision."""
    results = []
    for dtype in (torch.float32, torch.float64):
        w, xs = case.weights(seeds=(4,), dtype=dtype), case.inputs(copies=1, dtype=dtype)
        if dtype is torch.float32:
            y = parallel(case, w, xs)[0][0]
        else:
            y = reference({k: v[0] for k, v in w.items()}, [x[0] for x in xs])
        direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(7)).to(dtype)
        results.append([y, *torch.autograd.grad((y * direction).sum(), [*xs, *w.values()])])
    names = ["output", *(f"gradient of input {i}" for i in range(len(xs))), *(f"gradient of {n}" for n in w)]
    for name, got, wanted in zip(names, *results, strict=True):
        close(got, wanted, name)


@pytest.mark.parametrize(
    ("name", "settings", "module"),
    [
        ("rnn_core", {}, nn.RNN),
        ("rnn_core", {"activation": "relu"}, nn.RNN),
        ("gru_core", {}, nn.GRU),
        ("lstm_core", {}, nn.LSTM),
    ],
)
def test_cores_equal_torch_modules_with_their_gradients(name: str, settings: dict[str, Any], module: Any) -> None:
    extra = {"nonlinearity": settings["activation"]} if settings else {}
    names = {"weight_ih_l0": "input", "weight_hh_l0": "hidden", "bias_ih_l0": "input_bias", "bias_hh_l0": "hidden_bias"}

    def theirs(w: dict[str, Tensor], xs: list[Tensor]) -> Tensor:
        net = module(8, 5, batch_first=True, **extra).double()
        out: Tensor = torch.func.functional_call(net, {k: w[v] for k, v in names.items()}, (xs[0],))[0]
        return out

    compare(Case(name, {"width": 5, **settings}), theirs)


@pytest.mark.parametrize("relu", [False, True])
def test_the_loop_of_an_elman_network_equals_torch_where_it_is_long(relu: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 300, 6, generator=g)
    w = [torch.randn(1, *shape, generator=g) * 0.3 for shape in ((16, 6), (16, 16), (16,), (16,))]
    run = torch.rnn_relu if relu else torch.rnn_tanh
    theirs = run(x[0], torch.zeros(1, 4, 16), [v[0] for v in w], True, 1, 0.0, False, False, True)[0]
    close(rnn(x, *w, relu=relu)[0], theirs, "states", 1e-4 if relu else 1e-5)


def test_gated_scan_takes_any_decay() -> None:
    """Zero forgets, one keeps, negative ones alternate, and ones above one grow."""
    x = torch.ones(1, 1, 4, 4)
    a = torch.tensor([0.0, 1.0, -1.0, 2.0]).expand(1, 1, 4, 4)
    (y,) = parallel(Case("gated_scan", {}, (4, 4)), {}, [x, a])
    assert y[0, 0].T.tolist() == [[1, 1, 1, 1], [1, 2, 3, 4], [1, 0, 1, 0], [1, 3, 7, 15]]


def test_blend_scan_is_a_gated_scan() -> None:
    case = Case("blend_scan", {}, (8, 8))
    x, z = (v.detach() for v in case.inputs())
    (y,), (wanted,) = parallel(case, {}, [x, z]), parallel(Case("gated_scan", {}, (8, 8)), {}, [z * x, 1.0 - z])
    close(y, wanted, "states")


def min_lstm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Feng et al. 2024, appendix B.3, the gates divided by their sum."""
    new, forget, enter = F.linear(x, w["all.weight"]).chunk(3, -1)
    f, i = torch.sigmoid(forget), torch.sigmoid(enter)
    h, outs = torch.zeros_like(new[:, 0]), []
    for c_t, f_t, i_t in zip(*(v.unbind(1) for v in (candidate(new), f / (f + i), i / (f + i))), strict=True):
        h = f_t * h + i_t * c_t
        outs.append(h)
    return F.linear(torch.stack(outs, 1), w["out.weight"])


def min_gru(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same paper."""
    new, gate = F.linear(x, w["both.weight"]).chunk(2, -1)
    h, outs = torch.zeros_like(new[:, 0]), []
    for c_t, z_t in zip(candidate(new).unbind(1), torch.sigmoid(gate).unbind(1), strict=True):
        h = (1.0 - z_t) * h + z_t * c_t
        outs.append(h)
    return F.linear(torch.stack(outs, 1), w["out.weight"])


@pytest.mark.parametrize(("name", "reference"), [("min_gru", min_gru), ("min_lstm", min_lstm)])
def test_minimal_networks_equal_their_equations(name: str, reference: Callable[..., Tensor]) -> None:
    m = model(name, "")
    x = torch.randn(1, 3, TIME, WIDTH, generator=torch.Generator().manual_seed(1))
    w = {k.removeprefix("out."): v.detach()[0].double() for k, v in m.graph.named_parameters()}
    close(m._plan.run({"in": x}, Context())[0], reference(w, x[0].double()), "output")


def test_min_gru_equals_the_package() -> None:
    package = pytest.importorskip("minGRU_pytorch.minGRU", reason="needs the package `minGRU-pytorch`")
    m = model("min_gru", "")
    w = {k.removeprefix("out."): v.detach()[0] for k, v in m.graph.named_parameters()}
    theirs = package.minGRU(WIDTH, expansion_factor=2)
    theirs.load_state_dict({"to_hidden_and_gate.weight": w["both.weight"], "to_out.weight": w["out.weight"]})
    x = torch.randn(1, 3, TIME, WIDTH, generator=torch.Generator().manual_seed(1))
    close(m._plan.run({"in": x}, Context())[0], theirs(x[0]), "output")


def test_gated_scan_refuses_two_widths() -> None:
    case = Case("gated_scan", {}, (8, 4))
    with pytest.raises(RuleError, match="the inputs of `gated_scan` must have equal widths and rates, but got 8, 4"):
        case.op.infer(*case.types)


def test_positive_is_the_papers_function() -> None:
    x = torch.tensor([-200.0, -1.0, 0.0, 0.25, 3.0], dtype=torch.float64)
    close(candidate(x), torch.where(x >= 0, x + 0.5, torch.sigmoid(x)), "values", 1e-15)


def griffin(heads: int) -> Loop:
    """De et al. 2024, eq. 1–4."""

    def run(w: dict[str, Tensor], xs: list[Tensor]) -> Tensor:
        (x,) = xs
        h, outs = torch.zeros_like(x[:, 0]), []
        for x_t in x.unbind(1):
            parts = x_t.unflatten(-1, (heads, -1))
            gates = torch.einsum("bhc,hgc->bhg", parts, w["gates"]) + w["gates_bias"]
            r, i = (g.flatten(1).sigmoid() for g in gates.chunk(2, -1))
            a = torch.sigmoid(w["decay"]) ** (8.0 * r)
            h = a * h + torch.sqrt(1.0 - a**2) * (i * x_t)
            outs.append(h)
        return torch.stack(outs, 1)

    return run


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_rg_lru_equals_its_equations(heads: int) -> None:
    compare(Case("rg_lru", {"heads": heads}), griffin(heads))


def test_rg_lru_starts_with_slow_decays_and_survives_one_that_never_fades() -> None:
    w = Case("rg_lru", {}, (4096,)).weights(seeds=(1,))
    slowest = torch.sigmoid(w["decay"].double()) ** 8
    assert slowest.min() >= 0.9 - 1e-5 and slowest.max() <= 0.999 + 1e-5
    assert slowest.mean().item() == pytest.approx(0.9495, abs=2e-3)
    values = [torch.full((1, 2, 3, 4), v).requires_grad_() for v in (-200.0, 0.0, 1.0)]
    rate = torch.full((1, 1, 1, 4), 1e-9).requires_grad_()
    r, i, x = values
    a, b = rg_lru_terms(r, i, x, rate)
    assert a.eq(1.0).all() and b.abs().max() < 1e-2
    grads = torch.autograd.grad((a + b).sum(), [*values, rate])
    assert all(g.isfinite().all() for g in grads)


def slstm(heads: int) -> Loop:
    """Beck et al. 2024, eq. 8–17, gates in the order z, i, f, o."""

    def run(w: dict[str, Tensor], xs: list[Tensor]) -> Tensor:
        zero = torch.zeros_like(xs[0][:, 0])
        h, c, n, m, outs = zero, zero, zero, zero - torch.inf, []
        for inputs in zip(*(x.unbind(1) for x in xs), strict=True):
            own = torch.einsum("bhc,hgc->bhg", h.unflatten(-1, (heads, -1)), w["hidden"]).chunk(4, -1)
            z, i, f, o = (x + r.flatten(1) + b.flatten() for x, r, b in zip(inputs, own, w["bias"], strict=True))
            new = torch.maximum(F.logsigmoid(f) + m, i)
            i, f = torch.exp(i - new), torch.exp(F.logsigmoid(f) + m - new)
            c, n, m = f * c + i * torch.tanh(z), f * n + i, new
            h = torch.sigmoid(o) * c / n
            outs.append(h)
        return torch.stack(outs, 1)

    return run


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_slstm_equals_its_equations(heads: int) -> None:
    compare(Case("slstm_core", {"heads": heads}, (8, 8, 8, 8)), slstm(heads))


def test_slstm_stands_gates_of_any_size() -> None:
    """An input gate of exp(±200) and a forget gate that is shut."""
    case = Case("slstm_core", {}, (8, 8, 8, 8))
    w, (z, i, f, o) = case.weights(), case.inputs()
    xs = [z, 200.0 * i, 200.0 * f, o]
    (y,) = parallel(case, w, xs)
    grads = torch.autograd.grad(y.sum(), [*w.values(), z, i, f, o])
    assert y.isfinite().all() and y.abs().max() <= 1.0
    assert all(g.isfinite().all() for g in grads)


def test_slstm_equals_the_package() -> None:
    vanilla = pytest.importorskip(
        "xlstm.blocks.slstm.src.vanilla", reason="needs the package `xlstm`", exc_type=ImportError
    )
    heads, part = 2, 4

    def theirs(w: dict[str, Tensor], xs: list[Tensor]) -> Tensor:
        z, i, f, o = xs
        x = torch.cat([i, f, z, o], -1).transpose(0, 1)
        z_b, i_b, f_b, o_b = (b.flatten() for b in w["bias"])
        z_r, i_r, f_r, o_r = w["hidden"].chunk(4, 1)
        kernel = torch.cat([i_r, f_r, z_r, o_r], 1)
        cell = vanilla.slstm_pointwise_function_registry["slstm"]
        states = torch.zeros(4, BATCH, heads * part, dtype=x.dtype)
        bias = torch.cat([i_b, f_b, z_b, o_b])
        out: Tensor = vanilla.slstm_forward(x, states, kernel, bias, cell)[0][0, 1:].transpose(0, 1)
        return out

    case = Case("slstm_core", {"heads": heads}, (8, 8, 8, 8))
    w, xs = case.weights(seeds=(4,)), case.inputs(copies=1)
    y = parallel(case, w, xs)[0][0]
    with torch.no_grad():
        close(y, theirs({k: v[0].double() for k, v in w.items()}, [x[0].double() for x in xs]), "output")


def bahdanau(heads: int, causal: bool) -> Loop:
    """Every query against every key, one pair of steps after the other."""

    def run(w: dict[str, Tensor], xs: list[Tensor]) -> Tensor:
        q, k, v = xs
        outs = []
        for t in range(q.shape[1]):
            scores = []
            for s in range(t + 1 if causal else k.shape[1]):
                hidden = torch.tanh(F.linear(q[:, t], w["query"]) + F.linear(k[:, s], w["key"]))
                scores.append((hidden * w["score"]).unflatten(-1, (heads, -1)).sum(-1))
            p = torch.softmax(torch.stack(scores, 1), 1)
            seen = v[:, : p.shape[1]].unflatten(-1, (heads, -1))
            outs.append((p.unsqueeze(-1) * seen).sum(1).flatten(1))
        return torch.stack(outs, 1)

    return run


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
def test_additive_attention_equals_its_equations(heads: int, causal: bool) -> None:
    settings = {"heads": heads, "hidden": 6, "causal": causal}
    compare(Case("additive_attention", settings, (8, 5, 4)), bahdanau(heads, causal))


def test_chunks_of_additive_attention_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(5, TIME, 4, generator=g).requires_grad_() for _ in range(3))
    u = torch.randn(5, 4, generator=g).requires_grad_()
    results = []
    for size in (1, 4 * TIME * 7, 1 << 20):
        monkeypatch.setattr("archsearch.kernels.additive_attention.pairs_at_once", lambda device, size=size: size)
        y = additive_attention(q, k, v, u, causal=True)
        results.append([y, *torch.autograd.grad(y.square().sum(), [q, k, v, u])])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            close(a, b, "output or gradient")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("rg_lru", {"heads": 3}), "`heads` must divide the width, but got heads=3, width=8"),
        (Case("slstm_core", {"heads": 3}, (8, 8, 8, 8)), "`heads` must divide the width, but got heads=3, width=8"),
        (Case("slstm_core", {}, (8, 8, 4, 8)), "the inputs of `slstm_core` must have equal widths and rates"),
        (Case("slstm_core", {}, ((1, 2, 4),) * 4), "`z` of `slstm_core` must be a vector"),
        (
            Case("additive_attention", {"heads": 3}, (9, 9, 8)),
            "`heads` must divide the width, but got heads=3, width=8",
        ),
        (Case("additive_attention", {}, (8, (1, 2, 4), 8)), "`k` of `additive_attention` must be a vector"),
    ],
    ids=str,
)
def test_types_that_do_not_fit_are_refused(case: Case, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        case.op.infer(*case.types)
    assert message in str(caught.value)


def test_the_states_of_a_scan_are_in_reach_of_few_steps() -> None:
    for case in (Case("gated_scan", {}, (8, 8)), Case("rg_lru")):
        assert case.op.cost(*case.types, time=1024).span == 1 + 2 * math.log2(1024)


def test_a_long_lstm_in_parts_equals_torch() -> None:
    """A batch so large that `dispatch.lstm_steps` cuts 70 steps into three parts."""
    case, (steps, batch) = Case("lstm_core", {}, (4,)), (70, 2048)
    assert lstm_steps(torch.device("cpu"), batch * 4) == 32
    w = case.weights(seeds=(0,), dtype=torch.float64)
    weights = [w[name][0] for name in ("input", "hidden", "input_bias", "hidden_bias")]
    x = torch.randn(batch, steps, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    zero = torch.zeros(1, batch, 4).double()
    found = case.op.prefill(w, x[None], ctx=Context())
    assert found is not None
    y, state = found
    wanted, _, c = torch.lstm(x, [zero, zero], weights, True, 1, 0.0, True, False, True)
    close(y[0], wanted, "output")
    close(state["c"], c, "state")
    gradients = [torch.autograd.grad(v.square().sum(), [x, *w.values()]) for v in (y, wanted)]
    for got, own in zip(*gradients, strict=True):
        close(got, own, "gradient")
