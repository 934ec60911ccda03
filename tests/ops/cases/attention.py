"""Cases of archsearch/ops/attention.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("softmax_attention", {"heads": 2}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 4, "positions": "none"}, (12, 12, 8)),
    Case("softmax_attention", {"heads": 2, "positions": "none"}, (4, 4, 12)),
    Case("softmax_attention", {"heads": 1, "causal": False}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 4, "kv_heads": 2}, (16, 8, 6)),
    Case("softmax_attention", {"heads": 3, "kv_heads": 1, "positions": "alibi"}, (12, 4, 4)),
    Case("softmax_attention", {"heads": 2, "positions": "alibi", "causal": False}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 2, "window": 5}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 2, "window": 2, "positions": "none"}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 4, "kv_heads": 2, "window": 40, "positions": "alibi"}, (8, 4, 4)),
    Case("softmax_attention", {"heads": 2, "qk_norm": True, "window": 4}, (8, 8, 8)),
    Case("softmax_attention", {"heads": 4, "kv_heads": 2, "qk_norm": True}, (8, 4, 4)),
]
