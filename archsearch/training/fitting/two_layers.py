"""Readouts with one hidden layer of relu units: the convex program, and descent from the network that it gives.

Legend of shapes: E copies, R rows, D features, K neurons, P patterns, S outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archsearch.build.seeding import generator
from archsearch.errors import CandidateError
from archsearch.ops.readouts import NEURONS
from archsearch.training.fitting.certificate import lower_bound
from archsearch.training.fitting.columns import lacked, searched
from archsearch.training.fitting.convex import Network, Program, largest, objective, padded, patterns, polished
from archsearch.training.fitting.corrective import corrected
from archsearch.training.fitting.problem import Problem, Solution
from archsearch.training.fitting.temperature import ROWS

__all__ = ["Copy", "convex", "stacked"]

MOST_ROWS, MOST_OUTPUTS, MOST_NUMBERS = 2_000, 64, 3_000_000
"""What it takes: rows, outputs, and rows × features × outputs."""
LISTED = 1023
"""So many patterns are listed where a row is one number: those of 512 numbers."""
PENALTIES = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4)
"""As shares of the penalty from which on the network is zero."""
WORK = 3e7
"""Numbers a step of the program may touch, which bounds its patterns."""
STEPS, POLISH = 60, 80
"""Steps of ADMM on patterns that were drawn, and of descent afterwards."""
SEARCHED, MULTIPLY_ADDS = 20_000, 1e11
"""Rows × features × outputs up to which patterns are looked for, and about how much that may take for a penalty."""


def convex(problem: Problem) -> Iterator[Solution]:
    """A network for each penalty, from the largest to the smallest, each found from the one before."""
    xs, targets = _rows(problem)
    y = problem.numbers(targets).double().cpu()
    mean = y.mean(0)
    copies = [Copy(x, y - mean, s) for x, s in zip(xs.double().cpu(), problem.model.seeds, strict=True)]
    for share in PENALTIES:
        found = [copy.solve(share) for copy in copies]
        networks = [copy.network for copy in copies]
        scores = torch.stack([network(copy.x) for copy, network in zip(copies, networks, strict=True)]) + mean
        factor = problem.factor(scores[:, :ROWS], targets[:ROWS].cpu())
        facts = tuple(
            {**about, "factor": f, "rows": len(targets)} for about, f in zip(found, factor.tolist(), strict=True)
        )
        weights = stacked([copy.readout() for copy in copies], factor, mean)
        proofs = tuple(partial(c.proof, network, c.beta) for c, network in zip(copies, networks, strict=True))
        yield Solution(weights, facts, proofs)


def _rows(problem: Problem) -> tuple[Tensor, Tensor]:
    """Features and targets, if there are not too many of them."""
    if problem.steps != 1:
        raise CandidateError("refused", f"`fit: convex` takes sequences of one step, but they have {problem.steps}.")
    if problem.output.size > MOST_OUTPUTS:
        rule = f"`fit: convex` takes at most {MOST_OUTPUTS} outputs, a network each, but there are"
        raise CandidateError("refused", f"{rule} {problem.output.size}.")
    xs, targets = problem.gathered(MOST_ROWS + 1)
    if len(targets) > MOST_ROWS:
        raise CandidateError("refused", f"`fit: convex` takes at most {MOST_ROWS:,} rows, but there are more.")
    rows, features = xs.shape[1:]
    if rows * features * problem.output.size > MOST_NUMBERS:
        rule = f"`fit: convex` takes rows × features × outputs of at most {MOST_NUMBERS:,}, but they are"
        raise CandidateError("refused", f"{rule} {rows:,} × {features:,} × {problem.output.size}.")
    return xs, targets


class Copy:
    """The program of one copy, on features brought to size 1 with a one behind, which is the units' offset.

    Attributes:
        beta: the last penalty.
        active: the patterns of the program.
        exact: whether the program has all patterns there are, so that its optimum is that of all networks.
        searched: whether patterns are looked for, so that no network is better as far as a search can tell.
    """

    def __init__(self, x: Tensor, y: Tensor, seed: int) -> None:
        self.size = x.square().mean().sqrt().clamp(min=1e-12)
        self.x, self.y = torch.cat([x / self.size, torch.ones(len(x), 1, dtype=x.dtype)], 1), y
        draw = generator(seed, "patterns", torch.device("cpu"))
        self.active, self.exact = patterns(self.x, LISTED, draw) if x.shape[1] == 1 else (self.x.new_zeros(0), False)
        if not self.exact:
            count = min(NEURONS // (2 * y.shape[1]), max(4, int(WORK / (self.x.numel() * y.shape[1]))))
            self.active, _ = patterns(self.x, count, draw)
        self.searched = not self.exact and self.x.numel() * y.shape[1] <= SEARCHED
        self._seed = seed
        self.largest = largest(self.x, y, self.active)
        self._last: Network | None = None
        self.beta = self.largest

    @property
    def network(self) -> Network:
        """That of the last penalty."""
        assert self._last is not None, "a penalty was solved for"
        return self._last

    def solve(self, share: float) -> dict[str, Any]:
        """Sets the network to that of the penalty `share` of the largest.

        Where patterns are drawn, their program is only where descent begins, and what that gives only where the search
        for patterns begins; what is further down the path begins where the last penalty ended.
        """
        self.beta = share * self.largest
        if self.exact:
            self._last = corrected(self.x, self.y, self.active, self.beta, self._last)
        else:
            begun = self._last or Program(self.x, self.y, self.active).solve(self.beta, iterations=STEPS).network
            self._last = polished(begun, self.x, self.y, self.beta, POLISH)
        if self.searched:
            found = searched(self.x, self.y, self.beta, self._last, self._seed, MULTIPLY_ADDS)
            better = objective(found, self.x, self.y, self.beta) < objective(self._last, self.x, self.y, self.beta)
            self._last = found if better else self._last
        value = objective(self.network, self.x, self.y, self.beta)
        neurons = int((self.network.outer != 0).sum())
        return {"setting": {"penalty": self.beta}, "objective": value, "neurons": neurons}

    def proof(self, network: Network, beta: float) -> Mapping[str, Any]:
        """How far the network may be from the best under the penalty, and over how many patterns that is known."""
        value = objective(network, self.x, self.y, beta)
        active = self.active
        if self.searched:
            active = torch.cat([active, lacked(network, self.x, self.y, beta, self._seed)])
        bound, known = lower_bound(network, self.x, self.y, active, beta)
        gap = (value - bound) / max(abs(value), 1e-300)
        said = {"gap": gap, "patterns": known, "all_patterns": self.exact}
        return said if self.exact else {**said, "searched": self.searched}

    def readout(self) -> tuple[Tensor, Tensor]:
        """The hidden layer for the features as they are: `(S, K, D)` with offsets behind, and the outer weights."""
        fitting = padded(self.network, NEURONS // len(self.network.outer))
        return torch.cat([fitting.inner[..., :-1] / self.size, fitting.inner[..., -1:]], -1), fitting.outer


def stacked(copies: list[tuple[Tensor, Tensor]], factor: Tensor, mean: Tensor) -> dict[str, Tensor]:
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
