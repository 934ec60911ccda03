"""Rotary positions: what they are given may lie in memory in any order."""

from __future__ import annotations

import torch

from archsearch.kernels.rotary import rotate


def test_features_need_not_lie_side_by_side() -> None:
    """As after a convolution, which gives `(B, D, T)` turned."""
    x = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0)).mT.unflatten(-1, (2, 4))
    assert torch.equal(rotate(x), rotate(x.contiguous()))
