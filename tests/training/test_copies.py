"""Copy i of seeds × rates equals its solo run, whatever happens to its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from archsearch.errors import CandidateError
from archsearch.training.measurement import Job
from archsearch.training.trainer import Trainer

RATES = (1e-3, 3e-3, 1e6)
STEPS = 200


def trained(job: Job) -> Trainer:
    trainer = Trainer(job)
    while not trainer.finished:
        trainer.advance()
    return trainer


@pytest.mark.parametrize("mixer", ["attention", "gru"])
def test_copies_equal_their_solo_runs_beside_diverging_neighbours(job: Callable[..., Job], mixer: str) -> None:
    together = trained(job(mixer, steps=STEPS, reports=4, seeds=2, learning_rates=RATES, seed_base=7))
    assert [(c.seed, c.learning_rate) for c in together.copies] == [(s, r) for s in (7, 8) for r in RATES]
    for record in together.copies:
        solo = job(mixer, steps=STEPS, reports=4, learning_rates=(record.learning_rate,), seed_base=record.seed)
        if record.learning_rate == 1e6:
            assert record.died is not None
            with pytest.raises(CandidateError, match="diverged"):
                trained(solo)
            continue
        alone = trained(solo).copies[0]
        assert record.died is None
        for (step, _, loss), (step_alone, _, loss_alone) in zip(record.curve, alone.curve, strict=True):
            assert step == step_alone
            assert loss == pytest.approx(loss_alone, rel=1e-4)


def test_a_copy_with_dropout_draws_its_own_masks(job: Callable[..., Job]) -> None:
    together = trained(job(dropout=0.3, steps=50, seeds=2, learning_rates=(1e-3, 3e-3)))
    alone = trained(job(dropout=0.3, steps=50, seed_base=1, learning_rates=(3e-3,)))
    assert together.copies[3].loss == pytest.approx(alone.copies[0].loss, rel=1e-4)
    without = trained(job(steps=50, seed_base=1, learning_rates=(3e-3,)))
    assert alone.copies[0].loss != pytest.approx(without.copies[0].loss, rel=1e-4)


def test_seeds_start_apart_and_rates_of_one_seed_start_together(job: Callable[..., Job]) -> None:
    trainer = Trainer(job(seeds=2, learning_rates=(1e-3, 3e-3)))
    readout = dict(trainer.model.named_parameters())["readout.weight"]
    assert torch.equal(readout[0], readout[1])
    assert not torch.equal(readout[1], readout[2])
    rows = trainer.stream.block(0, 3)
    assert torch.equal(rows[:, 0], rows[:, 1])
    assert not torch.equal(rows[:, 1], rows[:, 2])


def test_a_diverged_copy_ends_alone_and_stays_still(job: Callable[..., Job]) -> None:
    trainer = Trainer(job(steps=30, reports=3, learning_rates=RATES))
    report = trainer.advance()
    dead = trainer.copies[2]
    assert report.scores[2] is None
    assert None not in report.scores[:2]
    assert report.score == pytest.approx(sum(s for s in report.scores if s is not None) / 2)
    assert 0 < (dead.died or 0) <= 10
    died = dead.died
    trainer.advance()
    assert dead.died == died
    assert all((p[2] == 0).all() for p in trainer.optimizer.parameters)
    trainer.advance()
    result = trainer.measurement().copies
    assert [c.status for c in result] == ["done", "done", "diverged"]
    assert (result[2].score, result[2].loss, result[2].curve) == (None, None, ())


def test_copies_at_one_rate_end_alone_too(job: Callable[..., Job]) -> None:
    """One rate means stacked weights in AdamW, another path than slices."""
    trainer = Trainer(job(steps=30, reports=3, seeds=3))
    with torch.no_grad():
        dict(trainer.model.named_parameters())["readout.bias"][1, 0] = float("nan")
    while not trainer.finished:
        trainer.advance()
    assert [c.died for c in trainer.copies] == [None, 1, None]
    assert all((p[1] == 0).all() for p in trainer.optimizer.parameters)
    alone = trained(job(steps=30, reports=3, seed_base=2))
    assert trainer.copies[2].loss == pytest.approx(alone.copies[0].loss, rel=1e-4)


def test_when_all_copies_diverge_the_candidate_has(job: Callable[..., Job]) -> None:
    with pytest.raises(CandidateError, match="all 2 copies diverged, the last in step") as caught:
        trained(job(steps=30, seeds=2, learning_rates=(1e6,)))
    assert caught.value.reason == "diverged"


def test_the_only_copy_that_diverges_is_one(job: Callable[..., Job]) -> None:
    with pytest.raises(CandidateError, match=r"^the only copy diverged in step"):
        trained(job(steps=30, seeds=1, learning_rates=(1e6,)))
