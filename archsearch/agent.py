"""What an agent is: it proposes candidates and observes results. The whole contract is this page.

An agent file defines one subclass of `Agent`; `archsearch run ... --agent my_agent.py` (or a name in `agents/`) loads
it.

    class RandomSearch(Agent):
        "Draws every open choice independently."

        def propose(self, number):
            return Proposal(self.space.sample(self.generator(number)).decisions)

The campaign asks for proposals ahead of need, so several may be pending when `propose` is called. It never asks again
for a proposal that is on record: a resumed campaign calls `replay` for those, in order, and `observe` for their
results. Draw randomness from `self.generator(number)` only, and a resumed campaign goes on exactly as if it had not
stopped.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace

__all__ = ["Agent", "Proposal", "Result"]


@dataclass(frozen=True)
class Proposal:
    """A candidate that an agent wants to see trained.

    Args:
        decisions: of the space, flat: `{"body.0.mix": "attention", ...}`.
        parent: the number of the proposal that it was made from.
        reason: why, in a sentence.
        cost: what making it cost (`{"tokens": 812, "usd": 0.002}`).
    """

    decisions: Mapping[str, Any]
    parent: int | None = None
    reason: str = ""
    cost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What became of a proposal.

    Args:
        number: of the proposal, as `propose` was given it.
        status: `done`; `failed` (it raised, diverged, hung, died); `stopped` (a scheduler ended it early; `score` is
            its last); `refused` (a gate, before any training); `duplicate` (an architecture seen before; `score` is
            that one's, if known).
        score: larger is better if and only if the agent's `maximize` is true; `None` if there is none.
        values: further figures by name (`params`, `flops_per_token`, `seconds`, ...).
    """

    number: int
    decisions: Mapping[str, Any]
    status: str
    score: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)


class Agent(ABC):
    """Proposes candidates of `space`, observes their results.

    Keyword arguments of a subclass's constructor beyond these are its settings; `--set agent.NAME=VALUE` sets them.

    Args:
        space: what to search.
        seed: the campaign's seed.
        maximize: whether a larger score is better.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""

    def __init__(self, space: SearchSpace, *, seed: int = 0, maximize: bool = True) -> None:
        self.space, self.seed, self.maximize = space, seed, maximize

    @abstractmethod
    def propose(self, number: int) -> Proposal | None:
        """Proposal `number` (0, 1, 2, ...); `None` if there is nothing left to propose."""

    def observe(self, result: Result) -> None:
        """Takes note of a result. Called once per proposal, in the order of number in deterministic campaigns."""

    def replay(self, number: int, proposal: Proposal) -> None:
        """Takes note of a recorded proposal, as if `propose(number)` had just returned it."""

    def generator(self, number: int) -> random.Random:
        """The source of randomness for proposal `number`: depends on the seed and the number alone."""
        return random.Random(f"{type(self).__name__}/{self.seed}/{number}")
