"""Cases of archsearch/ops/norm.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("rms_norm"),
    Case("layer_norm"),
]
