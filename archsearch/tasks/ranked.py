"""The same task with another metric: the data stay, and what ranks candidates is another number.

archsearch run hybrid --task digits --set task.metric=log_loss
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from archsearch.errors import ConfigError, RuleError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split, Task
from archsearch.tasks.metrics import METRICS, Metric
from archsearch.tasks.scoring import constant_answer, counted
from archsearch.tasks.settings import METRIC

__all__ = ["Ranked", "ranked"]

SAID = ("name", "summary", "paper", "training", "ladder")
ENOUGH = 4096
"""So many examples tell the score of chance."""
BATCH = 2**22
"""Outputs at a time while they do."""


def ranked(task: Task, metric: str) -> Task:
    """`task` with another of its metrics; the task itself where that is its own.

    Raises:
        ConfigError: a metric that the task does not have, with the list and the nearest names.
    """
    try:
        replace(METRIC, options=task.metrics).check(metric)
    except RuleError as error:
        raise ConfigError(f"Task `{task.name}`: {error}") from None
    return task if metric == task.metric else Ranked(task, METRICS[task.output.loss][metric])


@dataclass(frozen=True)
class Ranked(Task):
    """A task whose candidates are ranked by another metric than its own."""

    task: Task
    by: Metric

    def __post_init__(self) -> None:
        said = {name: getattr(self.task, name) for name in SAID}
        for name, value in {**said, "metric": self.by.name, "maximize": self.by.maximize}.items():
            object.__setattr__(self, name, value)

    @property
    def input(self) -> InputKind:
        """As in the task."""
        return self.task.input

    @property
    def output(self) -> OutputKind:
        """As in the task."""
        return self.task.output

    @property
    def length(self) -> int:
        """As in the task."""
        return self.task.length

    def length_in(self, split: Split) -> int:
        """As in the task."""
        return self.task.length_in(split)

    @property
    def causal(self) -> bool:
        """As in the task."""
        return self.task.causal

    @property
    def metrics(self) -> tuple[str, ...]:
        """This one, then the task's own and the others."""
        return (self.metric, *(m for m in self.task.metrics if m != self.metric))

    @property
    def chance(self) -> float:
        """The score of the constant answer with the least loss in training, on the first validation targets."""
        answer = constant_answer(self.examples("train"), self.output)
        e = self.examples("validation")
        batch = max(1, BATCH // (self.output.size * self.length_in("validation")))
        found: list[Tensor] = []
        for rows in (slice(start, start + batch) for start in range(0, min(len(e), ENOUGH), batch)):
            targets, mask = e.targets[rows], None if e.mask is None else e.mask[rows]
            steps = targets.shape if targets.dtype == torch.int64 else targets.shape[:-1]
            found.append(self.by.sums(*counted(answer.expand(1, *steps, -1), targets, mask)))
        return float(self.by.score(torch.stack(found).sum(0)))

    @property
    def ceiling(self) -> float | None:
        """That of the truth where the task's own ceiling is; known besides for bits, which are nats by another name."""
        own = self.task.ceiling
        if own is not None and own == (1.0 if self.task.maximize else 0.0):
            return self.by.perfect
        is_bits = self.task.metric.startswith("bits_per_") and self.metric == "log_loss"
        return own * math.log(2.0) if own is not None and is_bits else None

    def examples(self, split: Split) -> Examples:
        """As in the task."""
        return self.task.examples(split)

    def digest(self) -> str:
        """Of the task and the metric: scores by two metrics are never ranked together."""
        return sha256(f"{self.task.digest()} {self.metric}".encode()).hexdigest()[:16]

    def settings(self) -> dict[str, Any]:
        """Those of the task, and `metric`."""
        return {**self.task.settings(), "metric": self.metric}

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The score of this batch alone, times its count; only `sums` add up over batches."""
        score, _ = self.scores(self.sums(outputs, targets, mask))
        _, loss, count = self.task.judge(outputs, targets, mask)
        return score * count, loss, count

    def sums(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        """Those of the metric, then loss and count."""
        _, loss, count = self.task.judge(outputs, targets, mask)
        return torch.cat([self.by.sums(*counted(outputs, targets, mask)), torch.stack([loss, count], 1)], 1)

    def scores(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Score and mean loss of each copy."""
        return self.by.score(sums[:, :-2]), sums[:, -2] / sums[:, -1]
