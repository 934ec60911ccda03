"""Parity: whether the ones in a sequence of bits so far are odd in number.

The usual protocol asks at the end alone (`answers: last`) and takes tens of thousands of steps. Asked at every step,
the default, a recurrent net learns it in far fewer, and what it must keep is the same. Two blocks of width 64 with
LSTMs are right at every length after 250 steps (25 s of a core), with attention they score 0.50 after 1,000 (71 s):

    scripts/test --slow tests/tasks -k parity
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.state_tracking import StateTrackingTask

__all__ = ["Parity"]


@dataclass(frozen=True)
class Parity(StateTrackingTask):
    """Tell whether the number of ones so far is odd."""

    name: ClassVar[str] = "parity"
    summary: ClassVar[str] = "Tell whether the ones so far are odd in number, on longer sequences than trained on."
    paper: ClassVar[str] = "Delétang et al. 2023, Neural Networks and the Chomsky Hierarchy, arXiv:2207.02098"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 1000,
        "batch": 64,
        "learning_rates": (3e-3,),
        "evaluation_examples": 256,  # with answers at every step, 27,000 of them beyond the lengths of training
    }
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {"length": (20, 24, 32, 40, 64, 96)}

    @property
    def symbols(self) -> int:
        """Zero and one."""
        return 2

    @property
    def states(self) -> int:
        """Even and odd."""
        return 2

    def sequences(self, lengths: Tensor, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor, None]:
        """Bits, and the parity of those so far."""
        bits = torch.randint(2, (len(lengths), time), generator=generator)
        return bits, bits.cumsum(1) % 2, None
