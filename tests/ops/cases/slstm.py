"""Cases of archsearch/ops/slstm.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("slstm_core", {}, (8, 8, 8, 8)),
    Case("slstm_core", {"heads": 1}, (6, 6, 6, 6)),
    Case("slstm_core", {"heads": 3}, (9, 9, 9, 9)),
]
