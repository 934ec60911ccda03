"""Cases of archsearch/ops/convolution.py."""

from __future__ import annotations

from tests.ops.contract import TIME, Case

CASES = [
    Case("short_conv"),
    Case("short_conv", {"kernel": 1, "bias": False}),
    Case("short_conv", {"kernel": 2 * TIME}),
    Case("long_conv_core"),
    Case("long_conv_core", {"length": 7, "squash": 0.02}),
    Case("long_conv_core", {"length": 1, "squash": 0.0}),
    Case("implicit_conv"),
    Case("implicit_conv", {"length": 9, "hidden": 5, "bands": 2, "frequency": 3.0}),
]
