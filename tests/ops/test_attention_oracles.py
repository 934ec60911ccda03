"""Attention against explicit sums in double precision, torch's own module, and what its papers say of it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.errors import RuleError
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.normal import digest
from archsearch.kernels.attention import alibi_slopes, attend
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from tests.ops.contract import BATCH, TIME, Case, close, parallel


def one_copy(case: Case) -> tuple[dict[str, Tensor], list[Tensor], Tensor]:
    """Weights and inputs without the axis of copies, in double precision, and what the op gives for them in single."""
    w, xs = case.weights(seeds=(4,)), case.inputs(copies=1)
    with torch.no_grad():
        for p in w.values():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    (y,) = parallel(case, w, xs)
    return {k: v.detach()[0].double() for k, v in w.items()}, [x.detach()[0].double() for x in xs], y[0]


def heads_of(x: Tensor, heads: int) -> Tensor:
    """`(B, T, H·C)` to `(B, H, T, C)`."""
    split: Tensor = x.unflatten(-1, (heads, -1))
    return split.transpose(1, 2)


def turned(x: Tensor) -> Tensor:
    """Rotary positions as 2×2 rotations of neighbouring features."""
    out = torch.empty_like(x)
    for j in range(0, x.shape[-1], 2):
        angle = torch.arange(x.shape[-2], dtype=x.dtype) * 10_000 ** (-j / x.shape[-1])
        c, s = angle.cos(), angle.sin()
        out[..., j] = x[..., j] * c - x[..., j + 1] * s
        out[..., j + 1] = x[..., j] * s + x[..., j + 1] * c
    return out


def explicit(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    window: int | None = None,
    slopes: tuple[float, ...] = (),
    scale: float | None = None,
) -> Tensor:
    """The scores of all pairs and a dense mask; heads `(B, H, T, C)`, fewer of keys and values serve neighbours."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    distance = torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])
    scores = q @ k.mT * (scale or 1 / math.sqrt(q.shape[-1]))
    for i, slope in enumerate(slopes):
        scores[:, i] -= slope * distance.abs()
    if causal:
        scores = scores.masked_fill(distance < 0, -torch.inf)
    if window:
        scores = scores.masked_fill(distance >= window, -torch.inf)
    return scores.softmax(-1) @ v


SETTINGS: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    *(
        ({"heads": 2, "causal": causal, "positions": positions}, (8, 8, 8))
        for causal in (True, False)
        for positions in ("rotary", "alibi", "none")
    ),
    ({"heads": 4, "kv_heads": 2}, (16, 8, 6)),
    ({"heads": 4, "kv_heads": 1, "positions": "alibi"}, (8, 2, 4)),
    ({"heads": 2, "window": 6}, (8, 8, 8)),
    ({"heads": 2, "window": 1}, (8, 8, 8)),
    ({"heads": 4, "kv_heads": 2, "window": 9, "positions": "alibi", "qk_norm": True}, (16, 8, 8)),
    ({"heads": 2, "qk_norm": True}, (12, 12, 4)),
]


@pytest.mark.parametrize(("settings", "widths"), SETTINGS, ids=str)
def test_softmax_attention_equals_the_explicit_softmax(settings: dict[str, Any], widths: tuple[int, int, int]) -> None:
    case = Case("softmax_attention", settings, widths)
    w, (q, k, v), y = one_copy(case)
    heads = settings["heads"]
    groups, positions = settings.get("kv_heads", heads), settings.get("positions", "rotary")
    q, k, v = heads_of(q, heads), heads_of(k, groups), heads_of(v, groups)
    if "qk_norm" in settings:
        q, k = (F.rms_norm(x, x.shape[-1:], w[name], 1e-6) for x, name in ((q, "q_norm"), (k, "k_norm")))
    if positions == "rotary":
        q, k = turned(q), turned(k)
    slopes = tuple(2 ** (-8 * (i + 1) / heads) for i in range(heads)) if positions == "alibi" else ()
    seen = {key: settings[key] for key in ("causal", "window") if key in settings}
    close(y, explicit(q, k, v, slopes=slopes, **seen).transpose(1, 2).flatten(2), "output")


