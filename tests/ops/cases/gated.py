"""Cases of archsearch/ops/gated.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("gated_scan", {}, (8, 8)),
    Case("gated_scan", {}, ((2, 3, 4), (2, 3, 4))),
    Case("blend_scan", {}, (8, 8)),
    Case("blend_scan", {}, ((2, 3, 4), (2, 3, 4))),
    Case("positive"),
    Case("rg_lru"),
    Case("rg_lru", {"heads": 1}),
    Case("rg_lru", {"heads": 3}, (9,)),
]
