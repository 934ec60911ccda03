"""Cases of archsearch/ops/mlstm.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("mlstm_core", {}, (8, 8, 12, 4, 4)),
    Case("mlstm_core", {"heads": 1, "forget": "exp"}, (6, 6, 4, 1, 1)),
]
