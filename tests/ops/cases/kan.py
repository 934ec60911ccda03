"""Cases of archsearch/ops/kan.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("kan"),
    Case("kan", {"width": 5, "grid": 3, "order": 2, "reach": 1.0}),
]
