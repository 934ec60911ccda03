"""Cases of archsearch/ops/ssd.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("ssd", {}, (8, 2, 5, 5)),
    Case("ssd", {"eigenvalues": "signed"}, (6, 3, 4, 4)),
]
