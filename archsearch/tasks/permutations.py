"""The word problem of a group: every token is a permutation, and the state is the product of those so far.

S3 is solvable; A5 and S5 are not, and no network whose depth is constant and whose layers are parallel in time follows
their products for any length unless TC0 = NC1. Published protocols ask at every step.

Two blocks of width 64 with LSTMs follow S3 at every length after 400 steps of 64 sequences (26 s of a core): they find
the sign after 250 and the rest of the permutation soon after. At a third of the rate they know the sign alone after
1,000 steps. A5 takes shorter sequences and larger batches, and then ten times as long: docs/tasks.md has the command.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.settings import setting
from archsearch.tasks.state_tracking import StateTrackingTask

__all__ = ["Permutations", "products"]

ORDERS = {"s3": 6, "a5": 60, "s5": 120}


@dataclass(frozen=True)
class Permutations(StateTrackingTask):
    """Follow the product of the permutations so far."""

    name: ClassVar[str] = "permutations"
    summary: ClassVar[str] = "Follow the product of permutations, on longer sequences than trained on."
    paper: ClassVar[str] = "Merrill et al. 2024, The Illusion of State in State-Space Models, arXiv:2404.08819"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 1000,
        "batch": 64,
        "learning_rates": (1e-2,),
        "evaluation_examples": 256,  # with answers at every step, 27,000 of them beyond the lengths of training
    }
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "length": (7, 10, 14, 20, 28, 40, 64),
        "group": ("s3", "a5", "s5"),
    }

    group: str = setting(
        "s3", options=tuple(ORDERS), help="all permutations of three or five things, or the even ones of five"
    )

    @property
    def symbols(self) -> int:
        """The elements of the group, each of which may be a token."""
        return ORDERS[self.group]

    @property
    def states(self) -> int:
        """The elements of the group."""
        return ORDERS[self.group]

    def sequences(self, lengths: Tensor, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor, None]:
        """Elements, and their product so far, the first applied first."""
        table = products(self.group)
        elements = torch.randint(self.symbols, (len(lengths), time), generator=generator)
        states = [elements[:, 0]]
        for element in elements.unbind(1)[1:]:
            states.append(table[element, states[-1]])
        return elements, torch.stack(states, 1), None


@cache
def products(group: str) -> Tensor:
    """`(order, order)` int64: entry `[a, b]` is the number of the element that applies b, then a; 0 is neutral."""
    points = int(group[1])
    elements = [p for p in itertools.permutations(range(points)) if group[0] == "s" or _is_even(p)]
    number = {p: i for i, p in enumerate(elements)}
    return torch.tensor([[number[tuple(a[i] for i in b)] for b in elements] for a in elements])


def _is_even(p: tuple[int, ...]) -> bool:
    return sum(a > b for a, b in itertools.combinations(p, 2)) % 2 == 0
