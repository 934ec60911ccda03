"""The parts of training one by one: schedule, batches, loss, clipping, the choice of a rate, intervals, fidelity."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archsearch.build.tree import Trained
from archsearch.tasks.base import Examples, OutputKind
from archsearch.tasks.registry import make
from archsearch.training import results
from archsearch.training.batches import IndexStream
from archsearch.training.loss import TrainingData
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.optimizer import CopyOptimizer
from archsearch.training.results import CopyRecord, chosen_rate, interval
from archsearch.training.schedule import rate_factor, rungs

# ---- schedule --------------------------------------------------------------------------------------------------------


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    factors = [rate_factor(step, 100, 0.1, 0.2) for step in range(101)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.6)
    assert factors[100] == pytest.approx(0.2)
    assert factors[10:] == sorted(factors[10:], reverse=True)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.5), (1, 1.0), (3, 1.0), (2, 0.1)])
def test_short_trainings_have_a_rate(steps: int, warmup: float) -> None:
    assert all(0.0 < rate_factor(step, steps, warmup, 0.1) <= 1.0 for step in range(steps))


@given(st.integers(1, 10_000), st.integers(1, 100))
def test_rungs_are_even_and_end_at_the_end(steps: int, reports: int) -> None:
    found = rungs(steps, reports)
    assert found[-1] == steps
    assert len(found) == min(steps, reports)
    gaps = [b - a for a, b in zip((0, *found), found, strict=False)]
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1


# ---- batches ---------------------------------------------------------------------------------------------------------


def test_an_epoch_sees_every_example_once() -> None:
    stream = IndexStream(20, 5, [0, 1, 0])
    rows = stream.block(0, 8)
    assert rows.shape == (8, 3, 5)
    for copy in range(3):
        for epoch in (rows[:4, copy], rows[4:, copy]):
            assert epoch.flatten().sort().values.tolist() == list(range(20))
    assert torch.equal(rows[:, 0], rows[:, 2])
    assert not torch.equal(rows[:, 0], rows[:, 1])
    assert not torch.equal(rows[:4, 0], rows[4:, 0])


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 20))
def test_a_block_is_the_same_wherever_it_starts(examples: int, batch: int, step: int) -> None:
    whole = IndexStream(examples, batch, [3]).block(0, step + 4)
    assert torch.equal(IndexStream(examples, batch, [3]).block(step, 4), whole[step:])
    assert whole.min() >= 0
    assert whole.max() < examples
    assert whole.shape == (step + 4, 1, batch)


# ---- loss ------------------------------------------------------------------------------------------------------------


def test_the_loss_of_a_copy_is_the_mean_over_what_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(4, (6, 5), generator=generator)
    mask = torch.rand(6, 5, generator=generator) < 0.5
    data = TrainingData(Examples(targets, targets, mask), OutputKind("steps", 4))
    rows = torch.tensor([[0, 1, 2], [3, 4, 5]])
    outputs = torch.randn(2, 3, 5, 4, generator=generator)
    losses = data.losses(outputs, rows)
    for copy in range(2):
        counted = mask[rows[copy]]
        expected = nn.functional.cross_entropy(outputs[copy][counted], targets[rows[copy]][counted])
        torch.testing.assert_close(losses[copy], expected)


def test_a_batch_without_a_target_costs_nothing() -> None:
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    data = TrainingData(Examples(tokens, tokens, torch.tensor([[True] * 3, [False] * 3])), OutputKind("steps", 4))
    losses = data.losses(torch.randn(2, 1, 3, 4), torch.tensor([[0], [1]]))
    assert losses[0] > 0
    assert losses[1] == 0


def test_squared_errors_count_likewise() -> None:
    targets = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[True, False, True], [True, True, True]])
    data = TrainingData(Examples(targets, targets, mask), OutputKind("steps", 2, "squared_error"))
    losses = data.losses(torch.zeros(2, 1, 3, 2), torch.tensor([[0], [1]]))
    assert losses.tolist() == pytest.approx([(0 + 1 + 16 + 25) / 4, (36 + 49 + 64 + 81 + 100 + 121) / 6])


# ---- the optimiser ---------------------------------------------------------------------------------------------------


def optimizer(weights: list[nn.Parameter], rates: list[float], clip: float = 1.0, **groups: float) -> CopyOptimizer:
    trained = [Trained(w, groups.get("lr_mult", 1.0), bool(groups.get("decay", 0.0))) for w in weights]
    return CopyOptimizer(trained, rates, weight_decay=0.1, clip=clip, steps=10, warmup=0.0, final_rate=1.0)


def gradient_after_clipping(gradient: torch.Tensor, clip: float) -> torch.Tensor:
    weight = nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient.clone()
    CopyOptimizer._clip(optimizer([weight], [1e-3] * len(gradient), clip), [weight.grad], torch.zeros(len(gradient)), 0)
    return weight.grad


def test_every_copy_is_clipped_by_its_own_norm() -> None:
    clipped = gradient_after_clipping(torch.tensor([[0.6, 0.8], [60.0, 80.0], [0.03, 0.04]]), 1.0)
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.03, 0.04]]), rtol=1e-5, atol=0.0)
    untouched = gradient_after_clipping(torch.tensor([[60.0, 80.0]]), 0.0)
    assert untouched.tolist() == [[60.0, 80.0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_becomes_zero_in_its_copy_alone(bad: float) -> None:
    clipped = gradient_after_clipping(torch.tensor([[0.6, 0.8], [bad, 1.0]]), 1.0)
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [0.0, 0.0]]), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(("lr_mult", "decay"), [(1.0, 0.0), (0.1, 1.0)])
def test_copies_step_as_adamw_steps_each_of_them(lr_mult: float, decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, generator=generator)
    gradients = [torch.randn(3, 4, generator=generator) for _ in range(5)]
    rates = [1e-3, 1e-2, 1e-1]
    weight = nn.Parameter(start.clone())
    stacked = optimizer([weight], rates, clip=0.0, lr_mult=lr_mult, decay=decay)
    for step, gradient in enumerate(gradients):
        weight.grad = gradient.clone()
        stacked.step(torch.zeros(3), step)
    for copy, rate in enumerate(rates):
        alone = nn.Parameter(start[copy].clone())
        adamw = torch.optim.AdamW([alone], lr=rate * lr_mult, weight_decay=0.1 * decay)
        for gradient in gradients:
            alone.grad = gradient[copy].clone()
            adamw.step()
        torch.testing.assert_close(weight[copy], alone, rtol=1e-5, atol=1e-7)


# ---- results ---------------------------------------------------------------------------------------------------------


def record(rate: float, score: float | None, seed: int = 0) -> CopyRecord:
    copy = CopyRecord(seed, rate, curve=[(10, score or 0.0, 1.0)])
    copy.died = 3 if score is None else None
    return copy


def test_the_best_mean_over_seeds_chooses_the_rate() -> None:
    copies = [record(1e-3, 0.5), record(1e-2, 0.9), record(1e-3, 0.6, 1), record(1e-2, 0.1, 1)]
    assert chosen_rate(copies, maximize=True) == 1e-3
    assert chosen_rate(copies, maximize=False) == 1e-2


def test_a_rate_that_loses_a_seed_does_not_win_by_what_is_left() -> None:
    copies = [record(1e-3, 0.5), record(1e-2, 0.9), record(1e-3, 0.6, 1), record(1e-2, None, 1)]
    assert chosen_rate(copies, maximize=True) == 1e-3
    assert chosen_rate([record(1e-2, None)], maximize=True) is None
    assert chosen_rate([record(1e-2, 0.5), record(1e-3, 0.5)], maximize=True) == 1e-3


def test_the_interval_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [0.91, 0.95, 0.9, 0.97]
    low, high = interval(values) or (0.0, 0.0)
    scale = torch.tensor(values, dtype=torch.float64).std().item() / 2
    expected = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=scale)
    assert (low, high) == pytest.approx(expected, rel=1e-9)
    assert interval([0.5]) is None
    assert interval([0.5, 0.5]) == (0.5, 0.5)


def test_a_fidelity_changes_with_what_a_score_depends_on_and_with_nothing_else(job: Callable[..., Job]) -> None:
    task = make("in_context_recall", job().task_settings)

    def of(**changed: object) -> object:
        return results.fidelity(task, TrainingSettings(**changed), "validation")

    matters = [
        {"steps": 7},
        {"batch": 7},
        {"seeds": 7},
        {"learning_rates": (1.0,)},
        {"weight_decay": 0.7},
        {"clip": 0.7},
        {"warmup": 0.7},
        {"final_rate": 0.7},
        {"dtype": "bfloat16"},
        {"freeze": "body"},
        {"evaluation_examples": 7},
        {"stop_when_solved": False},
        {"reports": 7},
    ]
    found = [of(), *(of(**change) for change in matters)]
    assert len(set(found)) == len(found)
    assert of(time_limit=7.0, evaluation_batch=7, device="cpu") == of()
    assert of(stop_when_solved=False, reports=7) == of(stop_when_solved=False)
