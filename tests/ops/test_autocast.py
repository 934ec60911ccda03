"""Every shipped op runs forward and backward where products are rounded to bfloat16, as candidates may train."""

from __future__ import annotations

import pytest
import torch

from archsearch.ops.base import Context
from tests.ops.contract import Case, trained
from tests.ops.test_contract import CASES


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["single", "half"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_finite_under_autocast(case: Case, dtype: torch.dtype) -> None:
    """Inputs in either precision: a product before the op leaves the one, a norm the other."""
    w, xs = case.weights(), case.inputs(dtype=dtype)
    losses: list[torch.Tensor] = []
    with torch.autocast("cpu", torch.bfloat16):
        y = case.op.forward(w, *xs, ctx=Context(losses=losses))
        ys = list(y) if isinstance(y, tuple) else [y]
        loss = torch.stack([v.float().square().sum() for v in (*ys, *losses)]).sum()
    assert all(v.isfinite().all() for v in ys)
    if not loss.requires_grad:
        return
    of = {**trained(w), **{f"input {i}": x for i, x in enumerate(xs)}}
    found = torch.autograd.grad(loss, list(of.values()), allow_unused=True)
    for (name, value), g in zip(of.items(), found, strict=True):
        assert g is None or (g.dtype == value.dtype and g.isfinite().all()), name
