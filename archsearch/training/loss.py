"""The training loss, one per copy, and the training data it is taken on.

Legend of shapes: E copies, B batch, T time, S size of the output, N examples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.tasks.base import Examples, OutputKind

__all__ = ["TrainingData"]

IGNORED = -100


class TrainingData:
    """The training split, resident on a device, with the loss of its task.

    Args:
        examples: on the device.
        output: what the candidate gives and how it is compared with the targets.
    """

    def __init__(self, examples: Examples, output: OutputKind) -> None:
        self.inputs, self.targets, self.mask, self.output = examples.inputs, examples.targets, examples.mask, output
        if self.mask is not None and output.loss == "cross_entropy":
            # A target that does not count says so itself: one tensor less to gather in every step.
            self.targets = self.targets.masked_fill(~self.mask, IGNORED)

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def batch(self, rows: Tensor) -> Tensor:
        """Inputs `(E, B, T)` or `(E, B, T, width)` of the rows `(E, B)`."""
        return self.inputs[rows]

    def losses(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """The mean loss of each copy, `(E,)`, over the targets that count; one without any has loss 0.

        Args:
            outputs: `(E, B, T, S)` or `(E, B, S)`.
            rows: `(E, B)`, those whose inputs gave the outputs.
        """
        targets = self.targets[rows]
        if self.output.loss == "squared_error":
            errors = (outputs.float() - targets).square().mean(-1)
            counts = torch.ones_like(errors) if self.mask is None else self.mask[rows].to(errors.dtype)
            return (errors * counts).flatten(1).sum(1) / counts.flatten(1).sum(1).clamp(min=1.0)
        losses = F.cross_entropy(
            outputs.float().flatten(0, -2), targets.flatten(), reduction="none", ignore_index=IGNORED
        ).view(len(outputs), -1)
        if self.mask is None:
            return losses.mean(1)
        return losses.sum(1) / (targets != IGNORED).flatten(1).sum(1).clamp(min=1)
