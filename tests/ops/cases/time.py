"""Cases of archsearch/ops/time.py."""

from __future__ import annotations

from tests.ops.contract import TIME, Case

CASES = [
    Case("shift"),
    Case("shift", {"by": 3}, ((2, 3, 4),)),
    Case("shift", {"by": 2 * TIME}),
    Case("cumsum"),
]
