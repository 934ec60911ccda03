"""Modular arithmetic: sums, differences and products of digits, with the usual precedence, with or without brackets.

Without brackets the value follows from a state of fixed size; with them it needs a stack. The published task asks for
the value at the end alone (`answers: last`). The default asks wherever what was read so far is an expression by itself:
after an operand outside all brackets.

Legend of shapes: N examples, T time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        whole = (depths == 0) & ((signs == DIGIT) | (signs == RIGHT))
        return tokens.T, _values(signs, digits, depths, self.modulus).T, whole.T


def _bracketed(lengths: Tensor, operators: Tensor, chances: Tensor, deepest: int) -> tuple[Tensor, Tensor]:
    """Signs, and how many brackets are open after each, both `(T, N)`.

    Args:
        lengths: `(N,)`.
        operators: that would stand at each step, `(T, N)`.
        chances: between 0 and 1, `(T, N)`.
        deepest: brackets that may be open.
    """
    depth, wanted = torch.zeros_like(lengths), torch.ones_like(lengths, dtype=torch.bool)
    left = lengths - torch.arange(len(operators)).unsqueeze(1)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for n, may_open, may_close in zip(
        left.unbind(), (chances < OPEN).unbind(), (chances < CLOSE).unbind(), strict=True
    ):
        # An operand needs one symbol, and one more for every open bracket; a bracket more takes two besides.
        spare = n - depth
        opens = may_open & (spare >= 3) & (depth < deepest)
        closes = (may_close | (spare == 0)) & (depth > 0)
        bracket = torch.where(wanted, opens, closes)
        depth = torch.where(wanted, 1, -1).mul_(bracket).add_(depth)
        rows.append((wanted, bracket, depth))
        wanted = wanted == bracket
    operand, bracket, depths = (torch.stack(r) for r in zip(*rows, strict=True))
    plain = torch.where(operand, DIGIT, operators)
    return torch.where(bracket, torch.where(operand, LEFT, RIGHT), plain), depths


def _values(signs: Tensor, digits: Tensor, depths: Tensor, modulus: int) -> Tensor:
    """The value of what stands since the innermost bracket that is open, `(T, N)`.

    It is `total + product`: an operand goes into the product, and + and − put that to the total and begin another, so
    that × binds before both. A bracket lays the two aside, level by level, until its other half.
    """
    left, right = signs == LEFT, signs == RIGHT
    ends = ((signs == PLUS) | (signs == MINUS)).long()
    begun = ends - 2 * (signs == MINUS)
    factor = torch.where(signs == DIGIT, digits, 1).masked_fill_(ends.bool(), 0)
    aside = torch.zeros(int(depths.max()) + 2, 2, signs.shape[1], dtype=torch.int64)
    # What no bracket lays aside goes to the last place, which nobody reads.
    place = torch.where(left, depths - 1, len(aside) - 1)[:, None, None].expand(-1, -1, 2, -1)
    level = depths[:, None, None].expand(-1, -1, 2, -1)
    empty = torch.tensor([[0], [1]]).expand(2, signs.shape[1])
    both, values = empty, []
    steps = zip(*(x.unbind() for x in (ends, begun, factor, left, right, place, level)), strict=True)
    for end, new, by, opens, closes, put, back in steps:
        total, product = before = both
        both = torch.stack([torch.addcmul(total, product, end), torch.addcmul(new, product, by).remainder_(modulus)])
        if len(aside) > 2:
            aside.scatter_(0, put, before.unsqueeze(0))
            outer = aside.gather(0, back).squeeze(0)
            outer[1] *= before.sum(0)
            both = torch.where(opens, empty, torch.where(closes, outer.remainder_(modulus), both))
        values.append(both.sum(0))
    return torch.stack(values).remainder_(modulus)
