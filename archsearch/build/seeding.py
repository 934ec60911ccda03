"""Where a copy's numbers come from: its seed and the name of what is drawn, nothing else.

So copy e equals the solo run of its seed, whatever its neighbours are, and a parameter keeps its draw when other nodes
come or go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from archsearch.ops.base import Weight

__all__ = ["draw", "generator"]


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A source of randomness that depends on `seed` and `purpose` alone."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "little"))


def draw(weight: Weight, name: str, seeds: Sequence[int]) -> Tensor:
    """The storage `(E, *shape)` of the parameter called `name`, one draw a seed.

    Raises:
        ValueError: the initialiser gives another shape than the weight declares.
    """
    copies = [weight.init(generator(seed, name), weight.shape) for seed in seeds]
    for one in copies:
        if tuple(one.shape) != weight.shape:
            raise ValueError(f"initialiser of `{name}` must give shape {weight.shape}, but got {tuple(one.shape)}")
    return torch.stack(copies)
