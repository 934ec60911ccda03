"""Ops against independent forms: torch's own modules, explicit sums, counted operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.errors import RuleError, UnknownNameError
from archsearch.graph.types import ValueType
from archsearch.ops.base import Context
from archsearch.ops.registry import op_class
from tests.ops.contract import TIME, Case, close, parallel


def one_copy(case: Case) -> tuple[dict[str, Tensor], list[Tensor], list[Tensor]]:
    """Weights and inputs without the axis of copies, and the op's outputs for them."""
    w, xs = case.weights(seeds=(4,)), case.inputs(copies=1)
    ys = parallel(case, w, xs)
    return {k: v[0] for k, v in w.items()}, [x[0] for x in xs], [y[0] for y in ys]


@pytest.mark.parametrize(("name", "module"), [("gru_core", nn.GRU), ("lstm_core", nn.LSTM)])
@pytest.mark.parametrize("width", [8, 5])
def test_gated_cores_equal_torch_modules(name: str, module: Any, width: int) -> None:
    case = Case(name, {"width": width})
    w, (x,), (y,) = one_copy(case)
    theirs = module(8, width, batch_first=True)
    names = {"weight_ih_l0": "input", "weight_hh_l0": "hidden", "bias_ih_l0": "input_bias", "bias_hh_l0": "hidden_bias"}
    theirs.load_state_dict({k: w[v] for k, v in names.items()})
    close(y, theirs(x)[0], "output")
    assert sum(p.numel() for p in theirs.parameters()) == sum(v.numel() for v in w.values())


def test_the_forget_gate_starts_open_and_states_keep_their_size() -> None:
    w = Case("lstm_core").weights(seeds=(1,))
    assert w["input_bias"][0].view(4, 8).sum(1).tolist() == [0.0, 8.0, 0.0, 0.0]
    for gate in w["hidden"][0].view(4, 8, 8):
        close(gate @ gate.T, torch.eye(8), "orthogonal gate")


@pytest.mark.parametrize("frequencies", ["linear", "inverse"])
def test_s4d_equals_the_sum_over_its_complex_modes(frequencies: str) -> None:
    w, (x,), (y,) = one_copy(Case("s4d_core", {"state": 6, "frequencies": frequencies}))
    dt = w["log_dt"].double().exp()[:, None]
    a = torch.complex(-w["log_rate"].double().exp(), w["frequency"].double())
    gain = torch.view_as_complex(w["c"].detach().double()) * (torch.exp(dt * a) - 1) / a
    taps = torch.stack([2 * (gain * torch.exp(dt * a * step)).sum(-1).real for step in range(TIME)], -1)
    lower = torch.stack(
        [torch.stack([taps[:, t - s] if t >= s else 0 * taps[:, 0] for s in range(TIME)]) for t in range(TIME)]
    )
    close(y, torch.einsum("tsd,bsd->btd", lower, x.double()) + x * w["skip"], "output")


def test_short_conv_equals_the_sum_over_its_taps() -> None:
    w, (x,), (y,) = one_copy(Case("short_conv", {"kernel": 4}))
    for t in range(TIME):
        taps = sum(w["weight"][:, 3 - j] * x[:, t - j] for j in range(4) if t >= j)
        close(y[:, t], taps + w["bias"], f"step {t}")


def test_norms_equal_torch() -> None:
    w, (x,), (y,) = one_copy(Case("rms_norm"))
    close(y, F.rms_norm(x, (8,), w["weight"], 1e-6), "rms_norm")
    w, (x,), (y,) = one_copy(Case("layer_norm"))
    close(y, F.layer_norm(x, (8,), w["weight"], w["bias"]), "layer_norm")


@pytest.mark.parametrize("case", [Case("dropout", {"rate": 0.4}), Case("mlp", {"dropout": 0.4})], ids=str)
def test_dropout_is_per_copy_and_equals_the_solo_run(case: Case) -> None:
    w, xs = case.weights(seeds=(1, 2)), case.inputs()
    y = case.op.forward(w, *xs, ctx=Context(True, [torch.Generator().manual_seed(s) for s in (6, 7)]))
    solo_w = {k: v[1:] for k, v in w.items()}
    solo = case.op.forward(solo_w, *[x[1:] for x in xs], ctx=Context(True, [torch.Generator().manual_seed(7)]))
    close(y[1:], solo, "copy 1")
    assert not torch.equal(y, parallel(case, w, xs)[0])
    with pytest.raises(RuleError, match="one generator per copy"):
        case.op.forward(w, *xs, ctx=Context(True, None))


def test_dropout_keeps_the_mean_and_drops_the_share() -> None:
    x = torch.ones(1, 50, 20, 100)
    y = Case("dropout", {"rate": 0.3}).op.forward({}, x, ctx=Context(True, [torch.Generator().manual_seed(0)]))
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("split", {"parts": 3}, (8,)), "`parts` must divide the width, but got parts=3, width=8"),
        (Case("add", {}, (8, 4)), "the inputs of `add` must have equal widths and rates, but got 8, 4"),
        (Case("multiply", {}, (8, 8, 4)), "the inputs of `multiply` must be of one type, or factors"),
        (Case("multiply", {}, ((2, 3, 4), 8)), "but got 2×3×4, 8"),
        (Case("outer", {"heads": 2}, (6, 5)), "`heads` must divide the width"),
        (Case("outer", {}, (6, (1, 2, 3))), "`y` of `outer` must be a vector"),
        (Case("matmul", {}, (6, 6)), "`state` of `matmul` must be matrices"),
        (Case("matmul", {}, ((2, 3, 4), 8)), "must have heads × rows of the state as its width, 6, but got 8"),
        (Case("matmul", {}, ((2, 3, 4), (2, 4, 3))), "must have the heads of the state and, as rows, its rows"),
        (Case("split", {}), "`split` must have one of `parts` and `sizes`, but got neither"),
        (Case("split", {"sizes": "3,4"}), "`sizes` must add up to the width"),
        (Case("split", {"sizes": "3,-1"}), "`sizes` must be whole numbers above 0"),
    ],
    ids=str,
)
def test_types_that_do_not_fit_are_refused(case: Case, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        case.op.infer(*case.types)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["gru_core", "lstm_core", "s4d_core", "short_conv"])
def test_cores_take_vectors_only(name: str) -> None:
    with pytest.raises(RuleError, match=f"`x` of `{name}` must be a vector"):
        Case(name).op.infer(ValueType((2, 3, 4)))


def test_an_unknown_op_names_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean `gru_core`"):
        op_class("gru_cor")


def test_identities_say_so() -> None:
    x = ValueType((8,))
    for case, expected in (
        (Case("identity"), True),
        (Case("dropout", {"rate": 0.0}), True),
        (Case("dropout", {"rate": 0.1}), False),
        (Case("add"), True),
        (Case("concat"), True),
        (Case("linear"), False),
    ):
        assert case.op.is_identity(x) is expected
    assert not Case("add").op.is_identity(x, x)
