"""Each way of solving for a readout, as a stream of solutions that validation chooses from.

Legend of shapes: E copies, R rows, D features, S size of the answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from archsearch.build.seeding import generator
from archsearch.errors import CandidateError
from archsearch.ops.readouts import NEURONS, cosines
from archsearch.training.fitting import convex as convex_program
from archsearch.training.fitting.problem import Problem, Solution
from archsearch.training.fitting.ridge import Moments, left_out, relative_penalties, solve
from archsearch.training.fitting.temperature import ROWS, sharpness

__all__ = ["METHODS", "linear_svm"]

SVM_ROWS, SVM_PENALTIES = 4_000, (0.01, 0.1, 1.0, 10.0, 100.0)
CONVEX_ROWS, CONVEX_PENALTIES = 2_000, (3e-2, 1e-2, 1e-3, 1e-4)
CONVEX_WORK = 3e7
"""Numbers a step of the convex program may touch, which bounds its patterns."""
BANDWIDTHS = (0.3, 1.0, 3.0)
"""Scales of random projections, for features of size 1."""


# ---- least squares ---------------------------------------------------------------------------------------------------


def ridge(problem: Problem) -> Iterator[Solution]:
    """Affine, by least squares."""
    yield from _least_squares(problem, [({}, lambda x: x)], {})


def random_features(problem: Problem) -> Iterator[Solution]:
    """Affine on random cosines, by least squares, over bandwidths too."""
    readout = dict(problem.model.readout.named_parameters())
    projection, phase = (readout[n].detach().to(problem.device, torch.float32) for n in ("projection", "phase"))
    first = next(problem.rows())[0]
    size = first.square().mean((1, 2)).sqrt().clamp(min=1e-12)
    maps: list[Map] = []
    for scale in BANDWIDTHS:
        drawn = projection * (scale / size)[:, None, None]
        maps.append(({"bandwidth": scale, "projection": drawn}, partial(cosines, projection=drawn, phase=phase)))
    yield from _least_squares(problem, maps, {"phase": phase})


Map = tuple[dict[str, Any], Callable[[Tensor], Tensor]]


def _least_squares(problem: Problem, maps: list[Map], fixed: Mapping[str, Tensor]) -> Iterator[Solution]:
    """One pass over the rows for all maps of the features, then every penalty of each."""
    moments: list[Moments] = []
    sample: tuple[Tensor, Tensor] | None = None
    for x, y in problem.rows():
        if sample is None or sample[1].shape[0] < ROWS:
            sample = (x, y) if sample is None else (torch.cat([sample[0], x], 1), torch.cat([sample[1], y]))
        for i, (_, mapped) in enumerate(maps):
            features = mapped(x)
            if len(moments) <= i:
                moments.append(Moments(len(x), features.shape[-1], problem.output.size, problem.device))
            moments[i].add(features, problem.numbers(y))
    assert sample is not None, "a training split has rows"
    for (facts, mapped), sums in zip(maps, moments, strict=True):
        seen = mapped(sample[0][:, :ROWS]).double()
        own = {k: v for k, v in facts.items() if isinstance(v, Tensor)}
        said = {k: v for k, v in facts.items() if not isinstance(v, Tensor)}
        for penalty in relative_penalties(sums):
            weight, bias = solve(sums, penalty)
            scores = seen @ weight.mT + bias.unsqueeze(1)
            if problem.classes:  # where there are as many features as rows, all rows look certain that were solved for
                scores = left_out(sums, penalty, seen, problem.numbers(sample[1][:ROWS]).double(), scores)
            factor = _factor(problem, scores, sample[1][:ROWS])
            about = tuple(
                {"penalty": p, **said, "factor": f, "rows": sums.rows}
                for p, f in zip(penalty.tolist(), factor.tolist(), strict=True)
            )
            scaled = {"weight": weight * factor[:, None, None], "bias": bias * factor[:, None]}
            yield Solution({**fixed, **own, **scaled}, about)


def _factor(problem: Problem, scores: Tensor, targets: Tensor) -> Tensor:
    """What scores are multiplied with before they are read as logits; 1 where numbers are asked for."""
    return sharpness(scores, targets) if problem.classes else scores.new_ones(len(scores))


# ---- support vectors -------------------------------------------------------------------------------------------------


def svm(problem: Problem) -> Iterator[Solution]:
    """Affine, by one linear support vector machine a class."""
    if not problem.classes:
        raise CandidateError("refused", "`fit: svm` needs classes as targets, but the task asks for numbers.")
    xs, classes = problem.gathered(SVM_ROWS)
    if len(classes.unique()) < 2:
        raise CandidateError("refused", "`fit: svm` needs targets of at least two classes, but all are of one.")
    every = xs.double().cpu().numpy()
    size = [max(float(np.square(x - x.mean(0)).sum(1).mean()), 1e-300) for x in every]
    for share in SVM_PENALTIES:
        weights, biases, facts = [], [], []
        for x, norm, seed in zip(every, size, problem.model.seeds, strict=True):
            weight, bias, converged = linear_svm(x, classes.cpu().numpy(), problem.output.size, share / norm, seed)
            scores = torch.from_numpy(x[:ROWS]) @ weight.mT + bias
            factor = _factor(problem, scores[None], classes[:ROWS].cpu())[0]
            weights.append(weight * factor)
            biases.append(bias * factor)
            about = {"penalty": share / norm, "factor": float(factor), "rows": len(classes), "converged": converged}
            facts.append(about)
        yield Solution({"weight": torch.stack(weights), "bias": torch.stack(biases)}, tuple(facts))


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


# ---- two layers ------------------------------------------------------------------------------------------------------


def convex(problem: Problem) -> Iterator[Solution]:
    """A hidden layer of relu units, by its convex program."""
    if problem.steps != 1:
        raise CandidateError("refused", f"`fit: convex` takes sequences of one step, but they have {problem.steps}.")
    xs, targets = problem.gathered(CONVEX_ROWS + 1)
    if len(targets) > CONVEX_ROWS:
        raise CandidateError("refused", f"`fit: convex` takes at most {CONVEX_ROWS:,} rows, but there are more.")
    y = problem.numbers(targets).double().cpu()
    mean = y.mean(0)
    copies = [_Convex(x, y - mean, s) for x, s in zip(xs.double().cpu(), problem.model.seeds, strict=True)]
    for share in CONVEX_PENALTIES:
        found = [c.solve(share) for c in copies]
        scores = torch.stack([c.scores(network) for c, (network, _) in zip(copies, found, strict=True)]) + mean
        factor = _factor(problem, scores[:, :ROWS], targets[:ROWS].cpu())
        facts = tuple(
            {**about, "factor": f, "rows": len(targets)} for (_, about), f in zip(found, factor.tolist(), strict=True)
        )
        yield Solution(_stacked([c.readout(n) for c, (n, _) in zip(copies, found, strict=True)], factor, mean), facts)


class _Convex:
    """The program of one copy, on features brought to size 1 with a one behind, which is the units' offset."""

    def __init__(self, x: Tensor, y: Tensor, seed: int) -> None:
        self.size = x.square().mean().sqrt().clamp(min=1e-12)
        self.x = torch.cat([x / self.size, torch.ones(len(x), 1, dtype=x.dtype)], 1)
        count = min(NEURONS // (2 * y.shape[1]), max(4, int(CONVEX_WORK / (self.x.numel() * y.shape[1]))))
        active, self.exact = convex_program.patterns(self.x, count, generator(seed, "patterns", torch.device("cpu")))
        self.program = convex_program.Program(self.x, y, active)
        self.largest, self.patterns = self.program.largest(), len(active)
        self.iterations = int(min(1000, max(100, 3e9 / (self.x.numel() * y.shape[1] * self.patterns))))

    def solve(self, share: float) -> tuple[convex_program.Network, dict[str, Any]]:
        beta = share * self.largest
        found = self.program.solve(beta, iterations=self.iterations)
        about = {"penalty": beta, "objective": found.value, "patterns": self.patterns, "all_patterns": self.exact}
        return found.network, about

    def scores(self, network: convex_program.Network) -> Tensor:
        return network(self.x)

    def readout(self, network: convex_program.Network) -> tuple[Tensor, Tensor]:
        """The hidden layer for the features as they are: `(S, K, D)` and offsets `(S, K)`, and the outer weights."""
        fitting = convex_program.padded(network, NEURONS // len(network.outer))
        return torch.cat([fitting.inner[..., :-1] / self.size, fitting.inner[..., -1:]], -1), fitting.outer


def _stacked(copies: list[tuple[Tensor, Tensor]], factor: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """The weights of `relu_readout`: the neurons of all outputs in one layer, each read by its own output alone."""
    inner = torch.stack([i.flatten(0, 1) for i, _ in copies])
    down = torch.stack([torch.block_diag(*outer) for _, outer in copies])
    more = NEURONS - inner.shape[1]
    inner, down = (torch.nn.functional.pad(inner, (0, 0, 0, more)), torch.nn.functional.pad(down, (0, more)))
    return {
        "up": inner[..., :-1],
        "up_bias": inner[..., -1],
        "down": down * factor[:, None, None],
        "down_bias": mean * factor[:, None],
    }


METHODS: Final[Mapping[str, Callable[[Problem], Iterator[Solution]]]] = MappingProxyType(
    {"ridge": ridge, "svm": svm, "convex": convex, "random_features": random_features}
)
"""Each by the name that `fit` has for it."""
