"""Cores of fast weights against loops of the papers' equations in double precision, and against other packages.

The packages are optional: `pip install --target DIR --no-deps flash-linear-attention fla-core xlstm einops`, and `DIR`
on PYTHONPATH. They are no extra of this project, since with their dependencies they bring Triton and compilers; only
single files of theirs, which need torch and einops alone, are read here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.row_delta_rule import row_delta_rule
from archsearch.kernels.scaled_attention import fits, scaled_attention
from archsearch.ops.base import Context, Op
from archsearch.ops.registry import registry
from tests.ops.contract import Case, close

B, T, H, R, V = 2, 70, 2, 6, 4


def other(package: str, file: str) -> ModuleType:
    """One file of an installed package, without what the package imports."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("einops") is None:
        pytest.skip(f"`{package}` is not installed")
    spec = importlib.util.spec_from_file_location("oracle", Path(found.submodule_search_locations[0]) / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(*widths: int, seed: int = 0, time: int = T, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Normal `(B, T, H, width)`, one a width."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(B, time, H, w, generator=g, dtype=torch.float64).to(dtype) for w in widths]


def run(name: str, settings: dict[str, object], *inputs: Tensor, **weights: Tensor) -> Tensor:
    """A core on `(B, T, H, width)` inputs; `(B, T, H, C)`."""
    op = registry()[name].bind({"heads": H, **settings})
    assert isinstance(op, Op)
    w = {k: v[None] for k, v in weights.items()}
    y = op.forward(w, *[x.flatten(2)[None] for x in inputs], ctx=Context())[0]
    parts: Tensor = y.unflatten(2, (H, -1))
    return parts


def steps(*xs: Tensor) -> list[tuple[Tensor, ...]]:
    """Step by step in double precision, `(B, H, width)` each."""
    return list(zip(*(x.double().unbind(1) for x in xs), strict=True))


def outer(x: Tensor, y: Tensor) -> Tensor:
    return torch.einsum("bhr,bhv->bhrv", x, y)


def reading(state: Tensor, q: Tensor) -> Tensor:
    return torch.einsum("bhrv,bhr->bhv", state, q)


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("rows", [1, R])
@pytest.mark.parametrize("normalise", [False, True])
def test_linear_attention(rows: int, normalise: bool, strength: float) -> None:
    """Whatever the decay: the strong ones take another path than the weak ones."""
    q, k, v, g = draw(R, R, V, rows)
    q, k, log_g = q.abs(), k.abs(), -strength * g.abs()
    state, total, wanted = torch.zeros(B, H, R, V).double(), torch.zeros(B, H, R).double(), []
    for q_t, k_t, v_t, l_t in steps(q, k, v, log_g):
        state = l_t.exp().unsqueeze(-1) * state + outer(k_t, v_t)
        total = l_t.exp() * total + k_t
        size = (total * q_t).sum(-1, keepdim=True) if normalise else 1.0
        wanted.append(reading(state, q_t) / size)
    close(run("linear_attention_core", {"normalise": normalise}, q, k, v, log_g), torch.stack(wanted, 1), "y")
    assert fits(log_g[None], 32) == (strength <= 1.0)


def test_a_decay_that_is_not_a_number_takes_the_path_that_keeps_copies_apart() -> None:
    assert not fits(torch.tensor([[[[[0.0]], [[torch.nan]]]]]), 2)


def test_gradients_of_a_decay_equal_those_of_the_loop_over_chunks() -> None:
    q, k, v, g = (x.requires_grad_() for x in draw(R, R, V, R, dtype=torch.float64))
    y, last = scaled_attention(*(x[None] for x in (q, k, v, -g.square())), 32)
    state, ys = torch.zeros(B, H, R, V).double(), []
    for q_t, k_t, v_t, g_t in zip(*(x.unbind(1) for x in (q, k, v, g)), strict=True):
        state = (-g_t.square()).exp().unsqueeze(-1) * state + k_t.unsqueeze(-1) * v_t.unsqueeze(-2)
        ys.append((q_t.unsqueeze(-2) @ state).squeeze(-2))
    wanted = torch.autograd.grad(torch.stack(ys, 1).square().sum() + state.square().sum(), (q, k, v, g))
    got = torch.autograd.grad(y.square().sum() + last.square().sum(), (q, k, v, g))
    for a, b in zip(got, wanted, strict=True):
        close(a, b, "gradient", 1e-10)


@pytest.mark.parametrize("strength", [0.0, 0.1, 30.0])
@pytest.mark.parametrize("beta_max", [1.0, 2.0])
def test_delta_rule(beta_max: float, strength: float) -> None:
    """`S_t = g_t (1 − β k kᵀ) S_{t−1} + β k vᵀ`."""
    q, k, v, b, g = draw(R, R, V, 1, 1)
    k, beta, log_g = unit(k), beta_max * torch.sigmoid(b), -strength * g.abs()
    state, wanted = torch.zeros(B, H, R, V).double(), []
    for q_t, k_t, v_t, b_t, l_t in steps(q, k, v, beta, log_g):
        kept = torch.eye(R).double() - b_t.unsqueeze(-1) * outer(k_t, k_t)
        state = l_t.exp().unsqueeze(-1) * (kept @ state) + b_t.unsqueeze(-1) * outer(k_t, v_t)
        wanted.append(reading(state, q_t))
    inputs = (q, k, v, beta) if strength == 0.0 else (q, k, v, beta, log_g)
    close(run("delta_rule_core", {}, *inputs), torch.stack(wanted, 1), "y")


@pytest.mark.parametrize("strength", [0.6, 5.0, 30.0])
def test_rwkv7(strength: float) -> None:
    """`S_t = S_{t−1} (diag(w) − κ̂ᵀ (a ⊙ κ̂)) + vᵀ k` with values along the rows, as the paper has it (equation 17)."""
    q, k, v, d, e, a = draw(R, R, V, R, R, R)
    e, a, log_w = unit(e), torch.sigmoid(a), -strength * torch.sigmoid(d)
    state, wanted = torch.zeros(B, H, V, R).double(), []
    for q_t, k_t, v_t, l_t, e_t, a_t in steps(q, k, v, log_w, e, a):
        state = state @ (torch.diag_embed(l_t.exp()) - outer(e_t, a_t * e_t)) + outer(v_t, k_t)
        wanted.append((state @ q_t.unsqueeze(-1)).squeeze(-1))
    close(run("rwkv7_core", {}, q, k, v, log_w, e, a), torch.stack(wanted, 1), "y")


def test_without_erasure_the_generalised_delta_rule_is_gated_linear_attention() -> None:
    q, k, v, g = draw(R, R, V, R)
    wanted, state = scaled_attention(*(x[None] for x in (q, k, v, -g.abs())), 32)
    q, k, v, g = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v, g))
    y, last = row_delta_rule(q, k, torch.zeros_like(k), k, v, -g.abs())
    close(y, wanted[0].transpose(1, 2).flatten(0, 1), "y")
    close(last, state.flatten(0, 2), "last state")


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_mlstm(forget: str) -> None:
    """Equations 19 to 27 as they stand, without a stabiliser."""
    q, k, v, i, f = draw(R, R, V, 1, 1)
    f = f if forget == "sigmoid" else -f.abs()
    memory, total, wanted = torch.zeros(B, H, R, V).double(), torch.zeros(B, H, R).double(), []
    for q_t, k_t, v_t, i_t, f_t in steps(q, k / R**0.5, v, i, f):
        kept = torch.sigmoid(f_t) if forget == "sigmoid" else f_t.exp()
        memory = kept.unsqueeze(-1) * memory + i_t.exp().unsqueeze(-1) * outer(k_t, v_t)
        total = kept * total + i_t.exp() * k_t
        wanted.append(reading(memory, q_t) / (total * q_t).sum(-1, keepdim=True).abs().clamp(min=1.0))
    zero = torch.zeros(H)
    y = run("mlstm_core", {"forget": forget}, q, k, v, i, f, input_bias=zero, forget_bias=zero)
    close(y, torch.stack(wanted, 1), "y")