@pytest.mark.parametrize("time", [33, 128, 129, 300])
@pytest.mark.parametrize("seen", [{}, {"causal": False}, *({"window": w} for w in (2, 32, 33, 128, 299, 400))], ids=str)
@pytest.mark.parametrize("slopes", [(), alibi_slopes(2)], ids=["plain", "alibi"])
def test_blocks_and_chunks_equal_a_dense_mask(time: int, seen: dict[str, Any], slopes: tuple[float, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = [(2, 2, time, 4), (2, 1, time, 4), (2, 1, time, 6)]
    xs = [torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_() for shape in shapes]
    direction = torch.randn(2, 2, time, 6, generator=g, dtype=torch.float64)
    y, wanted = (f(*xs, slopes=slopes, **seen) for f in (attend, explicit))
    close(y, wanted, "output", 1e-12)
    for a, b in zip(*(torch.autograd.grad(out, xs, direction) for out in (y, wanted)), strict=True):
        close(a, b, "gradient", 1e-12)


LINEAR = [
    Case("softmax_attention", {"heads": 2}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 2}, (8, 8, 12)),
    Case("softmax_attention", {"heads": 2, "window": 40}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 2, "positions": "alibi"}, (8, 8, 8)),
    Case("latent_attention_core", {"heads": 2}, (8, 4, 3, 2)),
    Case("differential_attention_core", {"heads": 2}, (8, 8, 8)),
    Case("hopfield_core", {"heads": 2}, (8, 8, 8)),
]


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_no_scores_of_all_pairs_are_kept_for_the_backward_pass(case: Case) -> None:
    time, kept = 1024, {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        y = parallel(case, case.weights(seeds=(1,)), case.inputs(copies=1, time=time))
    assert y and 0 < sum(kept.values()) < time * time


@pytest.mark.parametrize("causal", [True, False])
def test_softmax_attention_equals_torchs_module(causal: bool) -> None:
    _, xs, y = one_copy(Case("softmax_attention", {"heads": 4, "causal": causal, "positions": "none"}, (8, 8, 8)))
    theirs = nn.MultiheadAttention(8, 4, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        assert theirs.in_proj_weight is not None
        theirs.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        theirs.out_proj.weight.copy_(torch.eye(8))
    mask = torch.ones(TIME, TIME, dtype=torch.bool).triu(1) if causal else None
    close(y, theirs(*xs, attn_mask=mask, need_weights=False)[0], "output")


def test_without_positions_attention_that_sees_all_has_no_order() -> None:
    case = Case("softmax_attention", {"heads": 2, "causal": False, "positions": "none"}, (8, 8, 8))
    xs = case.inputs()
    (y,), (z,) = parallel(case, {}, xs), parallel(case, {}, [x.flip(2) for x in xs])
    close(z.flip(2), y, "output of the reversed sequence")


def test_slopes_are_those_of_the_paper() -> None:
    assert alibi_slopes(8) == tuple(2.0**-i for i in range(1, 9))
    assert alibi_slopes(16) == pytest.approx([2.0 ** (-i / 2) for i in range(1, 17)])
    assert alibi_slopes(12) == pytest.approx([*alibi_slopes(8), *alibi_slopes(16)[:8:2]])


def test_the_cache_of_a_window_stops_growing_and_an_old_state_stays() -> None:
    case = Case("softmax_attention", {"heads": 2, "window": 4}, (8, 8, 8))
    steps = list(zip(*(x.detach().unbind(2) for x in case.inputs()), strict=True))
    state, sizes = case.op.start({}, BATCH, *case.types), []
    for one in steps[:6]:
        _, state = case.op.step({}, state, *one, ctx=Context())
        sizes.append(state["k"].shape[2])
    assert sizes == [1, 2, 3, 4, 4, 4]
    first, _ = case.op.step({}, state, *steps[6], ctx=Context())
    case.op.step({}, state, *steps[7], ctx=Context())
    assert torch.equal(first, case.op.step({}, state, *steps[6], ctx=Context())[0])


def test_latent_attention_equals_the_papers_sums() -> None:
    heads, part, rotary = 2, 4, 2
    w, (q, q_rotary, latent, k_rotary), y = one_copy(
        Case("latent_attention_core", {"heads": heads, "value_dim": 3}, (8, 4, 5, 2))
    )
    keys, values = latent @ w["key"].T, latent @ w["value"].T
    shared = turned(k_rotary)
    outs = []
    for h in range(heads):
        content = q[..., h * part : (h + 1) * part] @ keys[..., h * part : (h + 1) * part].mT
        place = turned(q_rotary[..., h * rotary : (h + 1) * rotary]) @ shared.mT
        scores = (content + place) / math.sqrt(part + rotary)
        scores = scores.masked_fill(torch.ones(TIME, TIME).triu(1).bool(), -torch.inf)
        outs.append(scores.softmax(-1) @ values[..., 3 * h : 3 * h + 3])
    close(y, torch.cat(outs, -1), "output")


def test_the_cache_of_latent_attention_is_the_latent_and_one_key() -> None:
    latent = Case("latent_attention_core", {"heads": 16}, (1024, 512, 256, 32))
    full = Case("softmax_attention", {"heads": 16}, (1024, 1024, 1024))
    assert latent.op.cost(*latent.types, time=100).state_bytes == 4 * 100 * (256 + 32)
    assert full.op.cost(*full.types, time=100).state_bytes == 4 * 100 * 2048


def test_differential_attention_is_the_difference_of_two_maps() -> None:
    first = 0.8 - 0.6 * math.exp(-0.3)  # the paper's second layer
    case = Case("differential_attention_core", {"heads": 2, "lambda_init": first}, (16, 16, 8))
    w, (q, k, v), y = one_copy(case)
    share = math.exp(w["lambda_q1"] @ w["lambda_k1"]) - math.exp(w["lambda_q2"] @ w["lambda_k2"]) + first
    outs = []
    for h in range(2):
        maps = []
        for j in (2 * h, 2 * h + 1):
            a, b = (turned(x[..., 4 * j : 4 * j + 4]) for x in (q, k))
            scores = (a @ b.mT / 2.0).masked_fill(torch.ones(TIME, TIME).triu(1).bool(), -torch.inf)
            maps.append(scores.softmax(-1))
        head = (maps[0] - share * maps[1]) @ v[..., 4 * h : 4 * h + 4]
        outs.append(F.rms_norm(head, (4,), w["norm"], 1e-5) * (1 - first))
    close(y, torch.cat(outs, -1), "output")


def test_one_hopfield_update_is_attention() -> None:
    _, _, y = one_copy(Case("hopfield_core", {"heads": 2, "steps": 1}, (8, 8, 6)))
    _, _, z = one_copy(Case("softmax_attention", {"heads": 2, "positions": "none"}, (8, 8, 6)))
    close(y, z, "output")


@pytest.mark.parametrize("causal", [True, False])
def test_hopfield_updates_equal_the_explicit_ones(causal: bool) -> None:
    _, (q, k, v), y = one_copy(
        Case("hopfield_core", {"heads": 2, "steps": 3, "beta": 0.7, "causal": causal}, (8, 8, 6))
    )
    state, patterns, values = (heads_of(x, 2) for x in (q, k, v))
    for _ in range(2):
        state = explicit(state, patterns, patterns, causal=causal, scale=0.7)
    out = explicit(state, patterns, values, causal=causal, scale=0.7)
    close(y, out.transpose(1, 2).flatten(2), "output")


def test_each_update_lowers_the_energy_over_the_steps_so_far() -> None:
    """The energy of eq. 3 but for what is constant: `½ ξ·ξ − 1/β log Σ_s exp(β k_s · ξ)`."""
    beta, k = 2.0, torch.randn(1, 1, 12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = torch.randn(1, 1, 12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hidden = torch.ones(12, 12).triu(1).bool()
    energies = []
    for _ in range(6):
        scores = (beta * state[0] @ k[0].transpose(1, 2)).masked_fill(hidden, -torch.inf)
        energies.append(state[0].square().sum(-1) / 2 - scores.logsumexp(-1) / beta)
        (state,) = parallel(Case("hopfield_core", {"heads": 1, "steps": 1, "beta": beta}, (4, 4, 4)), {}, [state, k, k])
    for before, after in itertools.pairwise(energies):
        assert (after <= before + 1e-12).all()
    assert (energies[1] < energies[0] - 1e-6).all()


def test_a_cold_network_retrieves_the_nearest_pattern() -> None:
    g = torch.Generator().manual_seed(0)
    k = F.normalize(torch.randn(1, 1, 10, 16, generator=g), dim=-1)
    q = k.flip(2) + 0.05 * torch.randn(1, 1, 10, 16, generator=g)
    case = Case("hopfield_core", {"heads": 1, "beta": 50.0, "causal": False}, (16, 16, 16))
    close(parallel(case, {}, [q, k, k])[0], k.flip(2), "retrieved", 1e-3)


REFUSED = [
    (Case("softmax_attention", {"heads": 3}, (64, 64, 64)), "`heads` must divide the width, but got heads=3, width=64"),
    (
        Case("softmax_attention", {"heads": 8}, (24, 24, 24)),
        "even number of features in a head, but got heads=8, width=24",
    ),
    (Case("softmax_attention", {}, (64, 32, 64)), "`q` and `k` must have equal widths"),
    (Case("softmax_attention", {"kv_heads": 3}, (64, 48, 48)), "`kv_heads` must divide `heads`, but got kv_heads=3"),
    (Case("softmax_attention", {"kv_heads": 2}, (64, 64, 64)), "`k` must have 2 heads as wide as those of `q`"),
    (Case("softmax_attention", {"kv_heads": 2}, (64, 32, 33)), "`kv_heads` must divide the width, but got kv_heads=2"),
    (Case("softmax_attention", {"window": 4, "causal": False}, (8, 8, 8)), "a `window` must look back only"),
    (Case("softmax_attention", {}, (8, (2, 3, 4), 8)), "`k` of `softmax_attention` must be a vector"),
    (Case("latent_attention_core", {"heads": 3}, (8, 6, 4, 2)), "`heads` must divide the width"),
    (Case("latent_attention_core", {"heads": 2}, (8, 8, 4, 2)), "`k_rotary` must be as wide as one head of `q_rotary`"),
    (Case("latent_attention_core", {"heads": 2}, (8, 6, 4, 3)), "`k_rotary` must have an even number of features"),
    (Case("differential_attention_core", {"heads": 4}, (8, 8, 8)), "a head must have a multiple of 4 features"),
    (Case("differential_attention_core", {}, (16, 8, 16)), "`q` and `k` must have equal widths"),
    (Case("hopfield_core", {}, (16, 8, 16)), "`q` and `k` must have equal widths"),
    (Case("hopfield_core", {"heads": 5}, (16, 16, 16)), "`heads` must divide the width"),
]


@pytest.mark.parametrize(("case", "message"), REFUSED, ids=str)
def test_types_that_do_not_fit_are_refused(case: Case, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        case.op.infer(*case.types)
    assert message in str(caught.value)


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(RuleError, match="`window` must be at least 1, but got 0"):
        _ = Case("softmax_attention", {"window": 0}).op


def test_as_many_heads_of_keys_as_of_queries_are_one_architecture_said_or_not() -> None:
    def name(settings: dict[str, Any]) -> str:
        case = Case("softmax_attention", settings, (8, 8, 8))
        node = Node("out", case.name, settings, ((Source("in"),),) * 3, (case.types[0],))
        return digest(Architecture("one", {"in": case.types[0]}, (node,), Source("out")), registry())

    assert name({"heads": 4}) == name({"heads": 4, "kv_heads": 4}) == name({"heads": 4, "kv_heads": None})
    assert len({name(s) for s in ({"heads": 4}, {"heads": 2}, {"heads": 2, "kv_heads": 1})}) == 3
