"""The answer that knows nothing but how often each target occurs, put into the readout of a model.

Legend of shapes: E copies, N examples, S size of the answer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.build.model import Model
from archsearch.errors import CandidateError
from archsearch.tasks.base import Examples, OutputKind

__all__ = ["answer_by_frequency", "constant_answer"]


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


@torch.no_grad()
def answer_by_frequency(model: Model, examples: Examples, output: OutputKind) -> None:
    """Sets the readout of all copies to the constant answer, whatever it reads.

    Raises:
        CandidateError: the model has a readout of its own, or the task compares answers in another way.
    """
    weights = dict(model.readout.named_parameters())
    if set(weights) != {"weight", "bias"} or output.loss not in ("cross_entropy", "squared_error"):
        rule = "`fit: frequencies` needs the affine readout, and classes or numbers to answer with"
        raise CandidateError("error", rule)
    weights["weight"].zero_()
    answer = constant_answer(examples, output)
    weights["bias"].copy_(answer.repeat(weights["bias"].shape[-1] // output.size).expand_as(weights["bias"]))
