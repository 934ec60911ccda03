"""Solves for the readout of a model whose body stays as it was drawn, and lets validation choose the penalty.

Legend of shapes: E copies, B batch, T time, D features, S size of the answer.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from archsearch.build.model import Model
from archsearch.errors import CandidateError
from archsearch.graph.fits import FREQUENCIES
from archsearch.ops.base import Context
from archsearch.tasks.base import Scores, Task
from archsearch.training.fitting.agreement import Agreement
from archsearch.training.fitting.methods import METHODS
from archsearch.training.fitting.problem import Problem, Solution
from archsearch.training.judge import Judge

__all__ = ["fit_readout"]

Forward = Callable[[Tensor], Tensor]


@torch.no_grad()
def fit_readout(model: Model, task: Task, judge: Judge, *, batch: int) -> list[dict[str, Any]]:
    """Sets the readout of every copy to the solution with the best validation score; equal ones go by their loss.

    Args:
        model: in evaluation mode; its architecture says which way to go.
        judge: has the training split, and scores validation.
        batch: examples at a time.

    Returns:
        One mapping a copy: what `docs/solved.md` lists.

    Raises:
        CandidateError: the task is not one that this way can solve, or no copy has a solution.
    """
    began = time.perf_counter()
    way, examples = model.architecture.fit, judge.train
    if task.output.per == "sequence" and task.output.answers > 1 and way != FREQUENCIES:
        rule = f"`fit: {way}` takes one answer a sequence, but the task asks for {task.output.answers}."
        raise CandidateError("refused", rule)
    device = torch.device("cpu") if examples.inputs.device.type == "mps" else examples.inputs.device

    def features(inputs: Tensor) -> Tensor:
        return model.features(inputs, Context(False, None))

    problem = Problem(model, examples, task.output, features, batch, task.length_in("train"), device)
    seen = _Remembered(features)
    best = _Best(model.copies, task.maximize)
    for solution in METHODS[way](problem):
        _put(model, solution)
        seen.rewind()
        best.take(solution, judge.validate(lambda inputs: model.answer(seen(inputs))))
    if best.solution is None:
        raise CandidateError("diverged", f"`fit: {way}` has no solution in any copy")
    _put(model, best.solution)
    seconds = time.perf_counter() - began
    seen.rewind()
    apart = Agreement(judge.answers(lambda inputs: model.answer(seen(inputs))))
    about = []
    for i, seed in enumerate(model.seeds):
        facts = {"fit": way, "seed": seed, **_told(model, best, i), "seconds": seconds}
        about.append({**facts, "cosines": apart.cosines[i], "sketch": apart.sketches[i]})
    return about


def _told(model: Model, best: _Best, copy: int) -> dict[str, Any]:
    """What is said of the chosen solution of a copy."""
    solution = best.solution
    assert solution is not None, "a copy has a solution"
    facts = dict(solution.facts[copy])
    weights = {n: p[copy].detach() for n, p in sorted(model.readout.named_parameters())}
    solved = [w.double().square().sum() for n, w in weights.items() if n not in solution.drawn]
    proof = solution.proofs[copy]() if solution.proofs else {}
    digest = hashlib.sha256(b"".join(w.float().cpu().contiguous().numpy().tobytes() for w in weights.values()))
    return {
        **facts.pop("setting", {}),
        **facts,
        "norm": float(sum(solved) ** 0.5),
        "certificate": dict(proof),
        "digest": digest.hexdigest()[:16],
        "path": best.paths[copy],
    }


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
    """The best solution of each copy so far, put together as one.

    Attributes:
        paths: of each copy the settings that were tried, each with its validation score and loss.
    """

    def __init__(self, copies: int, maximize: bool) -> None:
        self._marks: list[tuple[float, float] | None] = [None] * copies
        self._sign = 1.0 if maximize else -1.0
        self.solution: Solution | None = None
        self.paths: list[list[dict[str, float | None]]] = [[] for _ in range(copies)]

    def take(self, solution: Solution, scores: Scores) -> None:
        """Compares copy by copy."""
        better = []
        for i, (score, loss) in enumerate(zip(scores.score, scores.loss, strict=True)):
            mark, old = (self._sign * score, -loss), self._marks[i]
            finite = abs(score) < float("inf") and abs(loss) < float("inf")
            better.append(finite and (old is None or mark > old))
            if better[-1]:
                self._marks[i] = mark
            tried: Mapping[str, float] = solution.facts[i].get("setting", {})
            self.paths[i].append({**tried, **({"score": score, "loss": loss} if finite else _UNKNOWN)})
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
        chosen = [solution if b else self.solution for b in better]
        facts = tuple(s.facts[i] for i, s in enumerate(chosen))
        proofs = tuple(s.proofs[i] for i, s in enumerate(chosen) if s.proofs)
        self.solution = Solution(kept, facts, proofs, solution.drawn)


_UNKNOWN: Mapping[str, float | None] = {"score": None, "loss": None}
