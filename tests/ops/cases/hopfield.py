"""Cases of archsearch/ops/hopfield.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("hopfield_core", {"heads": 2}, (8, 8, 8)),
    Case("hopfield_core", {"heads": 1, "steps": 1, "beta": 2.0}, (6, 6, 4)),
    Case("hopfield_core", {"heads": 2, "steps": 2, "causal": False}, (8, 8, 12)),
]
