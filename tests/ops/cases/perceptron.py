"""Cases of archsearch/ops/perceptron.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("linear"),
    Case("linear", {"width": 5, "bias": False}),
    Case("mlp"),
    Case("activate"),
    Case("activate", {"kind": "sigmoid"}),
    Case("mlp", {"expand": 0.3, "activation": "tanh", "dropout": 0.2}),
]
