"""Sums of scores over one batch, copy by copy: what a task's `judge` is made of, and the answer of chance.

Legend of shapes: E copies, B batch, T time, N targets that count, S size of the output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.tasks.base import Examples, OutputKind, Task

__all__ = ["class_sums", "constant_answer", "counted", "error_sums", "most_frequent_share"]


def counted(outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What counts, in a row.

    Args:
        outputs: `(E, B, T, S)`, with anything in place of T, which may be missing.
        targets: classes `(B, T)`, or numbers `(B, T, S)`.
        mask: which of them count, `(B, T)`; `None` for all.

    Returns:
        Outputs `(E, N, S)`, and classes `(N,)` or numbers `(N, S)`.
    """
    if mask is not None:
        return outputs[:, mask], targets[mask]
    numbers = targets.ndim == outputs.ndim - 1
    return outputs.flatten(1, -2), targets.flatten(0, -2) if numbers else targets.flatten()


def class_sums(outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Hits, cross-entropy in nats and number of the targets that count, per copy.

    Args:
        outputs: logits `(E, B, T, S)`, or with anything in place of T, which may be missing.
        targets: classes `(B, T)`, or the same.
        mask: which of them count, of the shape of the targets; `None` for all.

    Returns:
        `(hits, loss_sum, count)`, each `(E,)` float64.
    """
    copies = outputs.shape[0]
    logits, wanted = counted(outputs, targets, mask)
    hits = (logits.argmax(-1) == wanted).sum(1, dtype=torch.float64)
    every = wanted.expand(copies, -1)
    loss = F.cross_entropy(logits.float().flatten(0, 1), every.flatten(), reduction="none")
    loss_sum = loss.view(copies, -1).sum(1, dtype=torch.float64)
    return hits, loss_sum, torch.full_like(hits, wanted.numel())


def error_sums(outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Squared errors, each the mean over the S numbers of an answer, and the number of the answers that count.

    Args:
        outputs: `(E, B, T, S)` or `(E, B, S)`.
        targets: `(B, T, S)` or `(B, S)`.
        mask: which of them count, `(B, T)` or `(B,)`; `None` for all.

    Returns:
        `(error_sum, count)`, each `(E,)` float64.
    """
    errors = (outputs.double() - targets.double()).square().mean(-1)
    counted = errors.flatten(1) if mask is None else errors[:, mask]
    total = counted.sum(1)
    return total, torch.full_like(total, counted.shape[1])


def constant_answer(examples: Examples, output: OutputKind) -> Tensor:
    """The one answer `(S,)` with the least loss on the targets that count.

    For classes it is the logarithm of their frequencies, each counted once more than it occurs, so that none is
    impossible; for numbers it is their mean.
    """
    targets = (examples.targets if examples.mask is None else examples.targets[examples.mask]).cpu()
    if output.loss == "squared_error":
        return targets.reshape(-1, output.size).double().mean(0)
    counts = torch.bincount(targets[targets >= 0].flatten(), minlength=output.size).double() + 1.0
    return (counts / counts.sum()).log()


def most_frequent_share(task: Task) -> float:
    """The share that the most frequent class of the training targets has in the validation targets."""
    train, validation = (_counted(task.examples(split)) for split in ("train", "validation"))
    return float((validation == train.mode().values).double().mean())


def _counted(examples: Examples) -> Tensor:
    return examples.targets.flatten() if examples.mask is None else examples.targets[examples.mask]
