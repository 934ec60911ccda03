"""Cases of archsearch/ops/heads.py."""

from __future__ import annotations

from tests.ops.contract import Case

CASES = [
    Case("head_norm", {"heads": 2}, (8,)),
    Case("head_norm", {"heads": 2, "center": True}, (8,)),
    Case("block_linear", {"blocks": 2}, (6,)),
    Case("block_linear", {"blocks": 4, "bias": False}, (8,)),
    Case("scale_heads", {}, (8, 2)),
    Case("rotary", {"heads": 2}, (8,)),
    Case("head_decays", {}, (8,), unread=(0,)),
    Case("decay_gate", {}, (4,)),
    Case("spread_offset", {"high": 1.0}, (8,)),
]
