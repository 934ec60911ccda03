"""Cases of archsearch/ops/random_features.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("random_features"),
    Case("random_features", {"features": 5, "kind": "relu", "scale": 2.0}),
    Case("reservoir_core"),
    Case("reservoir_core", {"width": 13, "leak": 1.0, "radius": 1.2, "connections": 3, "input_scale": 0.5}),
]
