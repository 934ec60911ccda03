"""Cases of archsearch/ops/feature_maps.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("feature_map", {}, (8,)),
    Case("feature_map", {"kind": "relu"}, (8,)),
    Case("feature_map", {"kind": "softmax", "heads": 2}, (8,)),
    Case("feature_map", {"kind": "dpfp", "heads": 2, "nu": 3}, (8,)),
    Case("feature_map", {"kind": "dpfp", "heads": 2, "sum_to_one": True}, (12,)),
    Case("feature_map", {"kind": "taylor", "heads": 2}, (8,)),
]
