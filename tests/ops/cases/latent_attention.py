"""Cases of archsearch/ops/latent_attention.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("latent_attention_core", {"heads": 2}, (8, 4, 3, 2)),
    Case("latent_attention_core", {"heads": 1, "value_dim": 8}, (4, 2, 6, 2)),
    Case("latent_attention_core", {"heads": 3, "value_dim": 2}, (12, 12, 5, 4)),
]
