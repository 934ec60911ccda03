"""The least that a setting may be is the least with which an op still gives numbers."""

from __future__ import annotations

import pytest
import torch

from archsearch.errors import RuleError
from archsearch.ops.base import Context
from archsearch.ops.registry import op_class
from tests.ops.contract import Case, close, parallel

NOTHING = [  # at zero: a quotient of zeros, the logarithm of zero, zero times infinity in the mask of a fused kernel
    (Case("rms_norm"), "eps"),
    (Case("layer_norm", {}, (1,)), "eps"),
    (Case("head_norm", {"center": True}, (4,)), "eps"),
    (Case("norm"), "eps"),
    (Case("linear_attention_core", {"normalise": True}, (4, 4, 4)), "eps"),
    (Case("head_decays"), "first"),
    (Case("hopfield_core", {}, (8, 8, 8)), "beta"),
]


@pytest.mark.parametrize(("case", "setting"), NOTHING, ids=str)
def test_zero_is_refused_where_it_gives_no_numbers(case: Case, setting: str) -> None:
    with pytest.raises(RuleError, match=f"`{setting}` must be at least .*, but got 0"):
        _ = Case(case.name, {**case.settings, setting: 0.0}, case.widths).op


@pytest.mark.parametrize("nothing", [0.0, 1.0])
@pytest.mark.parametrize(("case", "setting"), NOTHING, ids=str)
def test_the_least_gives_numbers(case: Case, setting: str, nothing: float) -> None:
    """Also where all inputs are zero."""
    (least,) = (s.low for s in op_class(case.name).spec().settings if s.name == setting)
    least_case = Case(case.name, {**case.settings, setting: least}, case.widths)
    xs = [(nothing * x.detach()).requires_grad_() for x in least_case.inputs()]
    ys = parallel(least_case, least_case.weights(), xs)
    assert all(y.isfinite().all() for y in ys)
    if ys[0].requires_grad:
        grads = torch.autograd.grad(sum(y.sum() for y in ys), xs, allow_unused=True)  # type: ignore[arg-type]
        assert all(g is None or g.isfinite().all() for g in grads)


@pytest.mark.parametrize("name", ["head_decays", "relu_readout", "random_readout"])
@pytest.mark.parametrize("width", [None, 3])
def test_a_state_of_matrices_is_refused_where_a_vector_is_meant(name: str, width: int | None) -> None:
    case = Case(name, {} if name == "head_decays" else {"width": width}, ((2, 3, 4),))
    with pytest.raises(RuleError, match=f"`x` of `{name}` must be a vector"):
        case.op.infer(*case.types)


def test_a_reservoir_sees_its_input() -> None:
    with pytest.raises(RuleError, match="`input_scale` must be at least 1e-06, but got 0"):
        _ = Case("reservoir_core", {"input_scale": 0.0}).op


def test_differential_attention_keeps_a_share_of_its_output() -> None:
    """At λ₀ = 1 it would be zero, whatever comes in."""
    with pytest.raises(RuleError, match=r"`lambda_init` must be .* at most 0\.99, but got 1"):
        _ = Case("differential_attention_core", {"lambda_init": 1.0}, (16, 16, 16)).op


def test_a_mesa_layer_takes_a_decay_without_a_weight() -> None:
    """An optional port may be left open before one that is not; a weight that is not there is one."""
    full = Case("mesa_core", {"heads": 2}, (6, 6, 8, 2, 2))
    w, (q, k, v, _, decay) = full.weights(), full.inputs()
    ones = torch.ones_like(decay)
    close(full.op.forward(w, q, k, v, None, decay, ctx=Context()), parallel(full, w, [q, k, v, ones, decay])[0], "y")
    types = full.types
    costs = [full.op.cost(*types[:3], beta, types[4], time=8) for beta in (types[3], None)]
    assert costs[0].state_bytes == costs[1].state_bytes
