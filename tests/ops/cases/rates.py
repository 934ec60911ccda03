"""Cases of archsearch/ops/rates.py."""

from __future__ import annotations

from fractions import Fraction

from tests.ops.contract import Case

CASES = [
    Case("pool"),
    Case("pool", {"by": 3, "how": "max"}),
    Case("pool", {"by": 4, "how": "last"}),
    Case("pool", {"by": 11}),
    Case("upsample", {}, (8, 5), (Fraction(1, 2), Fraction(1)), unread=(1,)),
    Case("upsample", {"by": 3}, (8, 5), (Fraction(1, 6), Fraction(1, 2)), unread=(1,)),
    Case("upsample", {"by": 4, "causal": False}, (8, 5), (Fraction(1, 4), Fraction(1)), unread=(1,)),
    Case("reverse"),
]
