"""A probabilistic context-free grammar with bounded depth, and the exact probability of what it writes.

A sentence grows from the first nonterminal. Down to the greatest depth a nonterminal A becomes two, B C, with
probability `branching`, else a word; at the greatest depth it becomes a word. A full stop ends the sentence.

Legend of shapes: N sentences or sequences, L words of a sentence, Q nonterminals, W words.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import torch
from torch import Tensor

from archsearch.tasks.languages import Draws

__all__ = ["Grammar"]

CHUNK = 512
"""Sentences parsed at a time: their charts take some tens of megabytes."""


class Grammar:
    """Sentences one after another; token 0 is the full stop, word w is token w + 1.

    Args:
        pairs: `(Q, Q, Q)` float64, how likely A, when it branches, becomes B C.
        emits: `(Q, W)` float64, how likely A, when it does not, becomes a word.
        branching: the probability to branch above the greatest depth.
        depth: how often a branch may branch again; a sentence has up to `2^depth` words.
    """

    def __init__(self, pairs: Tensor, emits: Tensor, branching: float, depth: int) -> None:
        self.pairs, self.emits, self.branching, self.depth = pairs, emits, branching, depth
        self._branch_draws = Draws(torch.cat([branching * pairs.flatten(1), (1.0 - branching) * emits], 1))
        self._word_draws = Draws(emits)

    def sample(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """See `Language`; each row starts with a sentence, and its last one may be cut."""
        mean = 1.0
        for _ in range(self.depth):
            mean = (1.0 - self.branching) + 2.0 * self.branching * mean
        rows = torch.empty(0, length, dtype=torch.int64)
        while len(rows) < count:
            missing = count - len(rows)
            sentences = self._sentences(math.ceil(missing * (length / (mean + 1.0) + 1.0)), generator)
            rows = torch.cat([rows, _cut(sentences[sentences >= 0], length)[:missing]])
        return rows

    def bits(self, rows: Tensor) -> float:
        """See `Language`: whole sentences by the inside algorithm, the cut one by its prefix probability.

        Jelinek and Lafferty 1991, Computation of the Probability of Initial Substring Generation by Stochastic
        Context-Free Grammars, Computational Linguistics 17(3).
        """
        whole, cut = _sentences_of(rows)
        logs = self._logs(whole, prefix=False) + self._logs(cut, prefix=True) - self._logs(_firsts(rows), prefix=True)
        return -logs / math.log(2.0) / (rows.numel() - len(rows))

    def _sentences(self, count: int, generator: torch.Generator) -> Tensor:
        """`(count, 2^depth + 1)` tokens of a sentence each, with -1 wherever there is none."""
        size, width = len(self.emits), 2**self.depth + 1
        tokens = torch.full((count, width), -1)
        tokens[:, -1] = 0
        flat = tokens.view(-1)
        place = torch.arange(0, count * width, width)  # of each open branch in the flat tokens
        symbol = torch.zeros(count, dtype=torch.int64)
        for level in range(self.depth, 0, -1):
            drawn = self._branch_draws(symbol, generator)
            grows = drawn < size**2
            flat[place[~grows]] = drawn[~grows] - (size**2 - 1)
            both, left = drawn[grows], place[grows]
            place = torch.cat([left, left + 2 ** (level - 1)])
            symbol = torch.cat([both // size, both % size])
        flat[place] = self._word_draws(symbol, generator) + 1
        return tokens

    def _logs(self, sentences: list[Tensor], prefix: bool) -> float:
        """The summed log probabilities of sentences, or of being begun so: a tensor of words `(N, L)` for every L."""
        total = 0.0
        for words in sentences:
            if not words.shape[1]:
                total -= 0.0 if prefix else math.inf  # anything begins with nothing, and no sentence is empty
                continue
            unique, times = words.unique(dim=0, return_counts=True)
            for some, n in zip(unique.split(CHUNK), times.split(CHUNK), strict=True):
                total += float((self._probability(some, prefix).log() * n).sum())
        return total

    def _probability(self, words: Tensor, prefix: bool) -> Tensor:
        """`(N,)`: that the first nonterminal becomes these words `(N, L)`, or words that begin with them."""
        chart = _Chart(self, self.emits.T[words])
        found = chart.begun(self.depth, 0) if prefix else chart.inside(self.depth, 0, words.shape[1])
        return found[:, 0]


class _Chart:
    """The probabilities that nonterminals become parts of the sentences, found as they are needed.

    Args:
        emitted: `(N, L, Q)`, that a nonterminal becomes the word at a place.
    """

    def __init__(self, grammar: Grammar, emitted: Tensor) -> None:
        self._grammar, self._emitted, self._end = grammar, emitted, emitted.shape[1]
        self._pairs, self._any = grammar.pairs.flatten(1).T.contiguous(), grammar.pairs.sum(2).T.contiguous()
        self._inside: dict[tuple[int, int, int], Tensor] = {}
        self._begun: dict[tuple[int, int], Tensor] = {}

    def inside(self, level: int, i: int, j: int) -> Tensor:
        """`(N, Q)`: that a nonterminal which may branch `level` times becomes just the words from i up to j."""
        key = level, i, j
        if key not in self._inside:
            half = 2 ** (level - 1) if level else 0
            cuts = range(max(i + 1, j - half), min(i + half, j - 1) + 1)
            sides = [(self.inside(level - 1, i, k), self.inside(level - 1, k, j)) for k in cuts]
            self._inside[key] = self._either(level, self._joined(sides), i if j == i + 1 else None)
        return self._inside[key]

    def begun(self, level: int, i: int) -> Tensor:
        """`(N, Q)`: that it becomes words that begin with those from i up to the end."""
        key = level, i
        if key not in self._begun:
            grown = self._joined([])
            if level:
                cuts = range(i + 1, min(i + 2 ** (level - 1), self._end - 1) + 1)
                grown = self._joined([(self.inside(level - 1, i, k), self.begun(level - 1, k)) for k in cuts])
                # The first of the two may reach the end by itself: then any second one will do.
                grown = grown + self.begun(level - 1, i) @ self._any
            self._begun[key] = self._either(level, grown, i if i == self._end - 1 else None)
        return self._begun[key]

    def _either(self, level: int, grown: Tensor, word: int | None) -> Tensor:
        """That a nonterminal branches and grows so, or becomes the word at a place."""
        branching = self._grammar.branching if level else 0.0
        alone = 0.0 if word is None else (1.0 - branching) * self._emitted[:, word]
        return branching * grown + alone

    def _joined(self, sides: list[tuple[Tensor, Tensor]]) -> Tensor:
        """`(N, Q)`: over all cuts, that A becomes B C with B the left side and C the right one."""
        if not sides:
            return torch.zeros_like(self._emitted[:, 0])
        left, right = (torch.stack(side, 1) for side in zip(*sides, strict=True))
        return (left.transpose(1, 2) @ right).flatten(1) @ self._pairs


def _cut(stream: Tensor, length: int) -> Tensor:
    """`(N, length)`: rows of a stream of sentences, each from where the first sentence behind the one before begins."""
    begins = [0, *((stream == 0).nonzero().flatten() + 1).tolist()]
    chosen, begin = [], 0
    while begin + length <= len(stream):
        chosen.append(begin)
        begin = begins[bisect_left(begins, begin + length)]
    return stream[torch.tensor(chosen, dtype=torch.int64).unsqueeze(1) + torch.arange(length)]


def _sentences_of(rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The whole sentences of all rows, and those that the end of a row cuts: their words, a tensor for every length."""
    flat = torch.cat([rows, torch.full((len(rows), 1), -1)], 1).flatten()  # -1 ends a row
    ends = (flat <= 0).nonzero().flatten()
    starts = torch.cat([ends.new_zeros(1), ends[:-1] + 1])
    out: tuple[list[Tensor], list[Tensor]] = ([], [])
    for found, mark in zip(out, (0, -1), strict=True):
        own = flat[ends] == mark
        for length in (ends - starts)[own].unique().tolist():
            first = starts[own & (ends - starts == length)]
            found.append(flat[first.unsqueeze(1) + torch.arange(length)] - 1)
    return out


def _firsts(rows: Tensor) -> list[Tensor]:
    return [rows[:, :1] - 1]
