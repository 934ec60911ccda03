"""Solves for the readout of a model whose body stays as it was drawn, and lets validation choose the penalty.

Legend of shapes: E copies, B batch, T time, D features, S size of the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archsearch.build.model import Model
from archsearch.errors import CandidateError
from archsearch.ops.base import Context
from archsearch.tasks.base import Examples, Scores, Task
from archsearch.training.fitting.methods import METHODS
from archsearch.training.fitting.problem import Problem, Solution

__all__ = ["fit_readout"]

Forward = Callable[[Tensor], Tensor]


@torch.no_grad()
def fit_readout(
    model: Model, task: Task, examples: Examples, validate: Callable[[Forward], Scores], *, batch: int
) -> list[dict[str, Any]]:
    """Sets the readout of every copy to the solution with the best validation score; equal ones go by their loss.

    Args:
        model: in evaluation mode; its architecture says which way to go.
        examples: the training split, on the model's device.
        validate: scores outputs on the validation split.
        batch: examples at a time.

    Returns:
        One mapping a copy: the seed, the `penalty` that was chosen, the `norm` of the readout's weights, and more by
        the way of solving; `seconds` are those of all copies.

    Raises:
        CandidateError: the task is not one that this way can solve, or no copy has a solution.
    """
    began = time.perf_counter()
    way = model.architecture.fit
    if task.output.per == "sequence" and task.output.answers > 1:
        rule = f"`fit: {way}` takes one answer a sequence, but the task asks for {task.output.answers}."
        raise CandidateError("refused", rule)
    device = torch.device("cpu") if examples.inputs.device.type == "mps" else examples.inputs.device

    def features(inputs: Tensor) -> Tensor:
        return model.features(inputs, Context(False, None))

    problem = Problem(model, examples, task.output, features, batch, task.length, device)
    seen = _Remembered(features)
    best = _Best(model.copies, task.maximize)
    for solution in METHODS[way](problem):
        _put(model, solution)
        seen.rewind()
        best.take(solution, validate(lambda inputs: model.answer(seen(inputs))))
    if best.solution is None:
        raise CandidateError("diverged", f"`fit: {way}` has no solution in any copy")
    _put(model, best.solution)
    seconds = time.perf_counter() - began
    norms = [
        float(sum(w[i].square().sum() for w in best.solution.weights.values()) ** 0.5) for i in range(model.copies)
    ]
    return [
        {"fit": way, "seed": seed, **facts, "norm": norm, "seconds": seconds}
        for seed, facts, norm in zip(model.seeds, best.solution.facts, norms, strict=True)
    ]


def _put(model: Model, solution: Solution) -> None:
    """Writes the weights into the readout."""
    parameters = dict(model.readout.named_parameters())
    for name, value in solution.weights.items():
        parameters[name].copy_(value)


class _Remembered:
    """Features of the validation split, batch by batch as the judge asks for them: the body runs once."""

    def __init__(self, features: Forward) -> None:
        self._features = features
        self._known: list[Tensor] = []
        self._next = 0

    def rewind(self) -> None:
        """The judge begins anew."""
        self._next = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        if self._next == len(self._known):
            self._known.append(self._features(inputs))
        self._next += 1
        return self._known[self._next - 1]


class _Best:
    """The best solution of each copy so far, put together as one."""

    def __init__(self, copies: int, maximize: bool) -> None:
        self._marks: list[tuple[float, float] | None] = [None] * copies
        self._sign = 1.0 if maximize else -1.0
        self.solution: Solution | None = None

    def take(self, solution: Solution, scores: Scores) -> None:
        """Compares copy by copy."""
        better = []
        for i, (score, loss) in enumerate(zip(scores.score, scores.loss, strict=True)):
            mark, old = (self._sign * score, -loss), self._marks[i]
            finite = abs(score) < float("inf") and abs(loss) < float("inf")
            better.append(finite and (old is None or mark > old))
            if better[-1]:
                self._marks[i] = mark
        if not any(better):
            return
        if self.solution is None:
            self.solution = solution
            return
        wins = torch.tensor(better, device=next(iter(solution.weights.values())).device)
        kept = {
            name: torch.where(wins.view(-1, *[1] * (new.ndim - 1)), new, self.solution.weights[name])
            for name, new in solution.weights.items()
        }
        facts = tuple(n if b else o for n, o, b in zip(solution.facts, self.solution.facts, better, strict=True))
        self.solution = Solution(kept, facts)
