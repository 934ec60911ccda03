"""Modular arithmetic: sums, differences and products of digits, with the usual precedence, with or without brackets.

Without brackets the value follows from a state of fixed size; with them it needs a stack. The published task asks for
the value at the end alone (`answers: last`). The default asks wherever what was read so far is an expression by itself:
after an operand outside all brackets.

Legend of shapes: N examples, T time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.scoring import most_frequent_share
from archsearch.tasks.settings import setting
from archsearch.tasks.state_tracking import StateTrackingTask

__all__ = ["ModularArithmetic"]

OPEN, CLOSE = 0.3, 0.4
"""How often a bracket stands where it could; it closes more often than it opens, so that depth keeps its level."""
PLUS, MINUS, TIMES, LEFT, RIGHT = range(5)
"""The signs: tokens after the digits, in this order."""
DIGIT = -1
"""Stands among signs where a digit does."""
FRESH = 1
"""The state before the first token: the sum of nothing and the product of nothing."""


@dataclass(frozen=True)
class ModularArithmetic(StateTrackingTask):
    """Work out an expression modulo a small number."""

    name: ClassVar[str] = "modular_arithmetic"
    summary: ClassVar[str] = "Work out +, − and × modulo 5, bracketed or not, on longer expressions than trained on."
    paper: ClassVar[str] = "Delétang et al. 2023, Neural Networks and the Chomsky Hierarchy, arXiv:2207.02098"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 2000,
        "batch": 64,
        "learning_rates": (3e-3,),
        "evaluation_examples": 256,  # as sequences are long, with many answers each
    }
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "length": (11, 15, 21, 29, 40, 64),
        "modulus": (2, 3, 5, 7, 11),
        "brackets": (False, True),
    }

    brackets: bool = setting(False, help="whether operands may be expressions in brackets")
    modulus: int = setting(5, low=2, high=100, help="m; digits and values go from 0 to m - 1")
    depth: int = setting(8, low=1, high=100, help="brackets that are open at once, at most")

    @property
    def symbols(self) -> int:
        """The digits, three operators and two brackets."""
        return self.modulus + (RIGHT if self.brackets else TIMES) + 1

    @property
    def states(self) -> int:
        """The values."""
        return self.modulus

    @property
    def chance(self) -> float:
        """The share that the most frequent value of the training set has in the validation set."""
        return most_frequent_share(self)

    def lengths(self, low: int, high: int) -> Tensor:
        """Odd ones, as all expressions have."""
        return torch.arange(low | 1, high + 1, 2)

    def sequences(self, lengths: Tensor, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Expressions that end at their lengths, the value so far, and where there is one."""
        digits = torch.randint(self.modulus, (time, len(lengths)), generator=generator)
        operators = torch.randint(TIMES + 1, digits.shape, generator=generator)
        if self.brackets:
            chances = torch.rand(digits.shape, generator=generator)
            signs, depths = _bracketed(lengths, operators, chances, self.depth)
        else:
            signs, depths = operators, torch.zeros_like(digits)
            signs[::2] = DIGIT
        tokens = torch.where(signs == DIGIT, digits, self.modulus + signs)
        closed = signs == RIGHT
        whole = (depths == 0) & ((signs == DIGIT) | closed)
        return tokens.T, _values(tokens, depths, closed, self.modulus).T, whole.T


def _bracketed(lengths: Tensor, operators: Tensor, chances: Tensor, deepest: int) -> tuple[Tensor, Tensor]:
    """Signs, and how many brackets are open after each, both `(T, N)`.

    Args:
        lengths: `(N,)`.
        operators: that would stand at each step, `(T, N)`.
        chances: between 0 and 1, `(T, N)`.
        deepest: brackets that may be open.
    """
    left = lengths - torch.arange(len(operators)).unsqueeze(1)
    # An operand needs one symbol, and one more for every open bracket; a bracket more takes two besides.
    most = torch.where(chances < OPEN, (left - 3).clamp(-1, deepest - 1), -1).to(torch.int8)
    least = torch.where(chances < CLOSE, 1, left.clamp(1, deepest + 1)).to(torch.int8)
    depth, wanted = torch.zeros_like(most[0]), torch.ones_like(lengths, dtype=torch.bool)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for opens_up_to, closes_from in zip(most.unbind(), least.unbind(), strict=True):
        bracket = torch.where(wanted, depth <= opens_up_to, depth >= closes_from)
        opens = wanted & bracket
        depth = torch.add(depth, opens.view(torch.int8), alpha=2).sub_(bracket.view(torch.int8))
        rows.append((wanted, bracket, depth))
        wanted = wanted == bracket
    operand, bracket, depths = (torch.stack(r) for r in zip(*rows, strict=True))
    plain = torch.where(operand, DIGIT, operators)
    return torch.where(bracket, torch.where(operand, LEFT, RIGHT), plain), depths.long()


def _values(tokens: Tensor, depths: Tensor, closed: Tensor, modulus: int) -> Tensor:
    """The value of what stands since the innermost bracket that is open, `(T, N)`.

    Args:
        tokens: digits, and signs behind them.
        depths: how many brackets are open after each token.
        closed: where a bracket closes.
    """
    after, value = _steps(modulus)
    width, count = modulus + RIGHT + 1, tokens.shape[1]
    state = torch.full((count,), FRESH)
    # A place for the state at each depth: what is under way outside a bracket waits there until it closes.
    places = depths * count + torch.arange(count)
    waiting = torch.full(((int(depths.max()) + 1) * count,), FRESH)
    states = []
    for token, place, closes in zip(tokens.unbind(), places.unbind(), closed.unbind(), strict=True):
        token = torch.where(closes, value.index_select(0, state), token)  # what was in brackets is as good as a digit
        state = after.index_select(0, torch.add(token, waiting.index_select(0, place), alpha=width))
        waiting.index_copy_(0, place, state)
        states.append(state)
    return value[torch.stack(states)]


@lru_cache(maxsize=4)
def _steps(modulus: int) -> tuple[Tensor, Tensor]:
    """The state after each state and token, `(m² (m + 5),)`, and the value of each state, `(m²,)`.

    A state is `total` · m + `product`, and its value total + product: an operand goes into the product, and + and − put
    that to the total and begin another, so that × binds before both. A bracket begins an expression of its own.
    """
    state, digits = torch.arange(modulus**2), torch.arange(modulus)
    total, product = state // modulus, state % modulus
    value = (total + product) % modulus
    after = state.unsqueeze(1).repeat(1, modulus + RIGHT + 1)
    after[:, :modulus] = (total * modulus).unsqueeze(1) + product.unsqueeze(1) * digits % modulus
    after[:, modulus + PLUS] = value * modulus + 1
    after[:, modulus + MINUS] = value * modulus + modulus - 1
    after[:, modulus + LEFT] = FRESH
    return after.flatten(), value
