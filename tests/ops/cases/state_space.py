"""Cases of archsearch/ops/state_space.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("s4d_core"),
    Case("s4d_core", {"state": 5, "frequencies": "inverse"}),
]
