"""Cases of archsearch/ops/plumbing.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("add", {}, (8, 8, 8)),
    Case("multiply", {}, (8, 8, 8)),
    Case("multiply", {}, (8, 1)),
    Case("multiply", {}, (2, 6, (2, 3, 4), 1, (2, 3, 4))),
    Case("add", {}, ((2, 3, 4), (2, 3, 4))),
    Case("subtract", {}, (8, 8)),
    Case("concat", {}, (8, 3, 5)),
    Case("split", {"parts": 3}, (9,)),
    Case("split", {"parts": 1}),
    Case("split", {"sizes": "3, 5"}),
    Case("dropout"),
]
