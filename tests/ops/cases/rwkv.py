"""Cases of archsearch/ops/rwkv.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("rwkv7_core", {}, (8, 8, 12, 8, 8, 8)),
    Case("rwkv7_core", {"heads": 2}, (6, 6, 4, 6, 6, 6)),
]
