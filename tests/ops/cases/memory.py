"""Cases of archsearch/ops/memory.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("kernel_regression", {"heads": 2}, (8, 8, 8)),
    Case("kernel_regression", {"heads": 4, "bandwidth": 0.5}, (12, 12, 8)),
]
