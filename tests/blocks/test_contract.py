"""Every shipped block keeps every promise of the contract of blocks."""

from __future__ import annotations

import re

import pytest
import torch

from archsearch.content import block_files
from archsearch.ops.registry import registry
from tests.blocks.contract import BLOCKS, CASES, CHECKS, INPUT, LONGEST, check_causal, model


def test_every_block_has_a_case_and_no_name_is_an_ops() -> None:
    lines = [line for path in block_files() for line in path.read_text("utf-8").splitlines()]
    defined = {line.strip()[:-1] for line in lines if re.fullmatch(r"  \w+:", line)}
    assert defined == set(BLOCKS)
    assert not defined & set(registry())


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_promise(name: str, settings: str, promise: str) -> None:
    CHECKS[promise](name, settings)


@pytest.mark.slow
@pytest.mark.parametrize("time", [128, LONGEST])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_no_answer_depends_on_a_later_step_of_a_long_sequence(name: str, settings: str, time: int) -> None:
    check_causal(name, settings, time)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_long_sequence_is_finite(name: str, settings: str) -> None:
    m = model(name, settings)
    m(torch.randn(1, 8192, INPUT.size)).square().mean().backward()
    for n, p in m.named_parameters():
        assert p.grad is None or p.grad.isfinite().all(), n


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_thousand_steps_at_a_high_rate_stay_finite_and_learn(name: str, settings: str) -> None:
    """The input plus its scaled running sum as target, `T = 64`, a rate of 1e-2, gradients clipped to a norm of 1."""
    g = torch.Generator().manual_seed(0)
    m = model(name, settings).train()
    rates = [{"params": [t.parameter], "lr": 1e-2 * t.lr_mult} for t in m.groups()]
    optimizer = torch.optim.AdamW(rates, weight_decay=0.0)
    losses = []
    for _ in range(1000):
        x = torch.randn(4, 64, INPUT.size, generator=g)
        target = (x + x.cumsum(1) / torch.arange(1, 65).sqrt()[:, None])[..., :4]
        loss = (m(x)[0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in m.parameters() if p.grad is not None], 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert sum(losses[-100:]) / 100 < 0.9 * sum(losses[:20]) / 20
