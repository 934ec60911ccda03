"""Cases of archsearch/ops/differential_attention.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("differential_attention_core", {"heads": 2}, (8, 8, 8)),
    Case("differential_attention_core", {"heads": 1, "positions": "none", "lambda_init": 0.2}, (6, 6, 4)),
    Case("differential_attention_core", {"heads": 3, "lambda_init": 0.5}, (12, 12, 6)),
]
