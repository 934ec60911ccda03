"""Cases of archsearch/ops/s5.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("s5_core", {"state": 5}),
    Case("s5_core", {"state": 6, "blocks": 3}, (4,)),
    Case("s5_core"),
]
