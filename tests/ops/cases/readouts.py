"""Cases of archsearch/ops/readouts.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("relu_readout", {"neurons": 6}),
    Case("relu_readout", {"width": 3, "neurons": 5}),
    Case("random_readout", {"neurons": 6}),
    Case("random_readout", {"width": 3, "neurons": 5, "scale": 0.5}),
]
