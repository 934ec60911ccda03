"""Cases of archsearch/ops/implicit.py, whose ops do little without a body between them."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("fixed_point_start"),
    Case("fixed_point_end", {}, (6, 6), unread=(1,)),
    Case("fixed_point_end", {"solver": "iterate", "steps": 1}, (6, 6), unread=(1,)),
]
