"""Equal budgets, grids that follow their edge, scores on the training split, and answers by frequency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch

from archsearch.build.model import build
from archsearch.tasks.base import Examples, InputKind, OutputKind
from archsearch.tasks.scoring import constant_answer
from archsearch.training import budget
from archsearch.training.measurement import Job, Measurement, TrainingSettings
from archsearch.training.results import beyond_the_edge
from archsearch.training.trainer import Trainer, run
from tests.build.graphs import transformer

# ---- budgets ---------------------------------------------------------------------------------------------------------


def test_operations_of_a_step_are_three_forward_passes_with_stem_and_readout(job: Callable[..., Job]) -> None:
    trainer = Trainer(job("none", seeds=2))
    hidden = 2 * 16 * 32 * 2  # an mlp of width 16 and 32
    readout = 2 * 16 * 8
    least = 3 * 8 * 16 * (hidden + readout)  # norms and sums come on top
    assert least < trainer.step_flops < 1.2 * least
    assert Trainer(job("none", seeds=1)).step_flops == trainer.step_flops


def test_weights_that_are_not_trained_cost_no_gradient(job: Callable[..., Job]) -> None:
    trainer, frozen = Trainer(job("none")), Trainer(job("none", freeze="body"))
    layer = 2 * 16 * 32  # weights of an mlp
    assert trainer.step_flops - frozen.step_flops == pytest.approx(8 * 16 * 2 * layer, rel=0.1)
    model = frozen.model
    about = {"batch": 1, "length": 1}
    end = 2 * sum(p.numel() for p in model.readout.parameters())
    graph = budget.step_flops(model, 1e6, **about) - 3 * end
    assert 2e6 < graph < 3e6, "through the body to the stem"
    model.stem.requires_grad_(False)
    assert budget.step_flops(model, 1e6, **about) == 1e6 + 2 * end, "forward alone: nothing in front is trained"


@pytest.mark.parametrize("read", ["mean", "last"])
def test_a_sequence_is_read_out_once(read: Literal["mean", "last"]) -> None:
    output = OutputKind("sequence", 5, read=read, answers=3)
    model = build(transformer(16, 1), InputKind("tokens", 5), output, seeds=[0])
    assert budget.step_flops(model, 0.0, batch=4, length=100) == 3 * 4 * 2 * 3 * 5 * (16 + 1)


def test_equal_operations_buy_fewer_steps_of_what_costs_more(job: Callable[..., Job]) -> None:
    flops = 30 * Trainer(job("none")).step_flops
    cheap, dear = (run(job(mixer, budget="flops", flops=flops)) for mixer in ("none", "attention"))
    assert cheap.steps == cheap.planned_steps == 30
    assert 1 < dear.steps < 30
    assert dear.steps * dear.step_flops <= flops < (dear.steps + 1) * dear.step_flops
    assert cheap.fidelity == dear.fidelity
    assert (cheap.fidelity.budget, cheap.fidelity.amount, cheap.fidelity.steps) == ("flops", flops, 0)
    assert [c.curve for c in run(job("none", budget="flops", flops=flops)).copies] == [c.curve for c in cheap.copies]


def test_a_budget_buys_at_least_a_step(job: Callable[..., Job]) -> None:
    assert run(job(budget="flops", flops=1.0)).steps == 1


def test_seconds_buy_steps_at_the_measured_pace(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def pace(step: Callable[[], object]) -> float:
        step()
        seen.append(1)
        return 0.25

    monkeypatch.setattr("archsearch.training.trainer.seconds_of_a_step", pace)
    timed = run(job("gru", budget="seconds", seconds=5.0))
    assert (timed.steps, timed.step_seconds, seen) == (20, 0.25, [1])
    assert timed.fidelity.amount == 5.0
    plain = run(job("gru", steps=20))
    assert timed.copies == plain.copies, "the measured steps must leave no trace"
    final = run(replace(job("gru", budget="seconds", seconds=5.0, split="test"), steps=7))
    assert (final.steps, final.planned_steps, seen) == (7, 7, [1]), "the finals take the steps of the search"


def test_the_pace_is_the_median_of_warm_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = iter([9.0, 9.0, 1.0, 5.0, 2.0, 1.5, 1.0])
    now = [0.0]

    def step() -> None:
        now[0] += next(durations)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    assert budget.seconds_of_a_step(step) == 1.5


# ---- rates -----------------------------------------------------------------------------------------------------------


def test_a_grid_around_a_rate() -> None:
    settings = TrainingSettings(learning_rates=(3e-3,), rate_factors=(3, 0.1, 1))
    assert settings.rates == (3e-4, 3e-3, 9e-3)
    assert TrainingSettings(learning_rates=(3e-3, 1e-3)).rates == (3e-3, 1e-3), "as it was given"


@pytest.mark.parametrize(
    ("rates", "chosen", "next_rate"),
    [((1e-3, 1e-2), 1e-2, 1e-1), ((1e-3, 3e-3, 1e-2), 1e-3, 3.33333e-4), ((1e-3, 3e-3, 1e-2), 3e-3, None)],
)
def test_the_edge_is_followed_by_the_factor_of_the_grid(
    rates: tuple[float, ...], chosen: float, next_rate: float | None
) -> None:
    assert beyond_the_edge(rates, chosen) == next_rate


def test_one_rate_has_no_edge() -> None:
    assert beyond_the_edge((1e-3,), 1e-3) is None
    assert beyond_the_edge((1e-3, 1e-2), None) is None


def test_a_choice_at_the_edge_trains_once_more_with_a_rate_beyond(job: Callable[..., Job]) -> None:
    low = (1e-6, 1e-5)
    described = job("none", steps=40, learning_rates=low, extend_rates=True, seeds=2)
    extended = run(described)
    assert sorted({c.learning_rate or 0.0 for c in extended.copies}) == [1e-6, 1e-5, 1e-4]
    plain = run(job("none", steps=40, learning_rates=low, seeds=2))
    assert sorted({c.learning_rate or 0.0 for c in plain.copies}) == [1e-6, 1e-5]
    assert extended.fidelity.learning_rates == plain.fidelity.learning_rates
    assert extended.fidelity != plain.fidelity
    final = run(replace(described, split="test", learning_rates=(1e-4,)))
    assert {c.learning_rate for c in final.copies} == {1e-4}
    assert final.fidelity.learning_rates == low


def test_an_extended_run_is_restored(job: Callable[..., Job]) -> None:
    described = job("none", steps=20, reports=2, learning_rates=(1e-6, 1e-5), extend_rates=True)
    through = Trainer(described)
    for _ in range(3):
        through.advance()
    resumed = Trainer(described)
    resumed.restore(through.checkpoint())
    assert (resumed.step, len(resumed.copies)) == (10, 3)
    through.advance(), resumed.advance()
    assert through.finished and resumed.finished
    assert through.measurement().copies == resumed.measurement().copies


def test_a_rate_that_diverges_is_recorded_and_the_others_go_on(job: Callable[..., Job]) -> None:
    m = run(job(steps=30, learning_rates=(1e-3, 1e6), seeds=2))
    assert [c.status for c in m.copies] == ["done", "diverged"] * 2
    assert m.learning_rate == 1e-3
    assert [c.train_score is None for c in m.copies] == [False, True] * 2


# ---- the training split ----------------------------------------------------------------------------------------------


def test_the_training_split_is_scored_at_the_end(job: Callable[..., Job]) -> None:
    m = run(job("attention", steps=300, batch=16, evaluation_examples=64))
    assert m.train_score is not None and m.score is not None
    assert m.train_score > m.score, "256 examples are learned by heart"
    assert Measurement.from_dict(m.to_dict()) == m
    early = Trainer(job(steps=20, reports=2))
    early.advance()
    assert early.measurement().train_score is None


# ---- the frequencies of the targets ----------------------------------------------------------------------------------


def test_a_constant_answer_has_the_frequencies_of_what_counts() -> None:
    targets = torch.tensor([[0, 0, 1], [2, 2, 2]])
    mask = torch.tensor([[True, True, True], [False, False, False]])
    answer = constant_answer(Examples(targets, targets, mask), OutputKind("steps", 3)).exp()
    assert answer.tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    numbers = Examples(targets, torch.tensor([[[1.0], [3.0], [5.0]], [[9.0], [9.0], [9.0]]]), mask)
    assert constant_answer(numbers, OutputKind("steps", 1, "squared_error")).tolist() == [3.0]


def by_frequency(described: Job) -> Job:
    return replace(described, architecture={**described.architecture, "fit": "frequencies"})


def test_a_fit_of_frequencies_scores_what_is_most_frequent(job: Callable[..., Job]) -> None:
    m = run(by_frequency(job("gru", seeds=3, learning_rates=(1e-3, 1e-2), stop_when_solved=True)))
    trainer = Trainer(job())
    judge, data = trainer.judge, trainer.judge.train
    counted = data.targets[data.mask]
    validation = judge._validation
    expected = (validation.targets[validation.mask] == counted.mode().values).double().mean().item()
    assert m.score == pytest.approx(expected)
    assert m.validation_loss == pytest.approx(math.log(4), rel=0.1)
    assert (m.steps, len(m.copies), m.fidelity.seeds) == (0, 1, 3)
    assert [s["fit"] for s in m.solutions] == ["frequencies"] and m.solutions[0]["cosines"] == [None]
    final = run(by_frequency(job("gru", split="test")))
    assert final.copies[0].test_score == final.score != m.score
