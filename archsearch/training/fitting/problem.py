"""What is solved for a candidate's readout, and what a way of solving gives.

Legend of shapes: E copies, B batch, T time, R rows, D features, S size of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.build.model import Model
from archsearch.tasks.base import Examples, OutputKind
from archsearch.training.fitting.temperature import sharpness

__all__ = ["Problem", "Proof", "Solution"]

Proof = Callable[[], Mapping[str, Any]]
"""Works out how far a solution may be from what it should be; only that of the chosen solution is asked."""


@dataclass(frozen=True)
class Solution:
    """A readout of every copy, under one setting of what validation chooses.

    Args:
        weights: of the readout by name, each with the axis of copies in front; NaN where a copy has no solution.
        facts: what to know of it, one mapping a copy; `setting` holds what validation chooses.
        proofs: one a copy, or none.
        drawn: the names of weights that were drawn and not solved for.
    """

    weights: Mapping[str, Tensor]
    facts: tuple[Mapping[str, Any], ...]
    proofs: tuple[Proof, ...] = ()
    drawn: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """The training split as the readout sees it.

    Args:
        model: whose readout is wanted; all else stays as it is.
        examples: the training split, on the model's device.
        output: what the task asks for.
        features: what the readout reads, for a batch of inputs: `(E, B, T, D)` or `(E, B, D)`.
        batch: examples at a time.
        steps: T.
    """

    model: Model
    examples: Examples
    output: OutputKind
    features: Callable[[Tensor], Tensor]
    batch: int
    steps: int
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def classes(self) -> bool:
        """Whether targets are classes, and not numbers."""
        return self.output.loss == "cross_entropy"

    def rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Features `(E, R, D)` and targets `(R,)` or `(R, S)` of what counts, batch by batch, in the order of the data.

        They are on `device`, where there is float64.
        """
        e = self.examples
        for start in range(0, len(e), self.batch):
            part = slice(start, start + self.batch)
            x, y = self.features(e.inputs[part]), e.targets[part]
            keep = torch.ones(x.shape[1:-1], dtype=torch.bool, device=x.device) if e.mask is None else e.mask[part]
            if self.classes:
                keep = keep & (y >= 0)
            yield x[:, keep].to(self.device), y[keep].to(self.device)

    def gathered(self, limit: int) -> tuple[Tensor, Tensor]:
        """At most `limit` rows at once, the first ones."""
        xs, ys, count = [], [], 0
        for x, y in self.rows():
            xs.append(x[:, : limit - count])
            ys.append(y[: limit - count])
            count += ys[-1].shape[0]
            if count >= limit:
                break
        return torch.cat(xs, 1), torch.cat(ys)

    def numbers(self, targets: Tensor) -> Tensor:
        """Targets as numbers `(R, S)`: a class is 1 at its place and −1 elsewhere."""
        if not self.classes:
            return targets
        return 2.0 * F.one_hot(targets, self.output.size) - 1.0

    def factor(self, scores: Tensor, targets: Tensor) -> Tensor:
        """What the scores `(E, R, S)` are multiplied with before they are read as logits; 1 for numbers."""
        return sharpness(scores, targets) if self.classes else scores.new_ones(len(scores))
