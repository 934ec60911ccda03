"""How much memory a step of training needs, free of noise: bytes, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["SavedBytes", "peak_bytes", "saved_bytes"]

STATES = 4
"""A trained number is kept four times: itself, its gradient, and AdamW's two means."""


class SavedBytes:
    """Bytes of the tensors that a forward pass keeps for its backward pass; storages count once."""

    def __init__(self) -> None:
        self._storages: dict[int, int] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Counts a tensor that is being saved."""
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()
        # Detached: a saved output that held on to its own node would never be freed.
        return tensor.detach()

    def total(self, leave_out: Iterator[Tensor]) -> int:
        """The sum so far, without the storages of `leave_out`."""
        known = {t.untyped_storage().data_ptr() for t in leave_out}
        return sum(size for pointer, size in self._storages.items() if pointer not in known)


@contextmanager
def saved_bytes() -> Iterator[SavedBytes]:
    """Counts what is saved inside."""
    counter = SavedBytes()
    with torch.autograd.graph.saved_tensors_hooks(counter.add, lambda tensor: tensor):
        yield counter


def peak_bytes(model: nn.Module, saved: int, device: torch.device) -> int:
    """The most memory that training a model takes.

    On a GPU it is the allocator's peak in this process since it was last reset; elsewhere what one step saves for its
    backward pass, plus the weights, and for those that are trained their gradients and AdamW's state.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kept = sum(p.numel() * p.element_size() * (STATES if p.requires_grad else 1) for p in model.parameters())
    return kept + saved