def test_mlstm_holds_gates_that_no_exponential_holds() -> None:
    q, k, v, i, f = draw(R, R, V, 1, 1)
    zero = torch.zeros(H)
    y = run("mlstm_core", {}, q, k, v, 200.0 * i, 100.0 * f, input_bias=zero, forget_bias=zero)
    assert y.isfinite().all()


def test_feature_maps_have_the_products_that_they_stand_for() -> None:
    q, k = draw(R, R)
    dots = (q * k).sum(-1) / R**0.5
    got = (mapped("taylor", q) * mapped("taylor", k)).sum(-1)
    close(got, 1 + dots + dots.square() / 2, "second-order expansion of the exponential")
    close(mapped("elu1", q), torch.where(q > 0, q + 1, q.exp()), "elu1")
    r = torch.relu(torch.cat([q, -q], -1))
    nu = mapped("dpfp", q, nu=2)
    wanted = [r[..., i % (2 * R)] * r[..., (i - j) % (2 * R)] for j in (1, 2) for i in range(2 * R)]
    close(nu, torch.stack(wanted, -1), "dpfp")
    close(mapped("softmax", q).sum(-1), torch.ones(B, T, H), "sum")
    close(mapped("dpfp", q, nu=2, sum_to_one=True), nu / (nu.sum(-1, keepdim=True) + 1e-6), "features over their sum")


