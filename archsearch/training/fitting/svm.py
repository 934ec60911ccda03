"""Readouts as linear support vector machines, one class against the rest.

Legend of shapes: R rows, D features, S classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archsearch.errors import CandidateError
from archsearch.training.fitting.problem import Problem, Solution
from archsearch.training.fitting.temperature import ROWS

__all__ = ["gap", "linear_svm", "svm"]

MOST_ROWS, MOST_CLASSES = 4_000, 64
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""C, as multiples of the inverse of the mean squared length of centred rows."""


def svm(problem: Problem) -> Iterator[Solution]:
    """Affine, by one machine a class on the first rows."""
    if not problem.classes:
        raise CandidateError("refused", "`fit: svm` needs classes as targets, but the task asks for numbers.")
    if problem.output.size > MOST_CLASSES:
        rule = f"`fit: svm` takes at most {MOST_CLASSES} classes, one machine each, but the task has"
        raise CandidateError("refused", f"{rule} {problem.output.size}. Take `fit: ridge`.")
    xs, classes = problem.gathered(MOST_ROWS)
    if len(classes.unique()) < 2:
        raise CandidateError("refused", "`fit: svm` needs targets of at least two classes, but all are of one.")
    every, targets = xs.double().cpu().numpy(), classes.cpu().numpy()
    size = [max(float(np.square(x - x.mean(0)).sum(1).mean()), 1e-300) for x in every]
    for share in PENALTIES:
        weights, biases, facts, proofs = [], [], [], []
        for x, norm, seed in zip(every, size, problem.model.seeds, strict=True):
            c = share / norm
            weight, bias, converged = linear_svm(x, targets, problem.output.size, c, seed)
            scores = torch.from_numpy(x[:ROWS]) @ weight.mT + bias
            factor = problem.factor(scores[None], classes[:ROWS].cpu())[0]
            weights.append(weight * factor)
            biases.append(bias * factor)
            about = {"factor": float(factor), "rows": len(classes), "converged": converged}
            facts.append({"setting": {"penalty": c}, **about})
            proofs.append(partial(gap, x, targets, weight.numpy(), bias.numpy(), c))
        yield Solution({"weight": torch.stack(weights), "bias": torch.stack(biases)}, tuple(facts), tuple(proofs))


def linear_svm(x: np.ndarray[Any, Any], classes: Any, size: int, c: float, seed: int) -> tuple[Tensor, Tensor, bool]:
    """scikit-learn's `LinearSVC` as W `(S, D)` and b `(S,)`, and whether it converged.

    A class that no row has scores −1 everywhere, as a machine that sees nothing but the rest would. Two classes have
    one machine, whose margin is split between them.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    if not np.isfinite(x).all():
        return torch.full((size, x.shape[1]), torch.nan).double(), torch.full((size,), torch.nan).double(), False
    machine = LinearSVC(C=c, dual="auto", random_state=seed % 2**32, max_iter=2000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        machine.fit(x, classes)
    weight = torch.zeros((size, x.shape[1]), dtype=torch.float64)
    bias = torch.full((size,), -1.0, dtype=torch.float64)
    found, at = torch.from_numpy(machine.coef_), torch.from_numpy(np.atleast_1d(machine.intercept_))
    if len(machine.classes_) == 2:
        found, at = torch.cat([-found, found]) / 2, torch.cat([-at, at]) / 2
    rows = torch.from_numpy(machine.classes_)
    weight[rows], bias[rows] = found, at
    return weight, bias, not any(issubclass(w.category, ConvergenceWarning) for w in caught)


def gap(x: Any, classes: Any, weight: Any, bias: Any, c: float) -> Mapping[str, Any]:
    """The relative duality gap of all machines together, and how many rows lie inside of some margin.

    A machine minimises ½(‖w‖² + b²) + c Σ h², h = max(0, 1 − y (w · x + b)). Its slopes α = 2 c h are feasible in the
    dual, and so is s α; the best s gives the bound (Σ α)² / (2 ‖Σ α y x̃‖² + Σ α²/c), x̃ being x and a one.
    """
    present = np.unique(classes)
    machines = [(weight[k], bias[k], classes == k) for k in present]
    if len(present) == 2:
        a, b = present
        machines = [(weight[b] - weight[a], bias[b] - bias[a], classes == b)]
    primal = dual = 0.0
    inside = np.zeros(len(x), dtype=bool)
    for w, at, positive in machines:
        y = np.where(positive, 1.0, -1.0)
        slack = np.maximum(0.0, 1.0 - y * (x @ w + at))
        alpha = 2 * c * slack
        pull, lean = (alpha * y) @ x, float((alpha * y).sum())
        primal += 0.5 * (float(w @ w) + float(at) ** 2) + c * float(slack @ slack)
        dual += float(alpha.sum()) ** 2 / max(2 * (float(pull @ pull) + lean**2) + float(alpha @ alpha) / c, 1e-300)
        inside |= slack > 0
    return {"gap": (primal - dual) / max(primal, 1e-300), "inside": int(inside.sum())}
