"""Cases of archsearch/ops/selective.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("selective_scan", {}, (8, 8, 4, 4)),
    Case("selective_scan", {"eigenvalues": "signed"}, (6, 6, 3, 3)),
    Case("s6"),
    Case("s6", {"state": 3, "rank": 2, "eigenvalues": "signed"}),
]
