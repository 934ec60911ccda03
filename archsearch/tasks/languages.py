"""Languages of which every probability is known: Markov chains and hidden Markov models.

Both start as they go on for ever (from their stationary distribution), and give the probability of a sequence exactly.

Legend of shapes: N sequences, T tokens, V vocabulary, S hidden states, K order.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Draws", "HiddenMarkov", "Language", "MarkovChain", "dirichlet"]

ROUNDS = 10_000
"""Steps of power iteration after which a chain counts as mixed, if its change has not vanished before."""


class Language(Protocol):
    """What can be drawn from, and scored."""

    def sample(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """`(count, length)` int64 tokens."""
        ...

    def bits(self, rows: Tensor) -> float:
        """The mean of -log2 p(token | tokens before it) over all tokens `(N, T)` of the rows but their first."""
        ...


def dirichlet(shape: tuple[int, ...], concentration: float, generator: torch.Generator) -> Tensor:
    """Distributions over the last axis, float64; the smaller the concentration, the fewer outcomes are likely.

    Gamma variates from sums of logarithms cannot underflow: log Gamma(a) = log Gamma(a + 1) + log(U) / a.
    """
    a = torch.full(shape, concentration + 1.0, dtype=torch.float64)
    logs = torch._standard_gamma(a, generator=generator).log()
    uniform = torch.rand(shape, dtype=torch.float64, generator=generator).clamp(min=1e-300)
    return (logs + uniform.log() / concentration).softmax(-1)


class Draws:
    """Outcomes drawn from the rows of a table of distributions `(R, V)`, by one search for all of them.

    Row r is laid down from r to r + 1, so that a uniform number plus r finds its outcome.
    """

    def __init__(self, table: Tensor) -> None:
        self._size = table.shape[1]
        edges = table.double().cumsum(1) / table.double().sum(1, keepdim=True)
        edges[:, -1] = 1.0
        self._edges = (edges + torch.arange(len(table)).unsqueeze(1)).flatten()

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """One outcome for each of the rows `(N,)`."""
        places = rows + torch.rand(len(rows), dtype=torch.float64, generator=generator)
        return torch.searchsorted(self._edges, places, right=True) - rows * self._size


class MarkovChain:
    """Each token depends on the `order` tokens before it; a row of the table a context, drawn from a Dirichlet.

    Args:
        table: `(V^K, V)` float64; the context with the latest token t and those before it c is row c·V + t.
    """

    def __init__(self, table: Tensor, order: int) -> None:
        self.table, self.order, self.vocabulary = table, order, table.shape[1]
        self.start = self._stationary()
        self._start_draws, self._draws = Draws(self.start.unsqueeze(0)), Draws(table)

    def sample(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """See `Language`."""
        context = self._start_draws(torch.zeros(count, dtype=torch.int64), generator)
        tokens = list(self._spelled(context).unbind(1))[:length]
        while len(tokens) < length:
            token = self._draws(context, generator)
            context = (context * self.vocabulary + token) % len(self.table)
            tokens.append(token)
        return torch.stack(tokens, 1)

    def bits(self, rows: Tensor) -> float:
        """See `Language`; the first tokens are given by fewer before them, through the stationary distribution."""
        context = torch.zeros(len(rows), dtype=torch.int64)
        total = 0.0
        marginal = self.start
        early = [self.start.view(self.vocabulary ** (k + 1), -1).sum(1) for k in range(self.order)]
        for t, token in enumerate(rows.unbind(1)):
            longer = context * self.vocabulary + token
            if t < self.order:
                p = early[t][longer]
                p = p / marginal[context] if t else p
                marginal = early[t]
            else:
                p = self.table[context, token]
                longer = longer % len(self.table)
            total -= float(p.log2().sum()) if t else 0.0
            context = longer
        return total / (rows.numel() - len(rows))

    def _stationary(self) -> Tensor:
        p = torch.full((len(self.table),), 1.0 / len(self.table), dtype=torch.float64)
        for _ in range(ROUNDS):
            # Half of every step stands still: a chain that goes in circles comes to rest as well.
            after = (p.unsqueeze(1) * self.table).view(self.vocabulary, -1).sum(0).add(p).mul(0.5)
            if float((after - p).abs().sum()) < 1e-14:
                break
            p = after
        return after / after.sum()

    def _spelled(self, context: Tensor) -> Tensor:
        """`(N, K)`: the tokens of a context, the earliest first."""
        powers = self.vocabulary ** torch.arange(self.order - 1, -1, -1)
        return context.unsqueeze(1) // powers % self.vocabulary


class HiddenMarkov:
    """A hidden state goes its way and emits a token a step.

    Args:
        moves: `(S, S)` float64, from a state (row) to the next.
        emits: `(S, V)` float64.
    """

    def __init__(self, moves: Tensor, emits: Tensor) -> None:
        self.emits, self._chain, self._draws = emits, MarkovChain(moves, 1), Draws(emits)

    def sample(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """See `Language`."""
        states = self._chain.sample(count, length, generator)
        return self._draws(states.flatten(), generator).view(count, length)

    def bits(self, rows: Tensor) -> float:
        """See `Language`; by the forward algorithm (Rabiner 1989, equations 19 to 21), rescaled at every step."""
        belief = self._chain.start.expand(len(rows), -1)
        total = 0.0
        for t, token in enumerate(rows.unbind(1)):
            joint = belief * self.emits.T[token]
            p = joint.sum(1, keepdim=True)
            total -= float(p.log().sum()) if t else 0.0
            belief = joint / p @ self._chain.table
        return total / math.log(2.0) / (rows.numel() - len(rows))
