"""Cases of archsearch/ops/fast_weights.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("linear_attention_core", {}, (8, 8, 12)),
    Case("linear_attention_core", {"heads": 2}, (8, 8, 6, 2)),
    Case("linear_attention_core", {"heads": 2}, (6, 6, 8, 6)),
    Case("linear_attention_core", {"heads": 1, "normalise": True, "eps": 1.0}, (6, 6, 8)),
    Case("linear_attention_core", {"heads": 2, "normalise": True, "eps": 1.0}, (6, 6, 8, 6)),
    Case("delta_rule_core", {}, (8, 8, 12, 4)),
    Case("delta_rule_core", {"heads": 2}, (6, 6, 8, 2, 2)),
]
