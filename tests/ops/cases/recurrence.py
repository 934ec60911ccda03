"""Cases of archsearch/ops/recurrence.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("rnn_core"),
    Case("rnn_core", {"width": 5, "activation": "relu"}),
    Case("gru_core"),
    Case("gru_core", {"width": 5}),
    Case("lstm_core"),
    Case("lstm_core", {"width": 5}),
]
