"""Cases of archsearch/ops/additive_attention.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("additive_attention", {}, (8, 8, 8)),
    Case("additive_attention", {"heads": 2, "hidden": 6}, (8, 5, 4)),
    Case("additive_attention", {"heads": 2, "causal": False}, (8, 8, 8)),
]
