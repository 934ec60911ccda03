"""Cases of archsearch/ops/convolution.py."""

from __future__ import annotations

from tests.ops.contract import TIME, Case

CASES = [
    Case("short_conv"),
    Case("short_conv", {"kernel": 1, "bias": False}),
    Case("short_conv", {"kernel": 2 * TIME}),
]
