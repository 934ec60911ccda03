"""Stated operations against those that torch counts while an op runs on the device `meta`, where there are no numbers.

The counter sees products of matrices and convolutions. What it does not see stands beside each case as a formula:
softmax, activations, outer products, triangular solves. A row says which form the stated cost is that of:

    forward    all steps at once
    causal     the same beside the cost at 2T − 1 steps, where a query sees T keys on average: the counter, at T steps,
               does not see that later keys are skipped
    step       the recurrence, of which chunks are a faster formulation with more operations
    marginal   what T steps cost more than T / 2, for ops that form something once for all steps
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archsearch.ops.registry import op_classes
from tests.ops.contract import BATCH, TIME, Case, parallel, stepwise
from tests.ops.test_contract import CASES

T = TIME

COUNTED = [
    ("forward", Case("linear", {"width": 5}), 0),
    ("forward", Case("mlp", {"expand": 3.0}), 24),
    ("forward", Case("relu_readout", {"width": 3, "neurons": 5}), 5),
    ("forward", Case("random_readout", {"width": 3, "neurons": 5}), 5),
    ("forward", Case("random_features", {"features": 5}), 2 * 5),
    ("forward", Case("block_linear", {"blocks": 2}), 0),
    ("forward", Case("kan", {"width": 5, "grid": 3, "order": 2}), 8 + 5 * 2 * 8 * 5),
    ("forward", Case("matmul", {}, ((2, 3, 4), 6)), 0),
    ("forward", Case("matmul", {"transpose": False}, ((2, 3, 4), (2, 4, 5))), 0),
    ("forward", Case("short_conv", {"kernel": 7}), 0),
    ("forward", Case("softmax_attention", {"heads": 2, "causal": False}, (8, 8, 8)), 5 * 2 * T + 3 * 16),
    ("forward", Case("softmax_attention", {"causal": False, "positions": "none"}, (8, 8, 8)), 5 * 4 * T),
    ("forward", Case("softmax_attention", {"kv_heads": 2, "causal": False}, (16, 8, 8)), 5 * 4 * T + 3 * 24),
    ("causal", Case("softmax_attention", {"heads": 2, "qk_norm": True}, (8, 8, 8)), 5 * 2 * T + 7 * 16),
    ("causal", Case("latent_attention_core", {"heads": 2, "value_dim": 6}, (8, 4, 5, 2)), 5 * 2 * T + 3 * 6),
    ("causal", Case("differential_attention_core", {"heads": 2}, (16, 16, 8)), 10 * 2 * T + 3 * 32 + 7 * 8),
    ("causal", Case("hopfield_core", {"heads": 2, "steps": 3}, (8, 8, 8)), 3 * 5 * 2 * T),
    ("causal", Case("additive_attention", {"heads": 2, "hidden": 6}, (8, 5, 4)), (2 * 6 + 4 * 2) * T),
    ("forward", Case("additive_attention", {"heads": 2, "causal": False}, (8, 8, 8)), (2 * 8 + 4 * 2) * T),
    ("causal", Case("kernel_regression", {"heads": 2}, (8, 8, 6)), 5 * 2 * T + 3 * 8),
    ("forward", Case("rnn_core", {"width": 5}), 4 * 5),
    ("forward", Case("gru_core", {"width": 5}), 11 * 5),
    ("forward", Case("lstm_core", {"width": 5}), 13 * 5),
    ("forward", Case("slstm_core", {"heads": 3}, (9,) * 4), 26 * 9),
    ("forward", Case("rg_lru", {"heads": 3}, (9,)), 16 * 9),
    ("forward", Case("reservoir_core", {"width": 13}), 4 * 13),
    ("step", Case("selective_scan", {}, (8, 8, 4, 4)), (5 * 4 + 3) * 8),
    ("step", Case("s6", {"state": 3, "rank": 2}), (5 * 3 + 3) * 8),
    ("forward", Case("s5_core", {"state": 5}, time=16), 8 * 5 + 2 * 8),
    ("forward", Case("ssd", {}, (8, 2, 5, 5)), 2 * T * 2 + 4 * 8),
    ("step", Case("linear_attention_core", {}, (8, 8, 12)), 2 * 24),
    ("step", Case("linear_attention_core", {"heads": 2}, (8, 8, 6, 2)), 3 * 24),
    ("step", Case("linear_attention_core", {"heads": 2, "normalise": True}, (8, 8, 6)), 2 * 32 + 6),
    ("step", Case("delta_rule_core", {}, (8, 8, 12, 4)), 2 * 24 + 2 * 12),
    ("step", Case("delta_rule_core", {"heads": 2}, (6, 6, 8, 2, 2)), 3 * 24 + 2 * 8),
    ("step", Case("rwkv7_core", {"heads": 2}, (6, 6, 4, 6, 6, 6)), 5 * 12 + 2 * 6),
    ("step", Case("mlstm_core", {}, (8, 8, 12, 4, 4)), 3 * 32 + 8 + 2 * 12 + 8 * 4),
    ("step", Case("mesa_core", {"heads": 2}, (6, 6, 8)), 2 * (3**3 / 3 + 2 * 3**2 + 2 * 3 * (3 + 4))),
    ("step", Case("mesa_core", {"heads": 2}, (6, 6, 8, 2, 2)), 2 * (3**3 / 3 + 2 * 3**2 + 3 * 3 * (3 + 4))),
    (
        "marginal",
        Case("quadratic_layer", {"heads": 2, "constraints": 3, "iterations": 5}),
        10 * (3**3 / 3 + 4 * 3**2),
    ),
]
"""The form, a case, and the operations of a step that the counter does not see."""

EXEMPT = {
    "elementwise: one or a few operations a feature, no product of matrices": (
        "activate add constant decay_gate dropout exp feature_map gelu head_decays head_norm identity layer_norm "
        "multiply neg norm offset one_minus outer positive relu rms_norm rotary scale scale_heads sigmoid silu softmax "
        "softplus spread_offset subtract sum tanh"
    ),
    "scan: elementwise along time": "blend_scan cumsum gated_scan",
    "moves values and computes little or nothing": "concat pool reverse shift split upsample",
    "its body is what costs, as often as the solver steps": "fixed_point_end fixed_point_start",
}
"""Ops without products of matrices, and why. The counter has to see none."""

BY_FOURIER = "implicit_conv long_conv_core s4d_core"
"""The counter sees no transforms. What it sees there is the filter, which serves a whole batch and is not stated."""

CHOSEN = "experts"
"""How much is multiplied depends on values, which the device `meta` has not."""


def counted(form: str, case: Case) -> float:
    """The operations of a step that the counter sees."""
    w = {k: v.detach().to("meta") for k, v in case.weights(seeds=(1,)).items()}
    xs = [x.detach().to("meta") for x in case.inputs(copies=1)]
    with FlopCounterMode(display=False) as counter:
        (stepwise if form == "step" else parallel)(case, w, xs)
    return counter.get_total_flops() / (BATCH * case.time)


def id_of(value: object) -> str:
    return f"{value}{value.widths}" if isinstance(value, Case) else str(value)


@pytest.mark.parametrize(("form", "case", "unseen"), COUNTED, ids=id_of)
def test_stated_operations_are_those_counted_and_those_unseen(form: str, case: Case, unseen: float) -> None:
    seen = counted(form, case)
    if form == "marginal":
        seen = 2 * counted(form, replace(case, time=2 * case.time)) - seen
    time = 2 * case.time - 1 if form == "causal" else case.time
    assert seen > 0
    assert case.op.cost(*case.types, time=time).flops == pytest.approx(seen + unseen, rel=1e-12)


@pytest.mark.parametrize("top", [1, 3])
def test_experts_state_the_products_of_those_that_a_step_chooses(top: int) -> None:
    """With as many experts as are chosen, so that none has places that stay empty; on a CPU, for the choice."""
    case = Case("experts", {"experts": top, "top": top})
    with FlopCounterMode(display=False) as counter:
        parallel(case, case.weights(seeds=(1,)), case.inputs(copies=1))
    pointwise = 5 * top + top * 16
    assert case.op.cost(*case.types, time=T).flops == counter.get_total_flops() / (BATCH * T) + pointwise


@pytest.mark.parametrize("name", " ".join(EXEMPT.values()).split())
def test_what_is_exempt_multiplies_no_matrices(name: str) -> None:
    assert all(counted("forward", case) == 0 for case in CASES if case.name == name)


def test_every_op_is_counted_or_exempt() -> None:
    rows = [
        {case.name for _, case, _ in COUNTED},
        *({*names.split()} for names in (*EXEMPT.values(), BY_FOURIER, CHOSEN)),
    ]
    assert set().union(*rows) == set(op_classes())
    assert sum(map(len, rows)) == len(op_classes()), "an op stands in two places"


def test_a_window_counts_the_keys_that_are_seen() -> None:
    windowed, full = (Case("softmax_attention", {"positions": "none", "window": w}, (8, 8, 8)).op for w in (5, None))
    types = Case("softmax_attention", {}, (8, 8, 8)).types
    seen = sum(min(t + 1, 5) for t in range(T)) / sum(t + 1 for t in range(T))
    costs = [op.cost(*types, time=T) for op in (windowed, full)]
    assert costs[0].flops == pytest.approx(seen * costs[1].flops)
    assert [c.state_bytes for c in costs] == [4 * 5 * 16, 4 * T * 16]


def test_causal_attention_counts_the_keys_that_are_seen() -> None:
    seen = Case("softmax_attention", {"positions": "none"}, (8, 8, 8))
    whole = Case("softmax_attention", {"positions": "none", "causal": False}, (8, 8, 8))
    assert sum(range(1, T + 1)) / T**2 == pytest.approx(
        seen.op.cost(*seen.types, time=T).flops / whole.op.cost(*whole.types, time=T).flops
    )


def test_every_step_of_a_gated_core_follows_another() -> None:
    for name in ("rnn_core", "gru_core", "lstm_core", "slstm_core", "reservoir_core"):
        case = Case(name, {}, (8,) * (4 if name == "slstm_core" else 1))
        assert case.op.cost(*case.types, time=T).span == T


def test_a_trained_number_is_one_parameter() -> None:
    """Formulas of the papers; what stays as it was drawn counts nothing."""
    d, n, h = 8, 5, 2
    formulas = {
        Case("linear", {"width": n}).op: d * n + n,
        Case("mlp", {"expand": 2.0}).op: 2 * d * 2 * d + 3 * d,
        Case("rnn_core", {"width": n}).op: n * (d + n) + 2 * n,
        Case("gru_core", {"width": n}).op: 3 * (n * (d + n) + 2 * n),
        Case("lstm_core", {"width": n}).op: 4 * (n * (d + n) + 2 * n),
        Case("rg_lru", {"heads": h}).op: 2 * d * d // h + 2 * d + d,
        Case("kan", {"width": n, "grid": 3, "order": 2}).op: n * d * (1 + 3 + 2),
        Case("experts", {"experts": 3, "expand": 2.0}).op: 3 * (d + 2 * d * 2 * d),
        Case("s4d_core", {"state": n}).op: 2 * d + 4 * d * n,
        Case("s5_core", {"state": n}).op: 3 * n + 4 * d * n + d,
        Case("s6", {"state": n, "rank": 2}).op: d * (2 + 2 * n) + 2 * d + d + d * n + d,
        Case("short_conv", {"kernel": 3}).op: 3 * d + d,
        Case("long_conv_core", {"length": 7}).op: 7 * d + d,
        Case("quadratic_layer", {"heads": h, "constraints": 3}).op: h * (4 * 4 + 3 * 4 + 4 + 3),
        Case("random_features").op: 0,
        Case("reservoir_core").op: 0,
        Case("random_readout", {"width": 3, "neurons": n}).op: 3 * n + 3,
    }
    for op, count in formulas.items():
        assert op.params(*Case("linear", {}, (d,)).types) == count, op


def test_the_counter_runs_without_numbers() -> None:
    case = Case("softmax_attention", {}, (8, 8, 8))
    (y,) = parallel(case, {}, [torch.empty(1, BATCH, T, 8, device="meta") for _ in range(3)])
    assert y.is_meta
