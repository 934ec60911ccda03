"""The answer that knows nothing but how often each target occurs, put into the readout of a model.

Legend of shapes: E copies, N examples, S size of the answer.
"""

from __future__ import annotations

import torch

from archsearch.build.model import Model
from archsearch.errors import CandidateError
from archsearch.tasks.base import Examples, OutputKind
from archsearch.tasks.scoring import constant_answer

__all__ = ["answer_by_frequency"]


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
