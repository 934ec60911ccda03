"""From the copies of a candidate to its measurement: the choice of a rate, the score, its interval, its fidelity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from archsearch.ranking.intervals import interval, mean, mean_of
from archsearch.tasks.base import Task
from archsearch.training.measurement import CopyResult, Fidelity, TrainingSettings

__all__ = ["CopyRecord", "beyond_the_edge", "chosen_rate", "fidelity", "interval", "mean", "mean_of"]


@dataclass
class CopyRecord:
    """What is known of one copy while it trains.

    Args:
        curve: `(step, validation score, validation loss)` per report that it lived to see.
        died: the step in which it diverged.
        solved_at: the step of the first report at which it had solved the task.
    """

    seed: int
    learning_rate: float
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    died: int | None = None
    solved_at: int | None = None
    test_score: float | None = None
    train_score: float | None = None

    @property
    def score(self) -> float | None:
        """Validation score at the last report; `None` if it diverged or has not reported yet."""
        return self.curve[-1][1] if self.curve and self.died is None else None

    @property
    def loss(self) -> float | None:
        """Validation loss at the last report, likewise."""
        return self.curve[-1][2] if self.curve and self.died is None else None

    def result(self, *, ended_early: bool) -> CopyResult:
        """The copy as plain data; `ended_early` says that training ended because the task was solved."""
        status = "diverged" if self.died is not None else "solved" if ended_early else "done"
        return CopyResult(
            seed=self.seed,
            learning_rate=self.learning_rate,
            status=status,
            score=self.score,
            loss=self.loss,
            test_score=self.test_score,
            solved_at=self.solved_at,
            curve=tuple(self.curve),
            train_score=self.train_score,
        )


def chosen_rate(copies: Sequence[CopyRecord], *, maximize: bool) -> float | None:
    """The learning rate with the best mean validation score over its seeds; `None` if no copy has a score.

    A rate at which fewer seeds survive never beats one at which more do: what is left of it would flatter it. Among
    equals the smaller rate wins.
    """
    rates: dict[float, list[float]] = {}
    for copy in copies:
        if copy.score is not None:
            rates.setdefault(copy.learning_rate, []).append(copy.score)
    if not rates:
        return None
    sign = 1.0 if maximize else -1.0
    return max(rates, key=lambda rate: (len(rates[rate]), sign * mean(rates[rate]), -rate))


def beyond_the_edge(rates: Sequence[float], chosen: float | None) -> float | None:
    """The rate that follows where the chosen one is the smallest or the largest of several, by the same factor."""
    grid = sorted(set(rates))
    if len(grid) < 2 or chosen not in (grid[0], grid[-1]):
        return None
    other = grid[1] if chosen == grid[0] else grid[-2]
    return float(f"{chosen * chosen / other:.6g}")


def fidelity(task: Task, training: TrainingSettings, split: str) -> Fidelity:
    """How much effort stands behind the score of a job with these settings."""
    return Fidelity(
        task=task.name,
        digest=task.digest(),
        steps=training.steps if training.budget == "steps" else 0,
        batch=training.batch,
        learning_rates=training.rates,
        seeds=training.seeds,
        split=split,
        settings=_rest(task, training),
        budget=training.budget,
        amount=0.0 if training.budget == "steps" else float(getattr(training, training.budget)),
    )


def _rest(task: Task, training: TrainingSettings) -> str:
    """Eight hex digits over the further settings that a score depends on."""
    names = ["weight_decay", "clip", "warmup", "final_rate", "dtype", "freeze", "evaluation_examples"]
    if task.solved is not None:
        names.append("stop_when_solved")
        if training.stop_when_solved:
            names.append("reports")  # training can only end at a report
    # Settings that came later count where they are used, so that what was measured before stays comparable.
    names += [name for name in ("extend_rates",) if getattr(training, name) != getattr(TrainingSettings, name)]
    text = json.dumps({name: getattr(training, name) for name in names})
    return hashlib.sha256(text.encode()).hexdigest()[:8]
