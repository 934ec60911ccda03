"""Cases of archsearch/ops/solved.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("mesa_core", {"heads": 2}, (8, 8, 8, 2, 2)),
    Case("mesa_core", {"heads": 2}, (8, 8, 8)),
    Case("mesa_core", {"heads": 1, "floor": 1.0}, (4, 4, 6, 1, 1)),
    Case("quadratic_layer", {"heads": 2, "constraints": 3}, (8,)),
    Case("quadratic_layer", {"heads": 4, "constraints": 6, "iterations": 24}, (12,)),
]
