"""Cases of archsearch/ops/matrices.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("outer", {}, (3, 5)),
    Case("outer", {"heads": 2}, (6, 8)),
    Case("matmul", {}, ((2, 3, 4), 6)),
    Case("matmul", {"transpose": False}, ((2, 3, 4), 8)),
    Case("matmul", {"transpose": False}, (6, (2, 3, 4))),
    Case("matmul", {}, ((2, 3, 4), (2, 3, 5))),
    Case("matmul", {"transpose": False}, ((2, 3, 4), (2, 4, 5))),
]
