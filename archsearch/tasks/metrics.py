"""What may rank candidates in place of a task's own metric, worked out from their outputs alone.

Each metric is a few sums per copy, which add up over batches, and the score that they make.

Legend of shapes: E copies, N targets that count, S size of the output, K sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["METRICS", "Metric"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of outputs and targets.

    Args:
        name: what a person calls it.
        maximize: whether a larger score is better.
        perfect: the score of the truth itself.
        sums: outputs `(E, N, S)` and targets, classes `(N,)` or numbers `(N, S)`, to `(E, K)` float64.
        score: sums `(E, K)` to scores `(E,)`.
    """

    name: str
    maximize: bool
    perfect: float
    sums: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor], Tensor]


def _hits(logits: Tensor, wanted: Tensor) -> Tensor:
    return _with_count((logits.argmax(-1) == wanted).sum(1), wanted)


def _nats(logits: Tensor, wanted: Tensor) -> Tensor:
    loss = F.cross_entropy(logits.float().transpose(1, 2), wanted.expand(len(logits), -1), reduction="none")
    return _with_count(loss.sum(1, dtype=torch.float64), wanted)


def _by_class(logits: Tensor, wanted: Tensor) -> Tensor:
    """Hits, answers and targets of each class: `(E, 3 S)`."""
    copies, _, size = logits.shape
    answers, targets = logits.argmax(-1), wanted.expand(copies, -1)
    first = torch.arange(copies, device=logits.device).unsqueeze(1) * size

    def counts(classes: Tensor) -> Tensor:
        return torch.bincount(classes.flatten(), minlength=copies * size).view(copies, size)

    hits = (first + answers)[answers == targets]
    return torch.cat([counts(hits), counts(first + answers), counts(first + targets)], 1).double()


def _balanced_accuracy(sums: Tensor) -> Tensor:
    """The mean share of hits over the classes that occur."""
    hits, _, targets = sums.chunk(3, 1)
    return (hits / targets.clamp(min=1.0)).sum(1) / (targets > 0).sum(1)


def _macro_f1(sums: Tensor) -> Tensor:
    """The mean F1 over the classes that occur or are answered."""
    hits, answers, targets = sums.chunk(3, 1)
    both = answers + targets
    return (2.0 * hits / both.clamp(min=1.0)).sum(1) / (both > 0).sum(1)


def _absolute(outputs: Tensor, wanted: Tensor) -> Tensor:
    return _with_count((outputs.double() - wanted.double()).abs().mean(-1).sum(1), wanted)


def _squared(outputs: Tensor, wanted: Tensor) -> Tensor:
    return _with_count((outputs.double() - wanted.double()).square().mean(-1).sum(1), wanted)


def _variances(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Squared errors, then sums and squares of the targets, number by number, and their count: `(E, 3 S + 1)`."""
    numbers = wanted.double()
    errors = (outputs.double() - numbers).square().sum(1)
    own = torch.cat([numbers.sum(0), numbers.square().sum(0)]).expand(len(outputs), -1)
    return _with_count(torch.cat([errors, own], 1), wanted)


def _r2(sums: Tensor) -> Tensor:
    """1 - the share of the variance that stays unexplained, the mean over the numbers of an answer."""
    errors, first, second = sums[:, :-1].chunk(3, 1)
    variance = second - first.square() / sums[:, -1:]
    return (1.0 - errors / variance.clamp(min=1e-12)).mean(1)


def _mean(sums: Tensor) -> Tensor:
    return sums[:, 0] / sums[:, 1]


def _with_count(total: Tensor, wanted: Tensor) -> Tensor:
    """`(E, K + 1)`: the sums, then the number of targets."""
    sums = total.double().view(len(total), -1)
    return torch.cat([sums, sums.new_full((len(sums), 1), len(wanted))], 1)


_CLASSES = (
    Metric("accuracy", True, 1.0, _hits, _mean),
    Metric("log_loss", False, 0.0, _nats, _mean),
    Metric("balanced_accuracy", True, 1.0, _by_class, _balanced_accuracy),
    Metric("macro_f1", True, 1.0, _by_class, _macro_f1),
)
_NUMBERS = (
    Metric("mse", False, 0.0, _squared, _mean),
    Metric("mae", False, 0.0, _absolute, _mean),
    Metric("r2", True, 1.0, _variances, _r2),
)

METRICS: Mapping[str, Mapping[str, Metric]] = {
    "cross_entropy": {m.name: m for m in _CLASSES},
    "squared_error": {m.name: m for m in _NUMBERS},
}
"""By the loss of an `OutputKind`, then by name."""
