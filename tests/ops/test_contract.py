"""Every shipped op keeps every promise of the contract."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction

import pytest

from archsearch.errors import RuleError
from archsearch.ops.base import Context
from archsearch.ops.registry import op_classes, registry
from tests.ops.contract import CHECKS, TIME, Case, decodes

CASES = [
    Case("linear"),
    Case("linear", {"width": 5, "bias": False}),
    Case("mlp"),
    Case("mlp", {"expand": 0.3, "activation": "tanh", "dropout": 0.2}),
    Case("softmax_attention", {"heads": 2}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 4, "rotary": False}, (12, 12, 8)),
    Case("softmax_attention", {"heads": 1, "causal": False}, (8, 8, 8)),
    Case("gru_core"),
    Case("gru_core", {"width": 5}),
    Case("lstm_core"),
    Case("lstm_core", {"width": 5}),
    Case("s4d_core"),
    Case("s4d_core", {"state": 5, "frequencies": "inverse"}),
    Case("short_conv"),
    Case("short_conv", {"kernel": 1, "bias": False}),
    Case("short_conv", {"kernel": 2 * TIME}),
    Case("rms_norm"),
    Case("layer_norm"),
    Case("add", {}, (8, 8, 8)),
    Case("multiply", {}, (8, 8, 8)),
    Case("multiply", {}, (8, 1)),
    Case("multiply", {}, (2, 6, (2, 3, 4), 1, (2, 3, 4))),
    Case("add", {}, ((2, 3, 4), (2, 3, 4))),
    Case("subtract", {}, (8, 8)),
    Case("concat", {}, (8, 3, 5)),
    Case("split", {"parts": 3}, (9,)),
    Case("split", {"parts": 1}),
    Case("split", {"sizes": "3, 5"}),
    Case("dropout"),
    Case("scale", {"by": -0.5}),
    Case("scale", {"by": 0.5, "learned": True}, ((2, 3, 4),)),
    Case("offset", {"by": -0.5}),
    Case("offset", {"by": 0.5, "learned": True}, ((2, 3, 4),)),
    Case("constant", {"value": 2.0, "width": 3}, unread=(0,)),
    Case("constant", {"value": 0.5, "learned": True}, unread=(0,)),
    Case("softmax"),
    Case("softmax", {"heads": 2}, ((2, 3, 4),)),
    Case("norm"),
    Case("norm", {"heads": 4}),
    Case("sum"),
    Case("sum", {"heads": 2}),
    Case("outer", {}, (3, 5)),
    Case("outer", {"heads": 2}, (6, 8)),
    Case("matmul", {}, ((2, 3, 4), 6)),
    Case("matmul", {"transpose": False}, ((2, 3, 4), 8)),
    Case("matmul", {"transpose": False}, (6, (2, 3, 4))),
    Case("matmul", {}, ((2, 3, 4), (2, 3, 5))),
    Case("matmul", {"transpose": False}, ((2, 3, 4), (2, 4, 5))),
    Case("shift"),
    Case("shift", {"by": 3}, ((2, 3, 4),)),
    Case("shift", {"by": 2 * TIME}),
    Case("cumsum"),
    Case("neg"),
    Case("exp"),
    Case("pool"),
    Case("pool", {"by": 3, "how": "max"}),
    Case("pool", {"by": 4, "how": "last"}),
    Case("pool", {"by": 11}),
    Case("upsample", {}, (8, 5), (Fraction(1, 2), Fraction(1)), unread=(1,)),
    Case("upsample", {"by": 3}, (8, 5), (Fraction(1, 6), Fraction(1, 2)), unread=(1,)),
    Case("upsample", {"by": 4, "causal": False}, (8, 5), (Fraction(1, 4), Fraction(1)), unread=(1,)),
    Case("reverse"),
    *(Case(n) for n in ("identity", "sigmoid", "tanh", "relu", "gelu", "silu", "softplus", "one_minus")),
]


WORDS = {"choose", "from", "init", "into", "merge", "op", "repeat", "tie", "times", "weights"}
"""What the language itself says of a node; a setting of that name could not be given."""


def test_every_op_has_a_case() -> None:
    assert {c.name for c in CASES} == set(op_classes()) == set(registry())


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_promise(case: Case, promise: str) -> None:
    if promise == "forms_agree" and not decodes(case):
        with pytest.raises(NotImplementedError):
            case.op.step({}, {}, *[x[:, :, 0] for x in case.inputs()], ctx=Context())
        return
    CHECKS[promise](case)


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_settings_out_of_range_are_refused(name: str) -> None:
    spec = registry()[name]
    wrong = {int: [1.5, "x", True], float: ["x", True], bool: [2, "x"], str: ["nonsense", 3]}
    for s in spec.settings:
        bad = list(wrong[s.kind]) if s.kind is not str or s.options else [3]
        bad += [] if s.low is None else [s.low - 1]
        bad += [] if s.high is None else [s.high + 1]
        for value in bad:
            with pytest.raises(RuleError, match=f"`{s.name}` must be"):
                spec.complete({s.name: value})
    with pytest.raises(RuleError, match="has the settings"):
        spec.complete({"no_such_setting": 1})


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_an_op_is_documented(name: str) -> None:
    cls, spec = op_classes()[name], registry()[name]
    assert spec.summary.endswith(".") and cls.equation
    assert all(s.help for s in spec.settings)
    assert not WORDS & {s.name for s in spec.settings}
    assert [s.name for s in spec.settings] == [f.name for f in fields(cls)]  # type: ignore[arg-type]
