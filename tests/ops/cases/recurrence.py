"""Cases of archsearch/ops/recurrence.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("gru_core"),
    Case("gru_core", {"width": 5}),
    Case("lstm_core"),
    Case("lstm_core", {"width": 5}),
]
