"""The mean over tasks: on one scale, seed by seed."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.ranking.intervals import interval, mean
from archsearch.training.measurement import CopyResult, Fidelity, Measurement
from archsearch.training.pooling import METRIC, Scale, pooled

SCALES = {"recall": Scale(0.25, 1.0), "bytes": Scale(5.0, 0.0)}


def measurement(scores: list[float | None], *, split: str = "validation", seeds: int = 0, **more: Any) -> Measurement:
    """Two learning rates, of which the second is chosen; `scores` are of its seeds."""
    test = split == "test"
    copies = tuple(
        CopyResult(
            seeds + i, rate, "diverged" if s is None else "done", None if s is None else s - test * 0.1, s,
            s if test else None,
            curve=((5, 0.1, 1.0),), train_score=s,
        )
        for i, score in enumerate(scores)
        for rate, s in ((1e-3, 0.0), (1e-2, score))
    )  # fmt: skip
    values: dict[str, Any] = {
        "fidelity": Fidelity("t", more.pop("digest", "d"), 10, 8, (1e-3, 1e-2), len(scores), split),
        "score": 0.0, "score_low": None, "score_high": None, "validation_score": 0.0, "validation_loss": 1.0,
        "learning_rate": 1e-2, "copies": copies, "steps": 10, "examples": 80, "seconds": 2.0, "train_seconds": 1.0,
        "tokens_per_second": 100.0, "peak_memory_bytes": 7, "params": 20, "body_params": 10, "flops_per_token": 3.0,
        "state_bytes": 4.0, "span": 5.0, "parallel_in_time": True, "environment": {"device": "cpu"},
        "planned_steps": 10,
    }  # fmt: skip
    return Measurement(**{**values, **more})


def test_scales_run_from_chance_to_the_best_whichever_way_a_metric_goes():
    assert [SCALES["recall"].share(s) for s in (0.25, 1.0, 0.0)] == pytest.approx([0.0, 1.0, -1 / 3])
    assert [SCALES["bytes"].share(s) for s in (5.0, 0.0, 2.5, 10.0)] == pytest.approx([0.0, 1.0, 0.5, -1.0])


def test_the_mean_is_taken_seed_by_seed_at_the_rate_chosen_on_each_task():
    parts = {"recall": measurement([0.25, 1.0]), "bytes": measurement([2.5, 0.0])}
    found = pooled("both", parts, SCALES)
    seeds = [mean([0.0, 0.5]), mean([1.0, 1.0])]
    assert [c.score for c in found.copies] == pytest.approx(seeds)
    assert found.score == pytest.approx(mean(seeds))
    assert (found.score_low, found.score_high) == pytest.approx(interval(seeds))
    assert found.train_score == found.validation_score == found.score
    assert all(c.learning_rate is None and c.curve == () for c in found.copies)
    assert (found.fidelity.task, found.fidelity.seeds) == ("both", 2)


def test_the_test_counts_in_the_finals_and_validation_is_kept():
    parts = {"recall": measurement([1.0], split="test"), "bytes": measurement([0.0], split="test")}
    found = pooled("both", parts, SCALES)
    assert found.score == found.copies[0].test_score == pytest.approx(1.0)
    assert found.validation_score == pytest.approx(mean([0.65 / 0.75, 1.02]))


def test_a_seed_that_diverged_on_one_task_has_no_mean():
    found = pooled("both", {"recall": measurement([1.0, None]), "bytes": measurement([0.0, 0.0])}, SCALES)
    assert [(c.status, c.score) for c in found.copies] == [("done", 1.0), ("diverged", None)]
    assert found.score == 1.0
    assert (found.score_low, found.score_high) == (None, None)
    nothing = pooled("both", {"recall": measurement([1.0, None]), "bytes": measurement([None, 0.0])}, SCALES)
    assert nothing.score is None


def test_work_adds_up_and_what_goes_with_length_is_the_largest():
    long = measurement(
        [0.0], seconds=3.0, train_seconds=3.0, state_bytes=400.0, span=9.0, parallel_in_time=False, params=21
    )
    found = pooled("both", {"recall": measurement([1.0]), "bytes": long}, SCALES)
    assert (found.steps, found.examples, found.seconds, found.planned_steps) == (20, 160, 5.0, 20)
    assert found.tokens_per_second == 100.0
    assert (found.state_bytes, found.span, found.params, found.parallel_in_time) == (400.0, 9.0, 21, False)
    assert found.environment == {"device": "cpu"}


def test_other_data_or_effort_on_one_task_is_another_fidelity():
    def fidelity(**more: Any) -> Fidelity:
        return pooled("both", {"recall": measurement([1.0]), "bytes": measurement([0.0], **more)}, SCALES).fidelity

    assert fidelity() == fidelity()
    assert fidelity(digest="other").digest != fidelity().digest
    other = measurement([0.0])
    longer = Measurement(**{**vars(other), "fidelity": Fidelity("t", "d", 11, 8, (1e-3, 1e-2), 1, "validation")})
    assert pooled("both", {"recall": other, "bytes": longer}, SCALES).fidelity != fidelity()


def test_a_mean_is_plain_data_and_comes_back_from_a_file():
    found = pooled("both", {"recall": measurement([0.5]), "bytes": measurement([1.0])}, SCALES)
    assert Measurement.from_dict(found.to_dict()) == found
    assert "score" in METRIC
