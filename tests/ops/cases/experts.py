"""Cases of archsearch/ops/experts.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("experts"),
    Case("experts", {"experts": 5, "top": 1, "expand": 0.7, "activation": "silu"}),
    Case("experts", {"experts": 3, "top": 3}),
]
