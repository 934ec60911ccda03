"""Cases of archsearch/ops/vectors.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
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
    Case("neg"),
    Case("exp"),
    *(Case(n) for n in ("identity", "sigmoid", "tanh", "relu", "gelu", "silu", "softplus", "one_minus")),
]
