"""Which examples each copy sees in each step: a function of its seed and the step alone.

So a copy sees what it would see alone, a restored run goes on where it stopped, and there is no state to save.

Legend of shapes: E copies, B batch, K steps, N examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archsearch.build.seeding import generator

__all__ = ["IndexStream"]


class IndexStream:
    """Epoch after epoch a new permutation of the examples, of which a rest below one batch is left out.

    Args:
        examples: N.
        batch: B; with fewer examples than that, a batch goes through all of them more than once.
        seeds: one per copy; copies with one seed see the same examples.
    """

    def __init__(self, examples: int, batch: int, seeds: Sequence[int]) -> None:
        self.examples, self.batch = examples, batch
        self.seeds = list(dict.fromkeys(seeds))
        self.copy_to_seed = torch.tensor([self.seeds.index(s) for s in seeds])
        self.rounds = -(-batch // examples)  # permutations that make one epoch: 1 unless the batch exceeds the data
        self.batches = self.rounds * examples // batch
        self._epoch = -1
        self._orders = torch.empty(0)

    def block(self, step: int, count: int) -> Tensor:
        """`(K, E, B)` indices into the examples for the steps `step` to `step + count`."""
        return torch.stack([self._at(s) for s in range(step, step + count)])[:, self.copy_to_seed]

    def _at(self, step: int) -> Tensor:
        epoch, turn = divmod(step, self.batches)
        if epoch != self._epoch:
            self._epoch, self._orders = epoch, torch.stack([self._order(seed, epoch) for seed in self.seeds])
        return self._orders[:, turn * self.batch : (turn + 1) * self.batch]

    def _order(self, seed: int, epoch: int) -> Tensor:
        source = generator(seed, f"order/{epoch}")
        return torch.cat([torch.randperm(self.examples, generator=source) for _ in range(self.rounds)])