def mapped(kind: str, x: Tensor, **settings: object) -> Tensor:
    return run("feature_map", {"kind": kind, **settings}, x)


def test_retention_forgets_as_the_paper_says() -> None:
    y = registry()["head_decays"].bind({"heads": 3}).forward({}, torch.zeros(1, 1, 1, 8), ctx=Context())  # type: ignore[attr-defined]
    close(y.flatten().exp(), torch.tensor([1 - 2.0**-5, 1 - 2.0**-6, 1 - 2.0**-7]), "decays")


def test_gla_equals_flash_linear_attention() -> None:
    q, k, v, g = draw(R, R, V, R)
    wanted, _ = other("fla", "ops/gla/naive.py").naive_recurrent_gla(q, k, v, -g.abs())
    close(run("linear_attention_core", {}, q * R**-0.5, k, v, -g.abs()), wanted, "y")


def test_retention_equals_flash_linear_attention() -> None:
    q, k, v = draw(R, R, V)
    wanted = other("fla", "ops/retention/naive.py").naive_retention(*(x.transpose(1, 2) for x in (q, k, v)))
    decay = torch.log1p(-torch.exp2(-5.0 - torch.arange(H))).view(1, 1, H, 1).expand(B, T, H, 1)
    close(run("linear_attention_core", {}, q * R**-0.5, k, v, decay), wanted.transpose(1, 2), "y")


def test_delta_rule_equals_flash_linear_attention() -> None:
    q, k, v, b = draw(R, R, V, 1)
    k, beta = unit(k), torch.sigmoid(b)
    inputs = (x.transpose(1, 2) for x in (q, k, v, beta))
    wanted, _ = other("fla", "ops/delta_rule/naive.py").delta_rule_recurrence(*inputs)
    close(run("delta_rule_core", {}, q * R**-0.5, k, v, beta), wanted.transpose(1, 2), "y")


def test_gated_delta_rule_equals_flash_linear_attention() -> None:
    q, k, v, b, g = draw(R, R, V, 1, 1)
    k, beta, log_g = unit(k), torch.sigmoid(b), -g.abs()
    theirs = other("fla", "ops/gated_delta_rule/naive.py").naive_recurrent_gated_delta_rule
    wanted, _ = theirs(q, k, v, beta.squeeze(-1), log_g.squeeze(-1))
    close(run("delta_rule_core", {}, q * R**-0.5, k, v, beta, log_g), wanted, "y")


def test_rwkv7_equals_flash_linear_attention() -> None:
    q, k, d, e, a = draw(R, R, R, R, R)
    v = q + k  # theirs wants values as wide as keys
    e, a, log_w = unit(e), torch.sigmoid(a), -0.6 * torch.sigmoid(d)
    inputs = (x.transpose(1, 2) for x in (q, k, v, e, -a * e, log_w))
    wanted, _ = other("fla", "ops/generalized_delta_rule/dplr/naive.py").dplr_recurrence(*inputs)
    close(run("rwkv7_core", {}, q * R**-0.5, k, v, log_w, e, a), wanted.transpose(1, 2), "y")


def test_mlstm_equals_xlstm() -> None:
    q, k, i, f = draw(R, R, 1, 1)
    v = q - k
    inputs = (x.transpose(1, 2) for x in (q, k, v, i, f))
    wanted = other("xlstm", "blocks/mlstm/backends.py").parallel_stabilized_simple(*inputs)
    zero = torch.zeros(H)
    y = run("mlstm_core", {}, q, k, v, i, f, input_bias=zero, forget_bias=zero)
    close(y, wanted.transpose(1, 2), "y", 1e-4)  # theirs adds 1e-6 to the denominator


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            Case("linear_attention_core", {}, (8, 12, 8)),
            "`q` and `k` of `linear_attention_core` must have equal widths",
        ),
        (Case("linear_attention_core", {"heads": 3}, (8, 8, 8)), "`heads` must divide the width"),
        (Case("linear_attention_core", {}, (8, 8, 8, 3)), "one feature a head or one a row, 4 or 8, but got 3"),
        (Case("delta_rule_core", {}, (8, 8, 8, 8)), "`beta` of `delta_rule_core` must have one feature a head, 4"),
        (Case("rwkv7_core", {}, (8, 8, 8, 4, 8, 8)), "must have equal widths"),
        (Case("mlstm_core", {}, (8, 8, 8, 4, 8)), "`f` of `mlstm_core` must have one feature a head, 4, but got 8"),
        (Case("rotary", {"heads": 4}, (12,)), "a head of `rotary` must have an even number of features"),
        (Case("scale_heads", {}, (8, 3)), "must have one feature a head"),
    ],
    ids=str,
)
def test_types_that_do_not_fit_are_refused(case: Case, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        case.op.infer(*case.types)
    assert message in str(caught.value)
