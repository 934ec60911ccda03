"""Cases of archsearch/ops/attention.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("softmax_attention", {"heads": 2}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 4, "rotary": False}, (12, 12, 8)),
    Case("softmax_attention", {"heads": 1, "causal": False}, (8, 8, 8)),
]
