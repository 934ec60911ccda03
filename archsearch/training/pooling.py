"""From the measurements of one candidate on several tasks to one: the mean over tasks, seed by seed.

A score counts by how far it is from chance, 0, to the best there is, 1. What is worse than chance is below 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archsearch.ranking.intervals import interval, mean, mean_of
from archsearch.training.measurement import CopyResult, Fidelity, Measurement

__all__ = ["METRIC", "Scale", "digest", "pooled"]

METRIC = "mean score"


@dataclass(frozen=True, slots=True)
class Scale:
    """What of a task's metric counts as 0 and what as 1; `best` lies below `chance` where a small score is good."""

    chance: float
    best: float

    def share(self, score: float) -> float:
        """How far a score is from chance to the best."""
        return (score - self.chance) / (self.best - self.chance)


def pooled(name: str, parts: Mapping[str, Measurement], scales: Mapping[str, Scale]) -> Measurement:
    """The measurement of a suite.

    Its copies are seeds, each with the mean over tasks of what it scores there at the rate chosen for that task; a seed
    that diverged on one task has no score. Work is added up over tasks. What depends on the length of a sequence is
    that of the task where it is largest, and so are parameters with stem and readout, and memory. There is no curve,
    since a step of one task is not one of another, no loss, no learning rate and no solution.

    Args:
        name: of the suite.
        parts: the measurements by task, all on one split, with the same seeds.
        scales: by task.
    """
    several = list(parts.values())
    copies = _copies(parts, scales)
    on_test = several[0].fidelity.split == "test"
    scores = [s for c in copies if (s := c.test_score if on_test else c.score) is not None]
    span = interval(scores)
    train_seconds = sum(m.train_seconds for m in several)
    tokens = sum(m.tokens_per_second * m.train_seconds for m in several)
    return Measurement(
        fidelity=_fidelity(name, [m.fidelity for m in several]),
        score=mean_of(scores),
        score_low=span[0] if span else None,
        score_high=span[1] if span else None,
        validation_score=mean_of(c.score for c in copies if c.status != "diverged"),
        validation_loss=None,
        learning_rate=None,
        copies=copies,
        steps=sum(m.steps for m in several),
        examples=sum(m.examples for m in several),
        seconds=sum(m.seconds for m in several),
        train_seconds=train_seconds,
        tokens_per_second=tokens / train_seconds if train_seconds else 0.0,
        peak_memory_bytes=max(m.peak_memory_bytes for m in several),
        params=max(m.params for m in several),
        body_params=max(m.body_params for m in several),
        flops_per_token=max(m.flops_per_token for m in several),
        state_bytes=max(m.state_bytes for m in several),
        span=max(m.span for m in several),
        parallel_in_time=all(m.parallel_in_time for m in several),
        environment=_environment([m.environment for m in several]),
        train_score=mean_of(c.train_score for c in copies),
        planned_steps=sum(m.planned_steps for m in several),
    )


def _copies(parts: Mapping[str, Measurement], scales: Mapping[str, Scale]) -> tuple[CopyResult, ...]:
    chosen = {label: {c.seed: c for c in m.copies if c.learning_rate == m.learning_rate} for label, m in parts.items()}
    seeds = [seed for seed in next(iter(chosen.values())) if all(seed in copies for copies in chosen.values())]
    return tuple(_copy(seed, {label: copies[seed] for label, copies in chosen.items()}, scales) for seed in seeds)


def _copy(seed: int, copies: Mapping[str, CopyResult], scales: Mapping[str, Scale]) -> CopyResult:
    def mean_share(field: str) -> float | None:
        values = {label: getattr(c, field) for label, c in copies.items()}
        known = [scales[label].share(v) for label, v in values.items() if v is not None]
        return mean(known) if len(known) == len(values) else None

    diverged = any(c.status == "diverged" for c in copies.values())
    solved = all(c.status == "solved" for c in copies.values())
    return CopyResult(
        seed=seed,
        learning_rate=None,
        status="diverged" if diverged else "solved" if solved else "done",
        score=mean_share("score"),
        loss=None,
        test_score=mean_share("test_score"),
        train_score=mean_share("train_score"),
    )


def _fidelity(name: str, several: Sequence[Fidelity]) -> Fidelity:
    """Equal for candidates that were trained alike on the same data of every task."""
    first = several[0]
    return Fidelity(
        task=name,
        digest=digest(f.digest for f in several),
        steps=sum(f.steps for f in several),
        batch=0,  # each task has its own
        learning_rates=max((f.learning_rates for f in several), key=len),
        seeds=first.seeds,
        split=first.split,
        settings=digest(json.dumps(asdict(f), sort_keys=True) for f in several)[:8],
        protocol=first.protocol,
        budget=first.budget,
        amount=sum(f.amount for f in several),
    )


def digest(parts: Iterable[str]) -> str:
    """Sixteen hex digits over texts in their order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _environment(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the trainings agree in, and where they do not, all that they had."""
    found: dict[str, Any] = {}
    for key in several[0]:
        values = list(dict.fromkeys(e.get(key) for e in several))
        found[key] = values[0] if len(values) == 1 else " and ".join(map(str, values))
    return found
