"""Readouts by least squares: on the features as they are, or on random cosines of them.

Legend of shapes: E copies, R rows, D features, S size of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archsearch.ops.readouts import cosines
from archsearch.training.fitting.problem import Problem, Proof, Solution
from archsearch.training.fitting.ridge import Moments, left_out, relative_penalties, residual, solve
from archsearch.training.fitting.temperature import ROWS

__all__ = ["random_features", "ridge"]

BANDWIDTHS = (0.3, 1.0, 3.0)
"""Scales of random projections, for features of size 1."""

Map = tuple[dict[str, Any], Callable[[Tensor], Tensor]]
"""What is known of a map of the features, tensors among them, and the map."""


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
            factor = problem.factor(scores, sample[1][:ROWS])
            about = tuple(
                {"setting": {"penalty": p, **said}, "factor": f, "rows": sums.rows}
                for p, f in zip(penalty.tolist(), factor.tolist(), strict=True)
            )
            scaled = {"weight": weight * factor[:, None, None], "bias": bias * factor[:, None]}
            yield Solution({**fixed, **own, **scaled}, about, _proofs(sums, penalty, weight), (*fixed, *own))


def _proofs(sums: Moments, penalty: Tensor, weight: Tensor) -> tuple[Proof, ...]:
    def proof(copy: int) -> Mapping[str, Any]:
        return {"residual": float(residual(sums, penalty, weight)[copy])}

    return tuple(partial(proof, i) for i in range(len(weight)))
